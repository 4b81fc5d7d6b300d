// The states of reductions: what is known about the elements seen so far, and how more are added. Each has
//   State init();  void block(State&, x, n, first);  void columns(rows, nrows, first, n, State*);
//   void merge(State& a, b);  void finish(State, job, result)
// where block adds n contiguous elements, the first at position `first`, and columns adds nrows elements to each of n
// states. The one idea: short runs are added in the dtype on SIMD registers, runs are merged in double, so a float32
// sum of 10^7 elements keeps its 7 digits. Next: reduce.cpp.
#pragma once
#include "cpu/reduce_loops.h"
#include "math/functions.h"

namespace lamina::cpu::LM_ISA {

using math::select;
template <class T>
inline constexpr bool kFloat = math::kSame<T, float> || math::kSame<T, double>;
template <bool kCondition, class A, class B>
struct IfElse {
  using Type = A;
};
template <class A, class B>
struct IfElse<false, A, B> {
  using Type = B;
};
template <class T>
using Wide = typename IfElse<kFloat<T>, T, int64_t>::Type;  // integer sums are int64
template <class T>
using Total = typename IfElse<math::kSame<T, float>, double, T>::Type;

// --- how two values join; identity joins with anything to give that ---
struct Add {
  template <class A>
  LM_FN static A identity() {
    return A(0);
  }
  template <class V>
  LM_FN static V join(V a, V b) {
    return V(a + b);
  }
};
struct Multiply {
  template <class A>
  LM_FN static A identity() {
    return A(1);
  }
  template <class V>
  LM_FN static V join(V a, V b) {
    return V(a * b);
  }
};
template <class A>
LM_FN A highest() {
  if constexpr (kFloat<A>)
    return A(__builtin_inff());
  else if constexpr (A(-1) > A(0))
    return A(-1);
  else
    return A(~(uint64_t(1) << (8 * sizeof(A) - 1)) & (~uint64_t(0) >> (64 - 8 * sizeof(A))));
}
struct Larger {  // a NaN wins and stays
  template <class A>
  LM_FN static A identity() {
    return kFloat<A> ? A(-highest<A>()) : A(-highest<A>() - 1);
  }
  template <class V>
  LM_FN static V join(V a, V b) {
    return select((b > a) | (b != b), b, a);
  }
  template <class V>
  LM_FN static auto wins(V b, V a) {
    return (b > a) | ((b != b) & (a == a));
  }
};
template <>
LM_FN uint8_t Larger::identity<uint8_t>() {
  return 0;
}
struct Smaller {
  template <class A>
  LM_FN static A identity() {
    return highest<A>();
  }
  template <class V>
  LM_FN static V join(V a, V b) {
    return select((b < a) | (b != b), b, a);
  }
  template <class V>
  LM_FN static auto wins(V b, V a) {
    return (b < a) | ((b != b) & (a == a));
  }
};
struct Or {
  template <class A>
  LM_FN static A identity() {
    return A(0);
  }
  template <class V>
  LM_FN static V join(V a, V b) {
    return V(a | b);
  }
};
struct And {
  template <class A>
  LM_FN static A identity() {
    return A(1);
  }
  template <class V>
  LM_FN static V join(V a, V b) {
    return V(a & b);
  }
};

// --- what is done to an element first ---
struct Same {
  template <class V>
  LM_FN V operator()(V x) const {
    return x;
  }
};
struct NanToZero {
  template <class V>
  LM_FN V operator()(V x) const {
    return select(x == x, x, V(0));
  }
};
struct Abs {
  template <class V>
  LM_FN V operator()(V x) const {
    return math::abs(x);
  }
};
struct Square {
  template <class V>
  LM_FN V operator()(V x) const {
    return x * x;
  }
};
struct Power {
  double p;
  template <class V>
  LM_FN V operator()(V x) const {
    return math::pow(math::abs(x), V(math::Lane<V>(p)));
  }
};
struct NonZero {
  template <class V>
  LM_FN uint8_t operator()(V x) const {
    return x != V(0);
  }
};

// All of n elements mapped and joined: four registers in flight, folded as a tree.
template <class Join, class T, class Map>
LM_FN T fold(const T* x, int64_t n, Map map) {
  using V = math::Simd<T>;
  constexpr int L = V::kLanes;
  T rest = Join::template identity<T>();
  int64_t i = 0;
  if (n >= L) {
    V a(rest), b(rest), c(rest), d(rest);
    for (; i + 4 * L <= n; i += 4 * L) {
      a = Join::join(a, map(V::load(x + i)));
      b = Join::join(b, map(V::load(x + i + L)));
      c = Join::join(c, map(V::load(x + i + 2 * L)));
      d = Join::join(d, map(V::load(x + i + 3 * L)));
    }
    for (; i + L <= n; i += L) a = Join::join(a, map(V::load(x + i)));
    T lanes[L];
    Join::join(Join::join(a, b), Join::join(c, d)).store(lanes);
    for (int w = L / 2; w > 0; w /= 2)
      for (int k = 0; k < w; ++k) lanes[k] = Join::join(lanes[k], lanes[k + w]);
    rest = lanes[0];
  }
  for (; i < n; ++i) rest = Join::join(rest, map(x[i]));
  return rest;
}

// One column over all rows for K registers side by side; add(column, value) takes the results.
template <int K, class Join, class T, class Map, class Take>
LM_FN void fold_columns(const T* const* rows, int64_t nrows, int64_t column, Map map, Take take) {
  using V = math::Simd<T>;
  constexpr int L = V::kLanes;
  V sum[K];
  for (int k = 0; k < K; ++k) sum[k] = map(V::load(rows[0] + column + k * L), k);
  for (int64_t r = 1; r < nrows; ++r)
    for (int k = 0; k < K; ++k) sum[k] = Join::join(sum[k], map(V::load(rows[r] + column + k * L), k));
  for (int k = 0; k < K; ++k) take(k, sum[k]);
}
// Calls f<K>(column) for groups of K registers, then g(column) for what is left.
template <class T, class F, class G>
LM_FN void over_columns(int64_t n, F f, G g) {
  constexpr int L = math::Simd<T>::kLanes;
  int64_t c = 0;
  for (; c + 4 * L <= n; c += 4 * L) f.template operator()<4>(c);
  for (; c + L <= n; c += L) f.template operator()<1>(c);
  for (; c < n; ++c) g(c);
}

// Sums, products, extremes, logic: `A` is what short runs are joined in, `Out` what is stored.
template <class T_, class A, class Out, class Map, class Join>
struct Fold {
  using T = T_;
  struct State {
    Total<A> v;
  };
  Map map{};

  LM_FN State init() const { return {Join::template identity<Total<A>>()}; }
  LM_FN void merge(State& a, const State& b) const { a.v = Join::join(a.v, b.v); }

  [[gnu::noinline]] void block(State& s, const T* x, int64_t n, int64_t) const {
    if constexpr (kFloat<A>) {
      s.v = Join::join(s.v, Total<A>(fold<Join>(x, n, map)));
    } else {
      A a = Join::template identity<A>();
      for (int64_t i = 0; i < n; ++i) a = Join::join(a, A(map(x[i])));
      s.v = Join::join(s.v, a);
    }
  }
  [[gnu::noinline]] void columns(const T* const* rows, int64_t nrows, int64_t, int64_t n, State* s) const {
    if constexpr (kFloat<A>) {
      constexpr int L = math::Simd<T>::kLanes;
      over_columns<T>(
          n,
          [&]<int K>(int64_t c) LM_INLINE {
            fold_columns<K, Join>(
                rows, nrows, c, [&](auto v, int) LM_INLINE { return map(v); },
                [&](int k, auto v) LM_INLINE {
                  T lanes[L];
                  v.store(lanes);
                  for (int j = 0; j < L; ++j) s[c + k * L + j].v = Join::join(s[c + k * L + j].v, Total<A>(lanes[j]));
                });
          },
          [&](int64_t c) LM_INLINE {
            T a[4];  // four chains hide the latency of one
            for (int k = 0; k < 4; ++k) a[k] = Join::template identity<T>();
            int64_t r = 0;
            for (; r + 4 <= nrows; r += 4)
              for (int k = 0; k < 4; ++k) a[k] = Join::join(a[k], map(rows[r + k][c]));
            for (; r < nrows; ++r) a[0] = Join::join(a[0], map(rows[r][c]));
            s[c].v = Join::join(s[c].v, Total<A>(Join::join(Join::join(a[0], a[1]), Join::join(a[2], a[3]))));
          });
    } else {
      A a[kColumnTile];
      for (int64_t c = 0; c < n; ++c) a[c] = A(map(rows[0][c]));
      for (int64_t r = 1; r < nrows; ++r)
        for (int64_t c = 0; c < n; ++c) a[c] = Join::join(a[c], A(map(rows[r][c])));
      for (int64_t c = 0; c < n; ++c) s[c].v = Join::join(s[c].v, a[c]);
    }
  }
  LM_FN void finish(const State& s, const ReduceJob& job, int64_t o) const {
    Total<A> v = s.v;
    if constexpr (kFloat<A>) {
      v /= job.divisor;
      if (job.root) v = job.kind == Reduce::SumSquare ? __builtin_sqrt(v) : __builtin_pow(v, 1 / job.p);
    }
    static_cast<Out*>(job.out)[o] = Out(v);
  }
};

// Mean and sum of squared deviations, two passes over a run that lies in the first cache.
// Merging: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979:
//   m2 = m2_a + m2_b + (mean_b - mean_a)^2 n_a n_b / n
template <class T_>
struct Moments {
  using T = T_;
  using V = math::Simd<T>;
  struct State {
    double mean, m2, n;
  };
  LM_FN State init() const { return {0, 0, 0}; }
  LM_FN void merge(State& a, const State& b) const {
    if (a.n == 0) {
      a = b;
      return;
    }
    const double n = a.n + b.n, delta = b.mean - a.mean;
    a.mean += delta * (b.n / n);
    a.m2 += b.m2 + delta * delta * (a.n * b.n / n);
    a.n = n;
  }
  // From a rounded mean m: the sums of x - m and (x - m)^2 correct for the rounding.
  LM_FN void add(State& s, T m, double first, double second, double n) const {
    merge(s, {double(m) + first / n, second - first * first / n, n});
  }
  [[gnu::noinline]] void block(State& s, const T* x, int64_t n, int64_t) const {
    const T m = T(fold<Add>(x, n, Same{}) / T(n));
    const T first = fold<Add>(x, n, [&](auto v) LM_INLINE { return v - decltype(v)(m); });
    const T second = fold<Add>(x, n, [&](auto v) LM_INLINE {
      auto d = v - decltype(v)(m);
      return d * d;
    });
    add(s, m, first, second, double(n));
  }
  [[gnu::noinline]] void columns(const T* const* rows, int64_t nrows, int64_t, int64_t n, State* s) const {
    constexpr int L = V::kLanes;
    over_columns<T>(
        n,
        [&]<int K>(int64_t c) LM_INLINE {
          V m[K], first[K], second[K];
          auto into = [](V* to) LM_INLINE { return [to](int k, V v) LM_INLINE { to[k] = v; }; };
          fold_columns<K, Add>(rows, nrows, c, [](V v, int) LM_INLINE { return v; }, into(m));
          for (int k = 0; k < K; ++k) m[k] *= V(T(1) / T(nrows));
          fold_columns<K, Add>(rows, nrows, c, [&](V v, int k) LM_INLINE { return v - m[k]; }, into(first));
          fold_columns<K, Add>(
              rows, nrows, c, [&](V v, int k) LM_INLINE { return (v - m[k]) * (v - m[k]); }, into(second));
          for (int k = 0; k < K; ++k)
            for (int j = 0; j < L; ++j) add(s[c + k * L + j], m[k][j], first[k][j], second[k][j], double(nrows));
        },
        [&](int64_t c) LM_INLINE {
          T m = 0, first = 0, second = 0;
          for (int64_t r = 0; r < nrows; ++r) m += rows[r][c];
          m *= T(1) / T(nrows);
          for (int64_t r = 0; r < nrows; ++r) {
            const T d = rows[r][c] - m;
            first += d;
            second += d * d;
          }
          add(s[c], m, first, second, double(nrows));
        });
  }
  LM_FN void finish(const State& s, const ReduceJob& job, int64_t o) const {
    const double left = s.n - job.p, v = s.n == 0 ? __builtin_nan("") : s.m2 / (left > 0 ? left : 0);
    if (job.out) static_cast<T*>(job.out)[o] = T(job.root ? __builtin_sqrt(v) : v);
    if (job.out2) static_cast<T*>(job.out2)[o] = T(s.n == 0 ? __builtin_nan("") : s.mean);
  }
};

// log(sum(exp(x))) as max + log(sum(exp(x - max))): no overflow.
template <class T_>
struct LogSum {
  using T = T_;
  using V = math::Simd<T>;
  struct State {
    double max, sum;
  };
  LM_FN State init() const { return {-__builtin_inf(), 0}; }
  LM_FN static double shift(double max) { return __builtin_isinf(max) ? 0 : max; }
  LM_FN void merge(State& a, const State& b) const {
    const double max = Larger::join(a.max, b.max), m = shift(max);
    // An infinite maximum stands for itself: exp would overflow.
    a.sum = max == __builtin_inf() ? 1 : a.sum * __builtin_exp(a.max - m) + b.sum * __builtin_exp(b.max - m);
    if (max == -__builtin_inf()) a.sum = 0;
    a.max = max;
  }
  [[gnu::noinline]] void block(State& s, const T* x, int64_t n, int64_t) const {
    const T max = fold<Larger>(x, n, Same{}), m = T(shift(max));
    merge(s, {double(max), double(fold<Add>(x, n, [&](auto v) LM_INLINE { return math::exp(v - decltype(v)(m)); }))});
  }
  [[gnu::noinline]] void columns(const T* const* rows, int64_t nrows, int64_t, int64_t n, State* s) const {
    constexpr int L = V::kLanes;
    over_columns<T>(
        n,
        [&]<int K>(int64_t c) LM_INLINE {
          V max[K], m[K];
          fold_columns<K, Larger>(
              rows, nrows, c, [](V v, int) LM_INLINE { return v; },
              [&](int k, V v) LM_INLINE {
                max[k] = v;
                m[k] = select(math::abs(v) == math::inf<V>(), V(0), v);
              });
          fold_columns<K, Add>(
              rows, nrows, c, [&](V v, int k) LM_INLINE { return math::exp(v - m[k]); },
              [&](int k, V v) LM_INLINE {
                for (int j = 0; j < L; ++j) merge(s[c + k * L + j], {double(max[k][j]), double(v[j])});
              });
        },
        [&](int64_t c) LM_INLINE {
          T max = rows[0][c], sum = 0;
          for (int64_t r = 1; r < nrows; ++r) max = Larger::join(max, rows[r][c]);
          for (int64_t r = 0; r < nrows; ++r) sum += math::exp(T(rows[r][c] - T(shift(max))));
          merge(s[c], {double(max), double(sum)});
        });
  }
  LM_FN void finish(const State& s, const ReduceJob& job, int64_t o) const {
    static_cast<T*>(job.out)[o] = T(__builtin_isinf(s.max) ? s.max : s.max + __builtin_log(s.sum));
  }
};

// The extreme value and its first position; the first NaN counts as extreme.
template <class T_, class Join>
struct Extreme {
  using T = T_;
  struct State {
    T v;
    int64_t at;
  };
  LM_FN State init() const { return {Join::template identity<T>(), -1}; }
  LM_FN void merge(State& a, const State& b) const {
    if (b.at >= 0 && (a.at < 0 || Join::wins(b.v, a.v))) a = b;
  }
  [[gnu::noinline]] void block(State& s, const T* x, int64_t n, int64_t first) const {
    T best;
    int64_t i = 0;
    if constexpr (kFloat<T>) {
      best = fold<Join>(x, n, Same{});
      if (s.at >= 0 && !Join::wins(best, s.v)) return;
      using V = math::Simd<T>;
      // Whole registers without a hit are skipped; only a better run is looked at twice.
      if (best == best) {
        while (i + V::kLanes <= n && !math::any(V::load(x + i) == V(best))) i += V::kLanes;
        while (x[i] != best) ++i;
      } else {
        while (x[i] == x[i]) ++i;
      }
    } else {
      best = x[0];
      for (int64_t j = 1; j < n; ++j) best = Join::join(best, x[j]);
      if (s.at >= 0 && !Join::wins(best, s.v)) return;
      while (x[i] != best) ++i;
    }
    s = {best, first + i};
  }
  [[gnu::noinline]] void columns(const T* const* rows, int64_t nrows, int64_t first, int64_t n, State* s) const {
    auto plain = [&](int64_t c) LM_INLINE {
      T best = rows[0][c];
      int64_t at = 0;
      for (int64_t r = 1; r < nrows; ++r)
        if (Join::wins(rows[r][c], best)) best = rows[at = r][c];
      merge(s[c], {best, first + at});
    };
    if constexpr (kFloat<T>) {
      using V = math::Simd<T>;
      using I = math::IntOf<V>;
      over_columns<T>(
          n,
          [&]<int K>(int64_t c) LM_INLINE {
            constexpr int L = V::kLanes;
            V best[K];
            I at[K];
            for (int k = 0; k < K; ++k) best[k] = V::load(rows[0] + c + k * L), at[k] = I(0);
            for (int64_t r = 1; r < nrows; ++r)
              for (int k = 0; k < K; ++k) {
                const V v = V::load(rows[r] + c + k * L);
                const auto better = Join::wins(v, best[k]);
                best[k] = select(better, v, best[k]);
                at[k] = select(better, I(math::Lane<I>(r)), at[k]);
              }
            for (int k = 0; k < K; ++k)
              for (int j = 0; j < L; ++j) merge(s[c + k * L + j], {best[k][j], first + at[k][j]});
          },
          plain);
    } else {
      for (int64_t c = 0; c < n; ++c) plain(c);
    }
  }
  LM_FN void finish(const State& s, const ReduceJob& job, int64_t o) const {
    if (job.out) static_cast<T*>(job.out)[o] = s.v;
    if (job.out2) static_cast<int64_t*>(job.out2)[o] = s.at;
  }
};

}  // namespace lamina::cpu::LM_ISA
