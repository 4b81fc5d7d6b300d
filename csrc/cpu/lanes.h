// Loops over rows of numbers, a register at a time: `lanes<T>(n, fn)` calls fn(at, k) for every register of a row,
// where `at` loads and stores (all lanes, or the first few at the end of the row) and k < kUnroll picks one of several
// sums. The one idea: a kernel states its arithmetic once; main loop, unrolling and tail are here. Included by kernels
// only.
#pragma once
#include <stdint.h>

#include "core/pool.h"
#include "math/functions.h"

namespace lamina::cpu::LM_ISA {
namespace {

using math::Simd;
#if defined(__AVX__)
typedef int Mask32 __attribute__((vector_size(32)));
typedef long long Mask64 __attribute__((vector_size(32)));
#endif

// Sums run in four registers: an addition takes four cycles, and one could start every half cycle.
inline constexpr int kUnroll = 4;
// Elements in one piece of work: large against the cost of handing it to a thread, small against the L2 cache.
inline constexpr int64_t kGrain = 16384;

template <class T>
struct Full {
  using V = Simd<T>;
  int64_t i;
  LM_FN static int count() { return V::kLanes; }
  LM_FN V load(const T* p) const { return V::load(p + i); }
  LM_FN void store(T* p, V v) const { v.store(p + i); }
  LM_FN V keep(V v, T) const { return v; }
};
template <class T>
LM_FN Simd<math::IntOf<T>> lane_numbers() {
  Simd<math::IntOf<T>> v;
#pragma GCC unroll 16
  for (int lane = 0; lane < Simd<T>::kLanes; ++lane) v.raw[lane] = lane;
  return v;
}

// The first n lanes, for the end of a row. Masked moves where the instruction set has them: a memcpy of n bytes would
// be a function call, which rows of ten classes would feel.
template <class T>
struct Tail {
  using V = Simd<T>;
  using I = Simd<math::IntOf<T>>;
  int64_t i;
  int n;
  LM_FN int count() const { return n; }
  LM_FN auto exists() const { return lane_numbers<T>() < I(n); }
  LM_FN V load(const T* p) const {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
      return V(__builtin_ia32_loadups512_mask(p + i, V(T(0)).raw, static_cast<uint16_t>((1 << n) - 1)));
    else
      return V(__builtin_ia32_loadupd512_mask(p + i, V(T(0)).raw, static_cast<uint8_t>((1 << n) - 1)));
#elif defined(__AVX__)
    const auto mask = exists().raw;
    if constexpr (sizeof(T) == 4)
      return V(__builtin_ia32_maskloadps256(reinterpret_cast<const V::Raw*>(p + i), (Mask32)mask));
    else
      return V(__builtin_ia32_maskloadpd256(reinterpret_cast<const V::Raw*>(p + i), (Mask64)mask));
#else
    return V::load(p + i, n);
#endif
  }
  LM_FN void store(T* p, V v) const {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
      __builtin_ia32_storeups512_mask(p + i, v.raw, static_cast<uint16_t>((1 << n) - 1));
    else
      __builtin_ia32_storeupd512_mask(p + i, v.raw, static_cast<uint8_t>((1 << n) - 1));
#elif defined(__AVX__)
    const auto mask = exists().raw;
    if constexpr (sizeof(T) == 4)
      __builtin_ia32_maskstoreps256(reinterpret_cast<V::Raw*>(p + i), (Mask32)mask, v.raw);
    else
      __builtin_ia32_maskstorepd256(reinterpret_cast<V::Raw*>(p + i), (Mask64)mask, v.raw);
#else
    v.store(p + i, n);
#endif
  }
  // v in the lanes that exist, `neutral` in the others: what a sum or a maximum must not see.
  LM_FN V keep(V v, T neutral) const { return select(exists(), v, V(neutral)); }
};

template <class T, class Fn>
LM_FN void lanes(int64_t n, Fn fn) {
  constexpr int W = Simd<T>::kLanes;
  int64_t i = 0;
  for (; i + kUnroll * W <= n; i += kUnroll * W) {
#pragma GCC unroll 4
    for (int k = 0; k < kUnroll; ++k) fn(Full<T>{i + k * W}, k);
  }
  for (; i + W <= n; i += W) fn(Full<T>{i}, 0);
  if (i < n) fn(Tail<T>{i, static_cast<int>(n - i)}, 0);
}

// All lanes by one operation, halves first: the order depends on nothing but the width of a register.
template <class T, int N, class Fn>
LM_FN T fold(math::Vec<T, N> v, Fn fn) {
  if constexpr (N * sizeof(T) > 16) {
    math::Vec<T, N / 2> low, high;
    memcpy(&low.raw, &v.raw, sizeof(low.raw));
    memcpy(&high.raw, reinterpret_cast<const char*>(&v.raw) + sizeof(low.raw), sizeof(high.raw));
    return fold(fn(low, high), fn);
  } else if constexpr (N == 4) {
    return fn(fn(v[0], v[2]), fn(v[1], v[3]));
  } else {
    return fn(v[0], v[1]);
  }
}

template <class T>
struct Sums {
  Simd<T> part[kUnroll] = {T(0), T(0), T(0), T(0)};
  LM_FN Simd<T>& operator[](int k) { return part[k]; }
  LM_FN T total() const {
    return fold((part[0] + part[1]) + (part[2] + part[3]), [](auto a, auto b) LM_INLINE { return a + b; });
  }
};

// NaN never wins here (every comparison with it is false): callers meet it again in the sum.
template <class T>
struct Maxima {
  Simd<T> part[kUnroll] = {-math::inf<Simd<T>>(), -math::inf<Simd<T>>(), -math::inf<Simd<T>>(), -math::inf<Simd<T>>()};
  LM_FN static auto larger(auto a, auto b) {
    using math::select;
    return select(a > b, a, b);
  }
  LM_FN void take(int k, Simd<T> x) { part[k] = larger(x, part[k]); }
  LM_FN T total() const {
    return fold(larger(larger(part[0], part[1]), larger(part[2], part[3])),
                [](auto a, auto b) LM_INLINE { return larger(a, b); });
  }
};

// fn.template operator()<float>() or <double>(), by the size of an element.
template <class Fn>
LM_FN void by_float(int64_t item, Fn fn) {
  if (item == 4)
    fn.template operator()<float>();
  else
    fn.template operator()<double>();
}

// Rows in pieces of about kGrain elements: fn(first, last).
template <class Fn>
LM_FN void row_chunks(int64_t rows, int64_t n, Fn fn) {
  const int64_t step = n >= kGrain ? 1 : kGrain / (n > 0 ? n : 1);
  parallel_for(chunk_count(rows, step), [&](int64_t chunk) {
    const int64_t first = chunk * step, last = first + step < rows ? first + step : rows;
    fn(first, last);
  });
}

}  // namespace
}  // namespace lamina::cpu::LM_ISA
