// Optimizer steps over all parameters in one launch (arrays.cuh); a block makes one pass over a chunk. The bias
// corrections follow from counters in device memory, so that a captured graph replays right. Formulas as in
// cpu/kernels/optim.cpp, computed in float for f16 and bf16.
#pragma once
#include "cuda/kernels/arrays.cuh"

namespace lamina::cuda {

constexpr int kOptimArrays = 5;  // arrays of one parameter, see kernel/optim.h

struct OptimEntry {
  void* data[kOptimArrays];
  float* counter;
  int64_t n;
  int first_chunk;
  bool first, aligned;  // SGD's new buffer; all addresses are multiples of 16
};

// A learning rate: a number, or where to find it when the step runs.
struct Rate {
  double value;
  const float* at;
  LM_DEVICE operator double() const { return at ? double(*at) : value; }
};

// One algorithm is a struct of numbers with `prepare(entry)`, once per block, and `update(values)`, which
// turns the values of one element, one per array, into the new ones; values of absent arrays are not used.
template <class C>
struct SgdRule {
  Rate rate;
  double momentum, dampening, weight_decay;
  bool nesterov, maximize;
  struct State {
    static constexpr int kArrays = 3;
    C sign, decay, lr, keep, take, direct, through;
    bool buffer;
    LM_DEVICE void update(C (&v)[kArrays]) const {
      C d = sign * v[0] + decay * v[1];
      if (buffer) {
        v[2] = keep * v[2] + take * d;
        d = direct * d + through * v[2];
      }
      v[1] -= lr * d;
    }
  };
  LM_DEVICE State prepare(const OptimEntry& e) const {
    return {maximize ? C(-1) : C(1),
            C(weight_decay),
            C(rate),
            e.first ? C(0) : C(momentum),
            e.first ? C(1) : C(1 - dampening),
            nesterov ? C(1) : C(0),
            nesterov ? C(momentum) : C(1),
            e.data[2] != nullptr};
  }
};

template <class C>
struct AdamRule {
  Rate learning_rate;
  double beta1, beta2, eps, weight_decay;
  bool decoupled, maximize;
  struct State {
    static constexpr int kArrays = 5;
    C sign, decay, shrink, take1, keep2, take2, eps, rate, scale;
    bool largest;
    LM_DEVICE void update(C (&v)[kArrays]) const {
      const C d = sign * v[0] + decay * v[1];
      v[2] += take1 * (d - v[2]);
      v[3] = keep2 * v[3] + take2 * d * d;
      C second = v[3];
      if (largest) v[4] = second = v[4] > second ? v[4] : second;
      v[1] = v[1] * shrink - rate * v[2] / (C(sqrt(second)) * scale + eps);
    }
  };
  LM_DEVICE State prepare(const OptimEntry& e) const {
    const double t = *e.counter, lr = learning_rate;  // t is already advanced
    const double correction1 = 1 - pow(beta1, t), correction2 = 1 - pow(beta2, t);
    return {maximize ? C(-1) : C(1),
            decoupled ? C(0) : C(weight_decay),
            decoupled ? C(1 - lr * weight_decay) : C(1),
            C(1 - beta1),
            C(beta2),
            C(1 - beta2),
            C(eps),
            C(lr / correction1),
            C(1 / sqrt(correction2)),
            e.data[4] != nullptr};
  }
};

template <class C>
struct RmspropRule {
  Rate rate;
  double alpha, eps, weight_decay, momentum;
  bool maximize;
  struct State {
    static constexpr int kArrays = 5;
    C sign, decay, lr, keep, take, eps, momentum;
    bool centered, buffer;
    LM_DEVICE void update(C (&v)[kArrays]) const {
      C d = sign * v[0] + decay * v[1];
      v[2] = keep * v[2] + take * d * d;
      C square = v[2];
      if (centered) {
        v[3] += take * (d - v[3]);
        square -= v[3] * v[3];
        square = square > C(0) ? square : C(0);  // rounding may leave it just below
      }
      d /= C(sqrt(square)) + eps;
      if (buffer) d = v[4] = momentum * v[4] + d;
      v[1] -= lr * d;
    }
  };
  LM_DEVICE State prepare(const OptimEntry& e) const {
    return {maximize ? C(-1) : C(1), C(weight_decay),     C(rate), C(alpha), C(1 - alpha), C(eps), C(momentum),
            e.data[3] != nullptr,    e.data[4] != nullptr};
  }
};

template <class T, int V, class State>
LM_DEVICE void update_chunk(const OptimEntry& e, const State& state, int64_t begin, int64_t end) {
  using C = Compute<T>;
#pragma unroll 1
  for (int64_t at = begin + int64_t(threadIdx.x) * V; at < end; at += kArrayThreads * V) {
    Pack<T, V> pack[State::kArrays];
#pragma unroll
    for (int a = 0; a < State::kArrays; ++a)
      if (e.data[a]) pack[a] = load_pack<V>(static_cast<const T*>(e.data[a]) + at);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      C v[State::kArrays];
#pragma unroll
      for (int a = 0; a < State::kArrays; ++a) v[a] = e.data[a] ? C(pack[a][i]) : C(0);
      state.update(v);
#pragma unroll
      for (int a = 1; a < State::kArrays; ++a) pack[a][i] = T(v[a]);
    }
#pragma unroll
    for (int a = 1; a < State::kArrays; ++a)
      if (e.data[a]) store_pack(static_cast<T*>(e.data[a]) + at, pack[a]);
  }
}

template <class T, int capacity, class Rule>
__global__ void __launch_bounds__(kArrayThreads, 2)
    optim_update_kernel(const __grid_constant__ ArrayTable<OptimEntry, capacity> table, const Rule rule) {
  const int chunk = int(blockIdx.x);
  const OptimEntry& e = table.entry[find_entry(table, chunk)];
  // By one thread: the powers of double precision take longer than its elements.
  using State = typename Rule::State;
  LM_SHARED(State, shared, [1]);
  if (threadIdx.x == 0) shared[0] = rule.prepare(e);
  __syncthreads();
  const State state = shared[0];
  const int64_t begin = (chunk - e.first_chunk) * kArrayChunk;
  const int64_t end = begin + kArrayChunk < e.n ? begin + kArrayChunk : e.n;
  // Double precision, whose roots and quotients are calls, takes one element at a time.
  constexpr int V = sizeof(T) == 8 ? 1 : kPack<T>;
  const int64_t whole = e.aligned ? end / V * V : begin;
  if constexpr (V > 1) update_chunk<T, V>(e, state, begin, whole);
  update_chunk<T, 1>(e, state, V > 1 ? whole : begin, end);
}

template <int capacity>
__global__ void __launch_bounds__(kArrayThreads, 2)
    optim_advance_kernel(const __grid_constant__ ArrayTable<OptimEntry, capacity> table) {
  const int i = int(blockIdx.x * kArrayThreads + threadIdx.x);
  if (i < table.count && table.entry[i].counter) *table.entry[i].counter += 1;
}

}  // namespace lamina::cuda
