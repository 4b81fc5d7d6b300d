// Vec<T, N>: N lanes of float, double, int32 or int64 on one SIMD register, and Mask, the result of comparing two.
// The one idea: a thin struct around GCC's vector extension, so that formulas written for numbers run on registers of
// any instruction set; the widest register of the translation unit is Simd<T>. Next: functions.h.
#pragma once

#include "math/scalar.h"

#if !LM_CUDA
#include <utility>

// Internal to the translation unit: every instruction-set build sees its own value.
#if defined(__AVX512F__)
#define LM_VECTOR_BYTES 64
#elif defined(__AVX__)
#define LM_VECTOR_BYTES 32
#else
#define LM_VECTOR_BYTES 16
#endif

namespace lamina::math {

// The register itself. GCC takes a dependent vector typedef for its element type, unless it stands in a struct.
template <class T, int N>
struct RawVec {
  typedef T type __attribute__((vector_size(N * sizeof(T))));
};
template <class T, int N>
using Raw = typename RawVec<T, N>::type;

// Lanes are all ones (true) or zero (false), as wide as the compared lanes: Int is int32_t or int64_t.
template <class Int, int N>
struct Mask {
  math::Raw<Int, N> raw;

  LM_FN friend Mask operator&(Mask a, Mask b) { return {a.raw & b.raw}; }
  LM_FN friend Mask operator|(Mask a, Mask b) { return {a.raw | b.raw}; }
  LM_FN friend Mask operator^(Mask a, Mask b) { return {a.raw ^ b.raw}; }
  LM_FN friend Mask operator!(Mask a) { return {~a.raw}; }

  // Lanes become the bytes 0 and 1 of a bool array.
  LM_FN void store(bool* p) const {
    using Bytes = Raw<int8_t, N>;
    Bytes b = __builtin_convertvector(raw, Bytes) & 1;
    memcpy(p, &b, N);
  }
  LM_FN void store(bool* p, int n) const {
    using Bytes = Raw<int8_t, N>;
    Bytes b = __builtin_convertvector(raw, Bytes) & 1;
    memcpy(p, &b, static_cast<size_t>(n));
  }
};

template <class T, int N>
struct Vec {
  using Raw = math::Raw<T, N>;
  using Int = IntOf<T>;
  using M = Mask<Int, N>;
  static constexpr int kLanes = N;
  Raw raw;

  Vec() = default;
  LM_FN Vec(T x) : raw(x - Raw{}) {}  // implicit: `2.f * v` and `T(1)` are splats; x - 0 keeps -0
  LM_FN explicit Vec(Raw r) : raw(r) {}

  LM_FN static Vec load(const T* p) {
    Vec v;
    memcpy(&v.raw, p, sizeof(Raw));
    return v;
  }
  // The first n < N lanes; the others are zero.
  LM_FN static Vec load(const T* p, int n) {
    Vec v(T(0));
    memcpy(&v.raw, p, static_cast<size_t>(n) * sizeof(T));
    return v;
  }
  LM_FN void store(T* p) const { memcpy(p, &raw, sizeof(Raw)); }
  LM_FN void store(T* p, int n) const { memcpy(p, &raw, static_cast<size_t>(n) * sizeof(T)); }
  LM_FN T operator[](int i) const { return raw[i]; }

  LM_FN friend Vec operator+(Vec a, Vec b) { return Vec(a.raw + b.raw); }
  LM_FN friend Vec operator-(Vec a, Vec b) { return Vec(a.raw - b.raw); }
  LM_FN friend Vec operator*(Vec a, Vec b) { return Vec(a.raw * b.raw); }
  LM_FN friend Vec operator/(Vec a, Vec b) { return Vec(a.raw / b.raw); }
  LM_FN friend Vec operator-(Vec a) { return Vec(-a.raw); }
  LM_FN Vec& operator+=(Vec b) { return *this = *this + b; }
  LM_FN Vec& operator-=(Vec b) { return *this = *this - b; }
  LM_FN Vec& operator*=(Vec b) { return *this = *this * b; }
  LM_FN Vec& operator/=(Vec b) { return *this = *this / b; }

  // Integer lanes only.
  LM_FN friend Vec operator&(Vec a, Vec b) { return Vec(a.raw & b.raw); }
  LM_FN friend Vec operator|(Vec a, Vec b) { return Vec(a.raw | b.raw); }
  LM_FN friend Vec operator^(Vec a, Vec b) { return Vec(a.raw ^ b.raw); }
  LM_FN friend Vec operator~(Vec a) { return Vec(~a.raw); }
  LM_FN friend Vec operator<<(Vec a, int n) { return Vec(a.raw << n); }
  LM_FN friend Vec operator>>(Vec a, int n) { return Vec(a.raw >> n); }  // copies the sign

  LM_FN friend M operator<(Vec a, Vec b) { return {(math::Raw<Int, N>)(a.raw < b.raw)}; }
  LM_FN friend M operator>(Vec a, Vec b) { return {(math::Raw<Int, N>)(a.raw > b.raw)}; }
  LM_FN friend M operator<=(Vec a, Vec b) { return {(math::Raw<Int, N>)(a.raw <= b.raw)}; }
  LM_FN friend M operator>=(Vec a, Vec b) { return {(math::Raw<Int, N>)(a.raw >= b.raw)}; }
  LM_FN friend M operator==(Vec a, Vec b) { return {(math::Raw<Int, N>)(a.raw == b.raw)}; }
  LM_FN friend M operator!=(Vec a, Vec b) { return {(math::Raw<Int, N>)(a.raw != b.raw)}; }

  LM_FN friend Vec select(M cond, Vec a, Vec b) { return Vec(cond.raw ? a.raw : b.raw); }
};

// The widest register of this build.
template <class T>
using Simd = Vec<T, LM_VECTOR_BYTES / sizeof(T)>;

template <class T, int N>
struct Traits<Vec<T, N>> {
  using Lane = T;
  using Int = Vec<IntOf<T>, N>;
  static constexpr bool kFloat = Traits<T>::kFloat;
};

template <class T, int N>
LM_FN Vec<IntOf<T>, N> bits(Vec<T, N> x) {
  return Vec<IntOf<T>, N>((typename Vec<IntOf<T>, N>::Raw)x.raw);
}
template <int N>
LM_FN Vec<float, N> from_bits(Vec<int32_t, N> x) {
  return Vec<float, N>((typename Vec<float, N>::Raw)x.raw);
}
template <int N>
LM_FN Vec<double, N> from_bits(Vec<int64_t, N> x) {
  return Vec<double, N>((typename Vec<double, N>::Raw)x.raw);
}
// Towards zero; out of range is unspecified (formulas select such lanes away).
template <class T, int N>
LM_FN Vec<IntOf<T>, N> to_int(Vec<T, N> x) {
  return Vec<IntOf<T>, N>(__builtin_convertvector(x.raw, typename Vec<IntOf<T>, N>::Raw));
}
template <int N>
LM_FN Vec<float, N> to_float(Vec<int32_t, N> x) {
  return Vec<float, N>(__builtin_convertvector(x.raw, typename Vec<float, N>::Raw));
}
template <int N>
LM_FN Vec<double, N> to_float(Vec<int64_t, N> x) {
  return Vec<double, N>(__builtin_convertvector(x.raw, typename Vec<double, N>::Raw));
}

#if defined(__AVX512F__) && !defined(__clang__)
// One instruction each; a NaN in x stays.
template <int N>
  requires(N == 16)
LM_FN Vec<float, N> at_most(Vec<float, N> x, float c) {
  return Vec<float, N>(__builtin_ia32_minps512_mask(Vec<float, N>(c).raw, x.raw, x.raw, -1, 4));
}
template <int N>
  requires(N == 16)
LM_FN Vec<float, N> at_least(Vec<float, N> x, float c) {
  return Vec<float, N>(__builtin_ia32_maxps512_mask(Vec<float, N>(c).raw, x.raw, x.raw, -1, 4));
}
// x * 2^k for whole k, rounded once.
template <int N>
  requires(N == 16)
LM_FN Vec<float, N> times_power_of_two(Vec<float, N> x, Vec<float, N> k) {
  const Raw<float, N> none{};
  return Vec<float, N>(__builtin_ia32_scalefps512_mask(x.raw, k.raw, none, -1, 4));  // 4: round as set
}
#endif

// True when any lane is.
template <class Int, int N>
LM_FN bool any(Mask<Int, N> m) {
#if defined(__AVX512F__) && !defined(__clang__)
  if constexpr (sizeof(m) == 64) {
    const auto lanes = reinterpret_cast<Raw<int32_t, 16>>(m.raw);
    return __builtin_ia32_ptestmd512(lanes, lanes, -1) != 0;
  } else
#endif
#if defined(__AVX__)
      if constexpr (sizeof(m) == 32)
    return __builtin_ia32_movmskps256(reinterpret_cast<Raw<float, 8>>(m.raw)) != 0;
  else
#endif
  {
    uint64_t words[N * sizeof(Int) / 8], all = 0;
    memcpy(words, &m.raw, sizeof(m.raw));
    for (uint64_t w : words) all |= w;
    return all != 0;
  }
}

// fn lane by lane, for functions that have no polynomial here. A loop: fn is mostly a call, which 16 copies do not
// speed up.
template <class Fn, class T, int N, class... Ts>
LM_FN Vec<T, N> map(Fn fn, Vec<T, N> x, Ts... more) {
  Vec<T, N> y = x;
#pragma GCC unroll 1
  for (int i = 0; i < N; ++i) y.raw[i] = fn(x.raw[i], more.raw[i]...);
  return y;
}

// fn computed in double, for formulas that need more than 24 bits inside; a vector goes by halves.
template <class Fn, class... Ts>
LM_FN float in_double(Fn fn, float x, Ts... more) {
  return static_cast<float>(fn(static_cast<double>(x), static_cast<double>(more)...));
}
template <int... I>
struct Halves {
  static constexpr int n = sizeof...(I);
  using D = Vec<double, n>;
  template <class F>
  LM_FN static D low(F x) {
    return D(__builtin_convertvector(__builtin_shufflevector(x.raw, x.raw, I...), Raw<double, n>));
  }
  template <class F>
  LM_FN static D high(F x) {
    return D(__builtin_convertvector(__builtin_shufflevector(x.raw, x.raw, (n + I)...), Raw<double, n>));
  }
  LM_FN static Vec<float, 2 * n> join(D low, D high) {
    return Vec<float, 2 * n>(__builtin_shufflevector(__builtin_convertvector(low.raw, Raw<float, n>),
                                                     __builtin_convertvector(high.raw, Raw<float, n>), I...,
                                                     (n + I)...));
  }
};
template <int... I>
Halves<I...> halves(std::integer_sequence<int, I...>);
template <class Fn, int N, class... Ts>
LM_FN Vec<float, N> in_double(Fn fn, Vec<float, N> x, Ts... more) {
  using H = decltype(halves(std::make_integer_sequence<int, N / 2>()));
  return H::join(fn(H::low(x), H::low(more)...), fn(H::high(x), H::high(more)...));
}

}  // namespace lamina::math

#endif  // !LM_CUDA
