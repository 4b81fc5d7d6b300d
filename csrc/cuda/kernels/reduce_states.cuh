// The states of reductions on the device, after cpu/kernels/reduce_states.h: what is known about the elements seen so
// far. Each has
//   State init();  void add(State&, packs, first, step);  void merge(State& a, const State& b);  void finish(...)
// where add takes U packs of N elements; element k of pack u is at position first + u step + k. The one idea: the few
// elements that a thread holds in registers are joined in their own type, everything else in double, and merge is
// commutative. What differs by one comparison only is chosen at run time, which costs nothing next to the memory and
// halves the number of kernels. Next: reduce.cuh.
#pragma once
#include "cuda/device.cuh"
#include "kernel/loops.h"

namespace lamina::cuda {

// A ReduceJob (kernel/reduce.h) as a kernel's parameter. `mode` chooses among the variants of a state.
struct ReduceArgs {
  const void* x;
  void *out, *out2;
  double p, divisor;
  int64_t count;  // elements per result
  int mode;
  bool root;
  Loops kept, reduced;
};

template <class A, class B>
inline constexpr bool kSame = false;
template <class A>
inline constexpr bool kSame<A, A> = true;
template <class T>
inline constexpr bool kFloating = kSame<T, float> || kSame<T, double>;
template <bool kCondition, class A, class B>
struct IfElse {
  using Type = A;
};
template <class A, class B>
struct IfElse<false, A, B> {
  using Type = B;
};
template <class T>
using Wide = typename IfElse<kFloating<T>, double, int64_t>::Type;
template <class T>  // what whole words can be shuffled of
using Word = typename IfElse<(sizeof(T) < 4), int32_t, T>::Type;

template <class T>
LM_DEVICE T highest() {
  if constexpr (kFloating<T>)
    return T(__builtin_huge_val());
  else if constexpr (T(-1) > T(0))
    return T(-1);
  else
    return T(~(uint64_t(1) << (8 * sizeof(T) - 1)) & (~uint64_t(0) >> (64 - 8 * sizeof(T))));
}
template <class T>
LM_DEVICE T lowest() {
  if constexpr (kFloating<T>)
    return -highest<T>();
  else if constexpr (T(-1) > T(0))
    return T(0);
  else
    return T(-highest<T>() - 1);
}

template <class T>
LM_DEVICE T sum_halves(const T (&v)[1]) {
  return v[0];
}
template <class T, int N>
LM_DEVICE T sum_halves(const T (&v)[N]) {
  T half[N / 2];
#pragma unroll
  for (int k = 0; k < N / 2; ++k) half[k] = v[k] + v[k + N / 2];
  return sum_halves(half);
}

// Sums of f(x), integers in int64. kPower, which needs many registers, is a kernel of its own.
enum SumMode { kSumPlain, kSumNan, kSumAbs, kSumSquare, kSumPower };
template <class T_, bool kPower = false>
struct SumState {
  using T = T_;
  struct State {
    Wide<T> v;
  };
  using Part = typename IfElse<kFloating<T>, T, typename IfElse<(sizeof(T) < 4), int32_t, int64_t>::Type>::Type;

  LM_DEVICE static State init(const ReduceArgs&) { return {0}; }
  LM_DEVICE static void merge(const ReduceArgs&, State& a, const State& b) { a.v += b.v; }
  LM_DEVICE static Part map(const ReduceArgs& args, T x) {
    if constexpr (kPower) {
      if constexpr (kSame<T, float>)
        return powf(fabsf(x), float(args.p));
      else
        return pow(fabs(x), args.p);
    } else if constexpr (kFloating<T>) {
      if (args.mode == kSumPlain) return x;
      if (args.mode == kSumSquare) return x * x;
      if (args.mode == kSumAbs) return x < 0 ? -x : x;
      return x == x ? x : T(0);
    } else {
      return Part(x);
    }
  }
  template <int U, int N>
  LM_DEVICE static void add(const ReduceArgs& args, State& s, const Pack<T, N> (&packs)[U], int64_t, int64_t) {
    Part sum[N];
#pragma unroll
    for (int k = 0; k < N; ++k) sum[k] = map(args, packs[0][k]);
#pragma unroll
    for (int u = 1; u < U; ++u)
#pragma unroll
      for (int k = 0; k < N; ++k) sum[k] += map(args, packs[u][k]);
    s.v += sum_halves(sum);
  }
  LM_DEVICE static void finish(const ReduceArgs& args, const State& s, int64_t result) {
    if constexpr (kFloating<T>) {
      double v = s.v / args.divisor;
      if (args.root) v = args.mode == kSumSquare ? sqrt(v) : pow(v, 1 / args.p);
      static_cast<T*>(args.out)[result] = T(v);
    } else {
      static_cast<int64_t*>(args.out)[result] = s.v;
    }
  }
};

template <class T_>
struct ProductState {
  using T = T_;
  struct State {
    Wide<T> v;
  };
  using Out = typename IfElse<kFloating<T>, T, int64_t>::Type;

  LM_DEVICE static State init(const ReduceArgs&) { return {1}; }
  LM_DEVICE static void merge(const ReduceArgs&, State& a, const State& b) { a.v *= b.v; }
  template <int U, int N>
  LM_DEVICE static void add(const ReduceArgs&, State& s, const Pack<T, N> (&packs)[U], int64_t, int64_t) {
#pragma unroll
    for (int u = 0; u < U; ++u)
#pragma unroll
      for (int k = 0; k < N; ++k) s.v *= Wide<T>(packs[u][k]);
  }
  LM_DEVICE static void finish(const ReduceArgs& args, const State& s, int64_t result) {
    static_cast<Out*>(args.out)[result] = Out(s.v);
  }
};

// The largest or smallest, of x or |x|; NaN wins and stays.
enum ExtremeMode { kLargest = 1, kOfAbs = 2 };
template <class T_>
struct ExtremeState {
  using T = T_;
  struct State {
    Word<T> v;
  };
  LM_DEVICE static State init(const ReduceArgs& args) { return {args.mode & kLargest ? lowest<T>() : highest<T>()}; }
  LM_DEVICE static void join(const ReduceArgs& args, State& a, Word<T> b) {
    if ((args.mode & kLargest ? b > a.v : b < a.v) || b != b) a.v = b;
  }
  LM_DEVICE static void merge(const ReduceArgs& args, State& a, const State& b) { join(args, a, b.v); }
  template <int U, int N>
  LM_DEVICE static void add(const ReduceArgs& args, State& s, const Pack<T, N> (&packs)[U], int64_t, int64_t) {
#pragma unroll
    for (int u = 0; u < U; ++u)
#pragma unroll
      for (int k = 0; k < N; ++k) {
        const T x = packs[u][k];
        if constexpr (kFloating<T>)
          join(args, s, args.mode & kOfAbs && x < 0 ? -x : x);
        else
          join(args, s, x);
      }
  }
  LM_DEVICE static void finish(const ReduceArgs& args, const State& s, int64_t result) {
    static_cast<T*>(args.out)[result] = T(s.v);
  }
};

// The extreme and its first position; the first NaN counts as extreme.
template <class T_>
struct ExtremeAtState {
  using T = T_;
  struct State {
    int64_t at;
    Word<T> v;
  };
  LM_DEVICE static State init(const ReduceArgs&) { return {-1, Word<T>(0)}; }
  LM_DEVICE static bool wins(const ReduceArgs& args, Word<T> b, Word<T> a) {
    return (args.mode & kLargest ? b > a : b < a) || (b != b && a == a);
  }
  LM_DEVICE static void merge(const ReduceArgs& args, State& a, const State& b) {
    if (b.at < 0) return;
    if (a.at < 0 || wins(args, b.v, a.v) || (b.at < a.at && !wins(args, a.v, b.v))) a = b;
  }
  template <int U, int N>
  LM_DEVICE static void add(const ReduceArgs& args, State& s, const Pack<T, N> (&packs)[U], int64_t first,
                            int64_t step) {
    // A thread sees growing positions, so the first of equals stays.
#pragma unroll
    for (int u = 0; u < U; ++u)
#pragma unroll
      for (int k = 0; k < N; ++k)
        if (s.at < 0 || wins(args, packs[u][k], s.v)) s = {first + u * step + k, packs[u][k]};
  }
  LM_DEVICE static void finish(const ReduceArgs& args, const State& s, int64_t result) {
    if (args.out) static_cast<T*>(args.out)[result] = T(s.v);
    if (args.out2) static_cast<int64_t*>(args.out2)[result] = s.at;
  }
};

// How many are not zero; from that, whether any or all are.
enum CountMode { kCount, kAny, kAll };
template <class T_>
struct CountState {
  using T = T_;
  struct State {
    int64_t v;
  };
  LM_DEVICE static State init(const ReduceArgs&) { return {0}; }
  LM_DEVICE static void merge(const ReduceArgs&, State& a, const State& b) { a.v += b.v; }
  template <int U, int N>
  LM_DEVICE static void add(const ReduceArgs&, State& s, const Pack<T, N> (&packs)[U], int64_t, int64_t) {
    int sum = 0;
#pragma unroll
    for (int u = 0; u < U; ++u)
#pragma unroll
      for (int k = 0; k < N; ++k) sum += packs[u][k] != T(0);
    s.v += sum;
  }
  LM_DEVICE static void finish(const ReduceArgs& args, const State& s, int64_t result) {
    if (args.mode == kCount)
      static_cast<int64_t*>(args.out)[result] = s.v;
    else
      static_cast<uint8_t*>(args.out)[result] = args.mode == kAny ? s.v > 0 : s.v == args.count;
  }
};

// Mean and sum of squared deviations; merging as in cpu/kernels/reduce_states.h (Chan, Golub, LeVeque 1979).
template <class T_>
struct VarianceState {
  using T = T_;
  struct State {
    double mean, m2, n;
  };
  LM_DEVICE static State init(const ReduceArgs&) { return {0, 0, 0}; }
  LM_DEVICE static void merge(const ReduceArgs&, State& a, const State& b) {
    const double n = a.n + b.n;
    if (b.n == 0) return;
    const double delta = b.mean - a.mean, share = b.n / n;
    a.mean += delta * share;
    a.m2 += b.m2 + delta * delta * (a.n * share);
    a.n = n;
  }
  template <int U, int N>
  LM_DEVICE static void add(const ReduceArgs& args, State& s, const Pack<T, N> (&packs)[U], int64_t, int64_t) {
    constexpr T kShare = T(1) / T(U * N);
    T mean = 0, first = 0, second = 0;
#pragma unroll
    for (int u = 0; u < U; ++u)
#pragma unroll
      for (int k = 0; k < N; ++k) mean += packs[u][k];
    mean *= kShare;
    // From the rounded mean: the sums of x - m and (x - m)^2 correct for the rounding.
#pragma unroll
    for (int u = 0; u < U; ++u)
#pragma unroll
      for (int k = 0; k < N; ++k) {
        const T d = packs[u][k] - mean;
        first += d;
        second += d * d;
      }
    merge(args, s,
          {double(mean) + double(first * kShare), double(second) - double(first) * double(first * kShare),
           double(U * N)});
  }
  LM_DEVICE static void finish(const ReduceArgs& args, const State& s, int64_t result) {
    const double left = s.n - args.p, nan = __builtin_huge_val() * 0.0;
    const double v = s.n == 0 ? nan : s.m2 / (left > 0 ? left : 0);
    if (args.out) static_cast<T*>(args.out)[result] = T(args.root ? sqrt(v) : v);
    if (args.out2) static_cast<T*>(args.out2)[result] = T(s.n == 0 ? nan : s.mean);
  }
};

// log(sum(exp(x))) as max + log(sum(exp(x - max))): no overflow.
template <class T_>
struct LogSumState {
  using T = T_;
  struct State {
    double sum;
    T max;
  };
  LM_DEVICE static T larger(T a, T b) { return b > a || b != b ? b : a; }
  LM_DEVICE static T shift(T max) { return max == highest<T>() || max == lowest<T>() ? T(0) : max; }
  LM_DEVICE static T exponential(T x) {
    if constexpr (kSame<T, float>)
      return expf(x);
    else
      return exp(x);
  }
  LM_DEVICE static State init(const ReduceArgs&) { return {0, lowest<T>()}; }
  LM_DEVICE static void merge(const ReduceArgs&, State& a, const State& b) {
    const T max = larger(a.max, b.max), m = shift(max);
    // An infinite maximum stands for itself: exp would overflow.
    if (max == highest<T>())
      a.sum = 1;
    else if (max == lowest<T>())
      a.sum = 0;
    else
      a.sum = a.sum * double(exponential(a.max - m)) + b.sum * double(exponential(b.max - m));
    a.max = max;
  }
  template <int U, int N>
  LM_DEVICE static void add(const ReduceArgs& args, State& s, const Pack<T, N> (&packs)[U], int64_t, int64_t) {
    T max = packs[0][0], sum = 0;
#pragma unroll
    for (int u = 0; u < U; ++u)
#pragma unroll
      for (int k = 0; k < N; ++k) max = larger(max, packs[u][k]);
    const T m = shift(max);
#pragma unroll
    for (int u = 0; u < U; ++u)
#pragma unroll
      for (int k = 0; k < N; ++k) sum += exponential(packs[u][k] - m);
    merge(args, s, {double(sum), max});
  }
  LM_DEVICE static void finish(const ReduceArgs& args, const State& s, int64_t result) {
    const bool infinite = s.max == highest<T>() || s.max == lowest<T>();
    static_cast<T*>(args.out)[result] = T(infinite ? double(s.max) : double(s.max) + log(s.sum));
  }
};

}  // namespace lamina::cuda
