// The vocabulary of Lamina's formulas for plain numbers: LM_FN, select, bits, wrapping integer helpers.
// The one idea: a formula is a template over T and uses only arithmetic, comparisons, select and math functions, so
// that T may be a float in a CUDA thread, a SIMD vector, a Tensor (double backward) or a dual number.
// Under nvcc and NVRTC nothing else of the standard library is included. Next: vec.h, functions.h, unary.h.
#pragma once

#if defined(__CUDACC__)
#define LM_CUDA 1
#define LM_FN __host__ __device__ __forceinline__
#else
#define LM_CUDA 0
// always_inline: a formula compiled for AVX-512 must never become the one out-of-line copy that the linker keeps.
#define LM_FN inline __attribute__((always_inline))
#endif
#define LM_INLINE __attribute__((always_inline))  // the same for lambdas

#if !defined(__CUDACC_RTC__)
#include <math.h>
#include <stdint.h>
#include <string.h>
#endif

namespace lamina::math {

template <class A, class B>
inline constexpr bool kSame = false;
template <class A>
inline constexpr bool kSame<A, A> = true;

// Lane<T>: the number inside T. IntOf<T>: the signed integers as wide as T's lanes (for exponent arithmetic).
template <class T>
struct Traits {};
#define LM_TRAITS(T, I, FLOAT)            \
  template <>                             \
  struct Traits<T> {                      \
    using Lane = T;                       \
    using Int = I;                        \
    static constexpr bool kFloat = FLOAT; \
  };
LM_TRAITS(float, int32_t, true)
LM_TRAITS(double, int64_t, true)
LM_TRAITS(bool, int32_t, false)
LM_TRAITS(int8_t, int8_t, false)
LM_TRAITS(uint8_t, int8_t, false)
LM_TRAITS(int16_t, int16_t, false)
LM_TRAITS(int32_t, int32_t, false)
LM_TRAITS(int64_t, int64_t, false)
#undef LM_TRAITS
template <class T>
using Lane = typename Traits<T>::Lane;
template <class T>
using IntOf = typename Traits<T>::Int;

// F32: float or a vector of floats; F64: double or a vector of doubles; Integer: a plain integer or bool.
template <class T>
concept F32 = kSame<Lane<T>, float>;
template <class T>
concept F64 = kSame<Lane<T>, double>;
template <class T>
concept Real = Traits<T>::kFloat;
template <class T>
concept Integer = !Traits<T>::kFloat && kSame<Lane<T>, T>;
template <class T>
concept Scalar = kSame<Lane<T>, T>;

template <Scalar T>
LM_FN T select(bool cond, T a, T b) {
  return cond ? a : b;
}
LM_FN bool any(bool mask) { return mask; }

LM_FN int32_t bits(float x) { return __builtin_bit_cast(int32_t, x); }
LM_FN int64_t bits(double x) { return __builtin_bit_cast(int64_t, x); }
LM_FN float from_bits(int32_t x) { return __builtin_bit_cast(float, x); }
LM_FN double from_bits(int64_t x) { return __builtin_bit_cast(double, x); }
LM_FN int32_t to_int(float x) { return static_cast<int32_t>(x); }
LM_FN int64_t to_int(double x) { return static_cast<int64_t>(x); }
LM_FN float to_float(int32_t x) { return static_cast<float>(x); }
LM_FN double to_float(int64_t x) { return static_cast<double>(x); }

// map(fn, x...): fn lane by lane; for a number that is the call itself.
template <class Fn, Scalar T, class... Ts>
LM_FN T map(Fn fn, T x, Ts... more) {
  return fn(x, more...);
}

}  // namespace lamina::math
