// erf, erfc, erfinv, lgamma, digamma, polygamma: the functions of statistics.
// The one idea: erf and erfc are float polynomials around one exp; the rarer ones are computed in double per lane, from
// the C library where it has them and from asymptotic series where it has not. Next: unary.h.
#pragma once

#include "math/trig.h"

namespace lamina::math {

LM_LIBM(erf)
LM_LIBM(erfc)

#if !LM_CUDA

// Below 1 an odd polynomial; from there to 4, where float erf is 1, 1 - e^P(a) with P = log(erfc).
template <F32 T>
LM_FN T erf(T x) {
  const T a = abs(x), s = x * x, c = at_most(a, 4.f);
  const T small = poly(s, 7.80691e-05f, -7.9978537e-04f, 5.187162e-03f, -2.6853347e-02f, 1.1283579e-01f,
                       -3.7612626e-01f, 1.2837917e-01f) *
                      a +
                  a;
  const T large = T(1) - exp(poly(c, 1.8760361e-04f, -2.9601243e-03f, 2.1889767e-02f, -1.0321862e-01f, -6.380116e-01f,
                                  -1.1271721e+00f, -3.2044668e-04f));
  return copysign(select(a < T(1), small, large), x);
}
// erfc(a) = e^(-a^2) P(q) / (a + 2), q = (a - 2) / (a + 2); 12 bits of a squared are exact, the rest is a correction,
// because an error of a^2 = 100 in the last bit would be an error of 60 bits in e^(-a^2).
template <F32 T>
LM_FN T erfc(T x) {
  const T a = at_most(abs(x), 10.5f);
  const T hi = from_bits(bits(a) & IntOf<T>(-4096)), lo = (a - hi) * (a + hi);
  const T d = T(1) / (a + T(2));
  const T p = poly((a - T(2)) * d, -3.919731e-05f, -5.1476393e-04f, -7.295774e-04f, 3.027356e-03f, 6.4336895e-03f,
                   -2.1497475e-02f, -3.6435183e-02f, 2.7947095e-01f, -6.8716097e-01f, 1.0215827e+00f);
  const T y = exp_inside(-(hi * hi), 0, -lo) * (p * d);
  return select(x < T(0), T(2) - y, y);
}

// The normal distribution function. log2 of the tail beyond |x| is a polynomial whose relative error is 1e-7 in the
// middle and grows where the tail itself no longer counts against 1: half the work of erfc.
template <F32 T>
LM_FN T normal_cdf(T x) {
  const T log2_tail = poly(abs(x), -1.8232645e-08f, 6.008071e-07f, -8.2839568e-06f, 6.099602e-05f, -2.2611579e-04f,
                           -1.1337829e-04f, 7.0902558e-03f, -5.2542885e-02f, -4.5918523e-01f, -1.1511089f, -1.f);
  const T y = at_least(log2_tail, -160.f);  // zero
  const Nearest<T> e(y);
  const T tail = scale(exp2_poly(y - e.k), e);
  return select(x < T(0), tail, T(1) - tail);
}
template <F64 T>
#else
template <Real T>
#endif
LM_FN T normal_cdf(T x) {
  return T(0.5) * erfc(x * T(-kSqrt1_2));
}

LM_FN double lgamma_number(double x) {
#if LM_CUDA
  return ::lgamma(x);
#else
  int sign;  // std::lgamma writes the sign to a global: a data race between threads
  return ::lgamma_r(x, &sign);
#endif
}

// Recurrence up to x >= 8, then the asymptotic series in 1/x^2; reflection for x < 0. -inf at 0 as in PyTorch.
LM_FN double digamma_number(double x) {
  if (x == 0) return copysign(__builtin_inf(), -x);
  double y = 0;
  if (x < 0) {
    if (x == ::floor(x)) return __builtin_nan("");
    y = -kPi / ::tan(kPi * (x - ::floor(x)));
    x = 1 - x;
  }
  for (; x < 8; x += 1) y -= 1 / x;
  const double s = 1 / (x * x);
  return y + ::log(x) - 0.5 / x -
         s * poly(s, 1.0 / 12, -691.0 / 32760, 1.0 / 132, -1.0 / 240, 1.0 / 252, -1.0 / 120, 1.0 / 12);
}

// x^-n for a whole n >= 1; polygamma needs small ones, where this is quicker and more exact than pow.
LM_FN double inverse_power(double x, double n) {
  const double r = 1 / x;
  double y = r;
  for (double i = 1; i < n; i += 1) y *= r;
  return y;
}
// zeta(s, q) = sum (q + k)^-s for whole s >= 2 and q > 0, by Euler and Maclaurin: 9 terms, the integral, Bernoulli
// corrections.
LM_FN double hurwitz_zeta(double s, double q) {
  if (q == __builtin_inf()) return 0;
  double sum = 0;
  for (double k = 0; k < 9; k += 1) sum += inverse_power(q + k, s);
  const double a = q + 9, p = inverse_power(a, s);
  sum += p * a / (s - 1) + 0.5 * p;
  // B_2j / (2j)! and s (s + 1) ... (s + 2j - 2) a^(-s - 2j + 1)
  constexpr double kBernoulli[] = {
      1.0 / 12, -1.0 / 720, 1.0 / 30240, -1.0 / 1209600, 1.0 / 47900160, -691.0 / 1307674368000.0, 1.0 / 74724249600.0};
  double term = s * p / a;
  for (int j = 0; j < 7; ++j) {
    sum += kBernoulli[j] * term;
    term *= (s + 2 * j + 1) * (s + 2 * j + 2) / (a * a);
  }
  return sum;
}
// The n-th derivative of digamma, for whole n: (-1)^(n+1) n! zeta(n + 1, x). Below 0 the terms left of the last pole
// are a difference of two zetas of their distances, so that no x takes long.
LM_FN double polygamma_number(double n, double x) {
  if (n == 0) return digamma_number(x);
  if (!(n > 0 && n <= 1000) || n != ::floor(n)) return __builtin_nan("");  // n! is infinite from 171 on
  double sign = -1, factorial = 1;
  for (double i = 1; i <= n; i += 1) sign = -sign, factorial *= i;
  if (x > 0) return sign * factorial * hurwitz_zeta(n + 1, x);
  const double f = x - ::floor(x);
  if (f == 0) return __builtin_inf();
  return factorial * (sign * hurwitz_zeta(n + 1, f) + hurwitz_zeta(n + 1, 1 - f) - hurwitz_zeta(n + 1, 1 - x));
}

// erfinv(y) = y P(w), w = -log(1 - y^2), with one polynomial for w < 5 and one in sqrt(w) beyond (the approach of Giles
// 2010, "Approximating the erfinv function"; the fits are our own).
template <class T>
LM_FN T erfinv_center(T w) {
  return poly(w - T(2.5), 2.5656261e-08f, 3.3872377e-07f, -3.497524e-06f, -4.346622e-06f, 2.185012e-04f,
              -1.2538483e-03f, -4.1776164e-03f, 2.4664082e-01f, 1.5014094e+00f);
}
#if !LM_CUDA
template <F32 T>
LM_FN T erfinv(T y) {
  const T w = -log((T(1) - y) * (T(1) + y));
  const T tail = poly(sqrt(w) - T(3), 1.0039241e-04f, -2.9527684e-04f, -3.2589905e-05f, 1.4658533e-03f, -3.6110312e-03f,
                      5.6948396e-03f, -7.634222e-03f, 9.444315e-03f, 1.0016748e+00f, 2.8329768e+00f);
  return select(abs(y) == T(1), y * inf<T>(), y * select(w < T(5), erfinv_center(w), tail));
}
#endif
// In double the polynomials (error 1e-6) are the start of one step of Halley's method on erfc, which keeps the tails.
LM_FN double erfinv_number(double y) {
  const double a = __builtin_fabs(y);
  if (!(a > 0 && a < 1)) return a == 1 ? y * __builtin_inf() : a == 0 ? y : __builtin_nan("");
  const double w = -::log((1 - a) * (1 + a));
  const double tail = poly(::sqrt(w) - 3, -1.0746062e-06, 2.880119e-05, -2.6270794e-04, 1.2056356e-03, -3.242118e-03,
                           5.7100286e-03, -7.782297e-03, 9.458162e-03, 1.0016912e+00, 2.8329763e+00);
  const double x = a * (w < 5 ? erfinv_center(w) : tail);
  const double error = a < 0.5 ? ::erf(x) - a : (1 - a) - ::erfc(x), step = error / (k2_SqrtPi * ::exp(-x * x));
  return __builtin_copysign(x - step / (1 + x * step), y);
}

#define LM_PER_LANE(name, Types)                                                                \
  template <Types T>                                                                            \
  LM_FN T name(T x) {                                                                           \
    return map([](auto v) LM_INLINE { return static_cast<decltype(v)>(name##_number(v)); }, x); \
  }
LM_PER_LANE(lgamma, Real)
LM_PER_LANE(digamma, Real)
#if LM_CUDA
LM_PER_LANE(erfinv, Real)
#else
LM_PER_LANE(erfinv, F64)
#endif
#undef LM_PER_LANE
template <Real T>
LM_FN T polygamma(T x, double n) {
  return map([n](auto v) LM_INLINE { return static_cast<decltype(v)>(polygamma_number(n, v)); }, x);
}

}  // namespace lamina::math
