// The loops that run formulas over contiguous memory: whole registers, then one partial register for the rest, so that
// an element's value does not depend on where it lies (a scalar tail might contract differently).
#pragma once
#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#include "core/dtype.h"
#include "math/binary.h"
#include "math/unary.h"
#include "math/vec.h"

namespace lamina::cpu::LM_ISA {

using math::Simd;

template <class T>
inline constexpr bool kIsFloat = std::is_same_v<T, float> || std::is_same_v<T, double>;

// The first n lanes, n < lanes; masked instructions instead of a call to memcpy where there are any.
template <class T>
LM_FN Simd<T> load_part(const T* p, int n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return Simd<T>(typename Simd<T>::Raw(_mm512_maskz_loadu_ps(__mmask16((1u << n) - 1), p)));
  else
    return Simd<T>(typename Simd<T>::Raw(_mm512_maskz_loadu_pd(__mmask8((1u << n) - 1), p)));
#else
  return Simd<T>::load(p, n);
#endif
}
template <class T>
LM_FN void store_part(Simd<T> v, T* p, int n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    _mm512_mask_storeu_ps(p, __mmask16((1u << n) - 1), __m512(v.raw));
  else
    _mm512_mask_storeu_pd(p, __mmask8((1u << n) - 1), __m512d(v.raw));
#else
  v.store(p, n);
#endif
}
template <class V>
LM_FN void store_part(V mask, bool* p, int n) {
  mask.store(p, n);
}

// out[i] = f(in0[i], in1[i], ...) with f on registers for floats, on numbers for integers.
template <class T, class R, class F, class... In>
LM_FN void map_loop(int64_t n, F f, R* out, const In*... in) {
  if constexpr (kIsFloat<T>) {
    constexpr int kLanes = Simd<T>::kLanes;
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) f(Simd<T>::load(in + i)...).store(out + i);
    if (int rest = int(n - i)) store_part(f(load_part<T>(in + i, rest)...), out + i, rest);
  } else {
    for (int64_t i = 0; i < n; ++i) out[i] = R(f(in[i]...));
  }
}

// Integers of fewer than 32 bits are computed as int by C++; the result is cut back to T.
template <class T, bool kPredicate>
using Result = std::conditional_t<kPredicate, bool, T>;

// A formula without attributes has nothing to point at.
template <class Functor>
LM_FN Functor attributes(const void* functor) {
  if constexpr (std::is_empty_v<Functor>)
    return {};
  else
    return *static_cast<const Functor*>(functor);
}

template <class Functor, class T>
void unary_loop(int64_t n, const void* const* in, void* out, const void* functor) {
  const Functor f = attributes<Functor>(functor);
  using R = Result<T, Functor::kPredicate>;
  map_loop<T>(n, [&](auto x) LM_INLINE { return f.f(x); }, static_cast<R*>(out), static_cast<const T*>(in[0]));
}

template <class Functor, class T>
void binary_loop(int64_t n, const void* const* in, void* out, const void* functor) {
  const Functor f = attributes<Functor>(functor);
  using R = Result<T, Functor::kPredicate>;
  map_loop<T>(
      n, [&](auto a, auto b) LM_INLINE { return f.f(a, b); }, static_cast<R*>(out), static_cast<const T*>(in[0]),
      static_cast<const T*>(in[1]));
}

// loop<T>() for the integer type T of dtype, bool as uint8_t; null for a formula that is not defined on integers.
template <class Functor, class GetLoop>
LM_FN auto loop_on_integers(DType dtype, GetLoop loop) -> decltype(loop.template operator()<uint8_t>()) {
  if constexpr (Functor::kDomain != math::Domain::kFloat) {
    switch (dtype) {
      case DType::Bool:
      case DType::U8:
        return loop.template operator()<uint8_t>();
      case DType::I8:
        return loop.template operator()<int8_t>();
      case DType::I16:
        return loop.template operator()<int16_t>();
      case DType::I32:
        return loop.template operator()<int32_t>();
      case DType::I64:
        return loop.template operator()<int64_t>();
      default:
        break;
    }
  }
  return nullptr;
}

}  // namespace lamina::cpu::LM_ISA
