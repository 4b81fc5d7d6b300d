// The one kernel of all elementwise operators and copies: loads, a formula, a store. The formulas of csrc/math become
// functions of as many values as they read. Next: ../elementwise.h (how a launch is chosen).
#pragma once
#include "cuda/kernels/layout.cuh"

namespace lamina::cuda {

template <class F>
struct UnaryFormula {
  static constexpr int kInputs = 1;
  F f;
  template <class T>
  LM_DEVICE auto operator()(const T (&x)[1]) const {
    return f.f(x[0]);
  }
};

// Gradient of the output, then what the derivative's name asks for.
template <class F>
struct UnaryGradient {
  static constexpr int kInputs = 2;
  F f;
  template <class T>
  LM_DEVICE T operator()(const T (&x)[2]) const {
    if constexpr (requires { f.df_y(x[1]); })
      return x[0] * f.df_y(x[1]);
    else
      return x[0] * f.df_x(x[1]);
  }
};

template <class F>
struct BinaryFormula {
  static constexpr int kInputs = 2;
  F f;
  template <class T>
  LM_DEVICE auto operator()(const T (&x)[2]) const {
    return f.f(x[0], x[1]);
  }
};

// A derivative that reads one operand only, kReads, is a function of two values.
template <class F, int kSide>
struct BinaryGradient {
  static constexpr int kReads =
      kSide == 0 ? (requires(F f, float v) { f.da_b(v); } ? 2 : 0) : (requires(F f, float v) { f.db_a(v); } ? 1 : 0);
  static constexpr int kInputs = kReads ? 2 : 3;
  F f;
  template <class T>
  LM_DEVICE T operator()(const T (&x)[kInputs]) const {
    if constexpr (kReads == 2)
      return x[0] * f.da_b(x[1]);
    else if constexpr (kReads == 1)
      return x[0] * f.db_a(x[1]);
    else if constexpr (kSide == 0)
      return x[0] * f.da(x[1], x[2]);
    else
      return x[0] * f.db(x[1], x[2]);
  }
};

struct Selection {
  static constexpr int kInputs = 3;
  template <class T>
  LM_DEVICE T operator()(const T (&x)[3]) const {
    return convert_element<bool>(x[0]) ? x[1] : x[2];
  }
};

struct Copy {
  static constexpr int kInputs = 1;
  template <class T>
  LM_DEVICE T operator()(const T (&x)[1]) const {
    return x[0];
  }
};

constexpr int kElementwiseThreads = 256;

// A thread takes kUnits units, a block's width apart, so that a warp reads neighbouring memory and every thread has
// kUnits loads in flight per operand.
template <class F, class T, class R, int V, int kUnits, Types kIn>
__global__ void __launch_bounds__(kElementwiseThreads)
    elementwise_kernel(const __grid_constant__ Layout<F::kInputs + 1> layout, const __grid_constant__ F f) {
  constexpr int kInputs = F::kInputs;
  const int first = int(blockIdx.x * (kElementwiseThreads * kUnits) + threadIdx.x);
  int offset[kInputs + 1][kUnits];
  find_offsets(layout, first, kElementwiseThreads, offset);
  bool exists[kUnits];
#pragma unroll
  for (int u = 0; u < kUnits; ++u) exists[u] = layout.units - first > u * kElementwiseThreads;
  T x[kInputs][kUnits][V];
#pragma unroll
  for (int a = 0; a < kInputs; ++a) load_units<kIn>(layout.operand[a + 1], offset[a + 1], exists, x[a]);
  R y[kUnits][V];
#pragma unroll
  for (int u = 0; u < kUnits; ++u)
#pragma unroll
    for (int i = 0; i < V; ++i) {
      T element[kInputs];
#pragma unroll
      for (int a = 0; a < kInputs; ++a) element[a] = x[a][u][i];
      y[u][i] = R(f(element));
    }
  store_units(layout.operand[0], offset[0], exists, y);

  // The elements after the last whole unit, one thread each.
  if (V > 1 && blockIdx.x == gridDim.x - 1 && int(threadIdx.x) < layout.rest) {
    const bool there[1] = {true};
    T element[kInputs];
#pragma unroll
    for (int a = 0; a < kInputs; ++a) {
      const Operand& operand = layout.operand[a + 1];
      const int at[1] = {operand.repeats ? 0 : layout.units * V + int(threadIdx.x)};
      T v[1][1];
      load_units<kIn>(operand, at, there, v);
      element[a] = v[0][0];
    }
    const int at[1] = {layout.units * V + int(threadIdx.x)};
    const R v[1][1] = {{R(f(element))}};
    store_units(layout.operand[0], at, there, v);
  }
}

}  // namespace lamina::cuda
