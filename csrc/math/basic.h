// Exact building blocks for numbers and vectors: abs, copysign, rounding, square roots, Horner polynomials.
// The one idea: rounding by adding and subtracting 2^23 (2^52) needs no instruction of its own, so it is portable.
// Next: exp_log.h.
#pragma once

#include "math/vec.h"

namespace lamina::math {

inline constexpr double kPi = 3.14159265358979323846;
inline constexpr double kLn2 = 0.693147180559945309417;
inline constexpr double kLn10 = 2.30258509299404568402;
inline constexpr double kSqrt1_2 = 0.707106781186547524401;    // 1/sqrt(2)
inline constexpr double kSqrt2_Pi = 0.797884560802865355880;   // sqrt(2/pi)
inline constexpr double k2_SqrtPi = 1.12837916709551257390;    // 2/sqrt(pi)
inline constexpr double k1_Sqrt2Pi = 0.398942280401432677940;  // 1/sqrt(2 pi)
inline constexpr double kInf = __builtin_inf();
inline constexpr double kNan = __builtin_nan("");

template <Real T>
LM_FN T inf() {
  return T(static_cast<Lane<T>>(__builtin_inff()));
}
template <Real T>
LM_FN T nan() {
  return T(static_cast<Lane<T>>(__builtin_nanf("")));
}

LM_FN constexpr int32_t sign_bit(float) { return INT32_MIN; }
LM_FN constexpr int64_t sign_bit(double) { return INT64_MIN; }

template <Real T>
LM_FN T abs(T x) {
  return from_bits(bits(x) & IntOf<T>(~sign_bit(Lane<T>(0))));
}
template <Integer T>
LM_FN T abs(T x) {
  return static_cast<T>(x < T(0) ? T(0) - x : x);
}
template <Real T>
LM_FN T copysign(T magnitude, T sign) {
  const IntOf<T> bit(sign_bit(Lane<T>(0)));
  return from_bits((bits(magnitude) & ~bit) | (bits(sign) & bit));
}
template <Real T>
LM_FN auto signbit(T x) {
  return bits(x) < IntOf<T>(0);
}
template <Real T>
LM_FN auto isnan(T x) {
  return x != x;
}
template <Real T>
LM_FN auto isinf(T x) {
  return abs(x) == inf<T>();
}
template <Real T>
LM_FN auto isfinite(T x) {
  return abs(x) < inf<T>();
}

// -1, 0 or 1; NaN stays NaN.
template <class T>
  requires Real<T> || Integer<T>
LM_FN T sign(T x) {
  return select(x > T(0), T(1), select(x < T(0), T(-1), select(x == T(0), T(0), x)));
}

// The largest finite number of T's lanes.
template <Real T>
LM_FN T greatest() {
  return from_bits(IntOf<T>(sizeof(Lane<T>) == 4 ? IntOf<Lane<T>>(0x7f7fffff) : IntOf<Lane<T>>(0x7fefffffffffffff)));
}
// An attribute as T; infinities become the largest numbers (finite), for integers whatever is beyond does (saturate).
template <Real T>
LM_FN T saturate(double v) {
  return T(static_cast<Lane<T>>(v));
}
template <Real T>
LM_FN T finite(double v) {
  return v == kInf ? greatest<T>() : v == -kInf ? -greatest<T>() : saturate<T>(v);
}
template <Integer T>
LM_FN T saturate(double v) {
  constexpr bool kSigned = T(-1) < T(0);
  constexpr T kLeast = kSigned ? T(T(1) << (8 * sizeof(T) - 1)) : T(0), kMost = T(~kLeast);
  return !(v > static_cast<double>(kLeast)) ? kLeast : v >= static_cast<double>(kMost) ? kMost : static_cast<T>(v);
}

// c is a bound: NaN stays NaN, which min and max of the instruction set would not promise.
template <Real T>
LM_FN T at_most(T x, Lane<T> c) {
  return select(x > T(c), T(c), x);
}
template <Real T>
LM_FN T at_least(T x, Lane<T> c) {
  return select(x < T(c), T(c), x);
}

// Half to even, as the hardware rounds x + 2^(mantissa bits) to a whole number.
template <Real T>
LM_FN T round(T x) {
  const T big(sizeof(Lane<T>) == 4 ? Lane<T>(8388608) : Lane<T>(4503599627370496));
  const T a = abs(x);
  return select(a < big, copysign((a + big) - big, x), x);
}
template <Real T>
LM_FN T floor(T x) {
  const T r = round(x);
  return copysign(select(r > x, r - T(1), r), x);
}
template <Real T>
LM_FN T ceil(T x) {
  const T r = round(x);
  return copysign(select(r < x, r + T(1), r), x);
}
template <Real T>
LM_FN T trunc(T x) {
  const T a = abs(x), r = round(a);
  return copysign(select(r > a, r - T(1), r), x);
}
template <Integer T>
LM_FN T round(T x) {
  return x;
}
template <Integer T>
LM_FN T floor(T x) {
  return x;
}
template <Integer T>
LM_FN T ceil(T x) {
  return x;
}
template <Integer T>
LM_FN T trunc(T x) {
  return x;
}

LM_FN float sqrt(float x) { return __builtin_sqrtf(x); }
LM_FN double sqrt(double x) { return __builtin_sqrt(x); }
#if !LM_CUDA
// GCC has no generic vector square root; its own builtins spare <immintrin.h>.
template <class T, int N>
LM_FN Vec<T, N> sqrt(Vec<T, N> x) {
  using V = Vec<T, N>;
#if defined(__clang__)
  return V(__builtin_elementwise_sqrt(x.raw));
#else
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64 && sizeof(T) == 4)
    return V(__builtin_ia32_sqrtps512_mask(x.raw, x.raw, -1, 4));
  else if constexpr (sizeof(V) == 64)
    return V(__builtin_ia32_sqrtpd512_mask(x.raw, x.raw, -1, 4));
  else
#endif
#if defined(__AVX__)
      if constexpr (sizeof(V) == 32 && sizeof(T) == 4)
    return V(__builtin_ia32_sqrtps256(x.raw));
  else if constexpr (sizeof(V) == 32)
    return V(__builtin_ia32_sqrtpd256(x.raw));
  else
#endif
#if defined(__SSE2__)
      if constexpr (sizeof(V) == 16 && sizeof(T) == 4)
    return V(__builtin_ia32_sqrtps(x.raw));
  else if constexpr (sizeof(V) == 16)
    return V(__builtin_ia32_sqrtpd(x.raw));
  else
#endif
    return map([](T v) LM_INLINE { return sqrt(v); }, x);
#endif
}
#endif
template <Real T>
LM_FN T rsqrt(T x) {
  return T(1) / sqrt(x);
}

// poly(x, c_n, ..., c_0) = c_n x^n + ... + c_0, by Horner's rule.
template <Real T>
LM_FN T horner(T, T sum) {
  return sum;
}
template <Real T, class... C>
LM_FN T horner(T x, T sum, Lane<T> c, C... rest) {
  return horner(x, sum * x + T(c), static_cast<Lane<T>>(rest)...);
}
template <Real T, class... C>
LM_FN T poly(T x, Lane<T> c, C... rest) {
  return horner(x, T(c), static_cast<Lane<T>>(rest)...);
}

// name(x) for the types that have no polynomial here: per lane from the C library; on CUDA from its device library.
#if LM_CUDA
#define LM_LIBM(name)                                \
  LM_FN float name(float x) { return ::name##f(x); } \
  LM_FN double name(double x) { return ::name(x); }
#define LM_LIBM2(name)                                           \
  LM_FN float name(float x, float y) { return ::name##f(x, y); } \
  LM_FN double name(double x, double y) { return ::name(x, y); }
#else
#define LM_LIBM(name)                                            \
  template <F64 T>                                               \
  LM_FN T name(T x) {                                            \
    return map([](double v) LM_INLINE { return ::name(v); }, x); \
  }
#define LM_LIBM2(name)                                                           \
  template <F64 T>                                                               \
  LM_FN T name(T x, T y) {                                                       \
    return map([](double v, double w) LM_INLINE { return ::name(v, w); }, x, y); \
  }
#endif

}  // namespace lamina::math
