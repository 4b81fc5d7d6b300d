// fmod, remainder, floor_divide, hypot and nextafter for numbers, integers and vectors.
// The one idea: integers never trap: a divisor of 0 gives 0 (the operator raises before), and -1 negates, since the
// machine's division of the least integer by -1 does. Next: special.h.
#pragma once

#include "math/basic.h"

namespace lamina::math {

// The sign of a, as C's fmod.
#if LM_CUDA
LM_FN float fmod(float a, float b) { return ::fmodf(a, b); }
LM_FN double fmod(double a, double b) { return ::fmod(a, b); }
#else
LM_FN double fmod_number(double a, double b) { return ::fmod(a, b); }
LM_FN float fmod_number(float a, float b) { return ::fmodf(a, b); }
template <F64 T>
LM_FN T fmod(T a, T b) {
  return map([](double v, double w) LM_INLINE { return fmod_number(v, w); }, a, b);
}
// Exact in double while the quotient has at most 28 bits: quotient * b then fits 53 bits. A quotient rounded up to the
// next whole number shows as a remainder of the wrong sign.
template <class D>
LM_FN D fmod_short(D a, D b) {
  const D x = abs(a), y = abs(b), r = x - trunc(x / y) * y;
  return copysign(select((y == inf<D>()) & (x < y), x, select(r < D(0), r + y, r)), a);
}
struct FmodShort {
  template <class D>
  LM_FN D operator()(D a, D b) const {
    return fmod_short(a, b);
  }
};
template <F32 T>
LM_FN T fmod(T a, T b) {
  const auto fast = (abs(a / b) < T(268435456.f)) | (b == T(0)) | (abs(a) == inf<T>());
  const T y = in_double(FmodShort(), a, b);
  if (!any(!fast)) return y;
  return map([](float v, float w) LM_INLINE { return fmod_number(v, w); }, a, b);
}
#endif
template <Integer T>
LM_FN bool is_minus_one(T x) {
  return T(-1) < T(0) && x == T(-1);  // 255 of uint8 is not
}
template <Integer T>
LM_FN T fmod(T a, T b) {
  return static_cast<T>(b == T(0) || is_minus_one(b) ? T(0) : a % b);
}

// The sign of b, as Python's %.
template <Real T>
LM_FN T remainder(T a, T b) {
  const T r = fmod(a, b);
  return select((r != T(0)) & ((r < T(0)) ^ (b < T(0))), r + b, r);
}
template <Integer T>
LM_FN T remainder(T a, T b) {
  const T r = fmod(a, b);
  return static_cast<T>(r != T(0) && (r < T(0)) != (b < T(0)) ? r + b : r);
}

// Python's //: by way of fmod, so that it is floor(a / b) of the exact quotient.
template <Real T>
LM_FN T floor_divide(T a, T b) {
  const T r = fmod(a, b), borrow = select((r != T(0)) & ((r < T(0)) ^ (b < T(0))), T(1), T(0));
  const T q = (a - r) / b - borrow, whole = floor(q);
  const T y = select(q - whole > T(0.5), whole + T(1), whole);
  return select(b == T(0), a / b, select(q == T(0), copysign(T(0), a / b), y));
}
template <Integer T>
LM_FN T floor_divide(T a, T b) {
  if (b == T(0)) return T(0);
  if (is_minus_one(b)) return static_cast<T>(T(0) - a);
  return static_cast<T>(a / b - (a % b != 0 && (a < T(0)) != (b < T(0))));
}

// sqrt(a^2 + b^2): the squares of floats neither overflow in double nor lose a bit.
#if LM_CUDA
LM_FN float hypot(float a, float b) { return ::hypotf(a, b); }
LM_FN double hypot(double a, double b) { return ::hypot(a, b); }
LM_FN float nextafter(float a, float b) { return ::nextafterf(a, b); }
LM_FN double nextafter(double a, double b) { return ::nextafter(a, b); }
#else
template <F64 T>
LM_FN T hypot(T a, T b) {
  return map([](double v, double w) LM_INLINE { return ::hypot(v, w); }, a, b);
}
struct SquareRootOfSquares {
  template <class D>
  LM_FN D operator()(D a, D b) const {
    return sqrt(a * a + b * b);
  }
};
template <F32 T>
LM_FN T hypot(T a, T b) {
  return select(isinf(a) | isinf(b), inf<T>(), in_double(SquareRootOfSquares(), a, b));
}
LM_FN float nextafter_number(float a, float b) { return ::nextafterf(a, b); }
LM_FN double nextafter_number(double a, double b) { return ::nextafter(a, b); }
template <Real T>
LM_FN T nextafter(T a, T b) {
  return map([](auto v, auto w) LM_INLINE { return nextafter_number(v, w); }, a, b);
}
#endif

}  // namespace lamina::math
