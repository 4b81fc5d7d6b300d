// Trigonometric and hyperbolic functions and their inverses, in float polynomials; double from the C library.
// The one idea: reduce to a small interval, one minimax polynomial there, and selects put the quadrant, the branch and
// the sign back. Odd functions work on |x| and copy the sign, which keeps -0. Next: special.h.
#pragma once

#include "math/exp_log.h"

namespace lamina::math {

LM_LIBM(sin)
LM_LIBM(cos)
LM_LIBM(tan)
LM_LIBM(asin)
LM_LIBM(acos)
LM_LIBM(atan)
LM_LIBM2(atan2)
LM_LIBM(sinh)
LM_LIBM(cosh)
LM_LIBM(tanh)
LM_LIBM(asinh)
LM_LIBM(acosh)
LM_LIBM(atanh)

#if !LM_CUDA

// x = r + n pi/2, |r| <= pi/4 (Cody and Waite), subtracted in double: the first part of pi/2 has 33 bits, so that its
// product with n is exact without FMA. Beyond kTrigMax n is no longer exact and the C library takes over, lane by lane.
inline constexpr float kTrigMax = 100000.f;
struct SubtractQuadrants {
  template <class D>
  LM_FN D operator()(D x, D n) const {
    return (x - n * D(1.57079632673412561417)) - n * D(6.07710050650619224932e-11);
  }
};
template <F32 T>
struct Quadrant {
  T r;
  IntOf<T> n;
  LM_FN explicit Quadrant(T x) {
    const Nearest<T> q(x * T(0.636619772f));
    n = q.n;
    r = in_double(SubtractQuadrants(), x, q.k);
  }
};
// y with the lanes of large x replaced by fn(x). Out of line, in every file for itself, because it is rarely needed.
template <float (*fn)(float)>
[[gnu::noinline, gnu::cold]] static void replace_far(const float* x, float* y, int n) {
  for (int i = 0; i < n; ++i)
    if (__builtin_fabsf(x[i]) > kTrigMax) y[i] = fn(x[i]);
}
template <float (*fn)(float), F32 T>
LM_FN T far_lanes(T x, T y) {
  constexpr int kLanes = sizeof(T) / sizeof(float);
  float from[kLanes], to[kLanes];
  memcpy(from, &x, sizeof(T));
  memcpy(to, &y, sizeof(T));
  replace_far<fn>(from, to, kLanes);
  memcpy(&y, to, sizeof(T));
  return y;
}
// sin(r), cos(r) for |r| <= pi/4.
template <F32 T>
LM_FN T sin_poly(T r, T s) {
  return poly(s, -1.9507967e-04f, 8.332106e-03f, -1.6666654e-01f) * (s * r) + r;
}
template <F32 T>
LM_FN T cos_poly(T s) {
  return poly(s, 2.4430088e-05f, -1.3887298e-03f, 4.1666646e-02f) * (s * s) - T(0.5f) * s + T(1);
}
template <F32 T>
LM_FN T sin_quadrant(T r, IntOf<T> n) {
  const T s = r * r;
  const T y = select((n & IntOf<T>(1)) != IntOf<T>(0), cos_poly(s), sin_poly(r, s));
  return from_bits(bits(y) ^ ((n & IntOf<T>(2)) << 30));
}
template <F32 T>
LM_FN T sin(T x) {
  const Quadrant<T> q(x);
  const T y = select(x == T(0), x, sin_quadrant(q.r, q.n));
  return any(abs(x) > T(kTrigMax)) ? far_lanes<::sinf>(x, y) : y;
}
template <F32 T>
LM_FN T cos(T x) {
  const Quadrant<T> q(x);
  const T y = sin_quadrant(q.r, q.n + IntOf<T>(1));
  return any(abs(x) > T(kTrigMax)) ? far_lanes<::cosf>(x, y) : y;
}
template <F32 T>
LM_FN T tan(T x) {
  const Quadrant<T> q(x);
  const T s = q.r * q.r;
  const T t = poly(s, 4.4814222e-03f, -1.18533964e-04f, 1.0995406e-02f, 2.1222645e-02f, 5.4070976e-02f, 1.3332571e-01f,
                   3.3333352e-01f) *
                  (s * q.r) +
              q.r;
  const T y = select(x == T(0), x, select((q.n & IntOf<T>(1)) != IntOf<T>(0), T(-1) / t, t));
  return any(abs(x) > T(kTrigMax)) ? far_lanes<::tanf>(x, y) : y;
}

// asin(r) for 0 <= r <= 1/2, s = r^2.
template <F32 T>
LM_FN T asin_poly(T r, T s) {
  return poly(s, 4.2165045e-02f, 2.4181485e-02f, 4.546965e-02f, 7.495307e-02f, 1.6666752e-01f) * (s * r) + r;
}
inline constexpr float kHalfPi = 1.57079637f, kHalfPiLow = -4.37113883e-8f;
// Beyond 1/2: asin(a) = pi/2 - 2 asin(sqrt((1 - a) / 2)).
template <F32 T>
LM_FN T asin(T x) {
  const T a = abs(x);
  const auto big = a > T(0.5f);
  const T s = select(big, T(0.5f) - T(0.5f) * a, a * a);
  const T p = asin_poly(select(big, sqrt(s), a), s);
  return copysign(select(big, T(kHalfPi) - (T(2) * p - T(kHalfPiLow)), p), x);
}
template <F32 T>
LM_FN T acos(T x) {
  const T a = abs(x);
  const auto big = a > T(0.5f);
  const T s = select(big, T(0.5f) - T(0.5f) * a, a * a);
  const T p = asin_poly(select(big, sqrt(s), a), s), q = T(2) * p;
  const T far = select(x < T(0), T(2 * kHalfPi) - (q - T(2 * kHalfPiLow)), q);
  return select(big, far, T(kHalfPi) - (copysign(p, x) - T(kHalfPiLow)));
}

// atan(r) for 0 <= r <= 1.
template <F32 T>
LM_FN T atan_poly(T r) {
  const T s = r * r;
  return poly(s, -1.782664e-03f, 1.0868175e-02f, -3.1096341e-02f, 5.7880994e-02f, -8.399294e-02f, 1.0950879e-01f,
              -1.4264016e-01f, 1.999853e-01f, -3.33333e-01f) *
             (s * r) +
         r;
}
template <F32 T>
LM_FN T atan(T x) {
  const T a = abs(x);
  const auto big = a > T(1);
  const T p = atan_poly(select(big, T(1) / a, a));
  return copysign(select(big, T(kHalfPi) - (p - T(kHalfPiLow)), p), x);
}
template <F32 T>
LM_FN T atan2(T y, T x) {
  const T ay = abs(y), ax = abs(x);
  const auto steep = ay > ax;
  const T high = select(steep, ay, ax), low = select(steep, ax, ay);
  // 0/0 is angle 0 and inf/inf is 45 degrees here.
  T p = atan_poly(select(low == high, select(low == T(0), T(0), T(1)), low / high));
  p = select(steep, T(kHalfPi) - (p - T(kHalfPiLow)), p);
  p = select(signbit(x), T(2 * kHalfPi) - (p - T(2 * kHalfPiLow)), p);
  return select(isnan(x) | isnan(y), x + y, copysign(p, y));
}

template <F32 T>
LM_FN T sinh(T x) {
  const T a = abs(x), s = x * x, half = exp_shifted(a, -1);
  const T small = poly(s, 2.7822132e-06f, 1.9842896e-04f, 8.3333105e-03f, 1.6666667e-01f) * (s * a) + a;
  return copysign(select(a < T(1), small, half - T(0.25f) / half), x);
}
template <F32 T>
LM_FN T cosh(T x) {
  const T half = exp_shifted(abs(x), -1);
  return half + T(0.25f) / half;
}
template <F32 T>
LM_FN T tanh(T x) {
  const T a = abs(x), s = x * x, e = exp(a * T(-2));
  const T small =
      poly(s, -5.696249e-03f, 2.0630509e-02f, -5.3736847e-02f, 1.3331406e-01f, -3.333328e-01f) * (s * a) + a;
  return copysign(select(a < T(0.625f), small, (T(1) - e) / (T(1) + e)), x);
}

// Beyond 2^30 the square would overflow and x alone is exact enough: asinh(x) = log(2x).
template <F32 T>
LM_FN T asinh(T x) {
  const T a = abs(x), s = a * a;
  const auto big = a > T(1073741824.f);
  const T y = log1p(select(big, a, a + s / (T(1) + sqrt(s + T(1)))));
  return copysign(select(big, y + T(0.693147181f), y), x);
}
template <F32 T>
LM_FN T acosh(T x) {
  const T t = x - T(1);
  const auto big = x > T(1073741824.f);
  const T y = log1p(select(big, x, t + sqrt(T(2) * t + t * t)));
  return select(x < T(1), nan<T>(), select(big, y + T(0.693147181f), y));
}
template <F32 T>
LM_FN T atanh(T x) {
  const T a = abs(x);
  return copysign(T(0.5f) * log1p(T(2) * a / (T(1) - a)), x);
}

#endif  // !LM_CUDA

}  // namespace lamina::math
