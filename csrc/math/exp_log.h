// Exponentials, logarithms and powers: float polynomials, double from the C library.
// The one idea: split off the power of two in the exponent bits, then a minimax polynomial on the short rest; every
// special value is a select, so all lanes take one path. Coefficients: Remez fits of our own in 140 bits. Next: trig.h.
#pragma once

#include "math/basic.h"

namespace lamina::math {

LM_LIBM(exp)
LM_LIBM(exp2)
LM_LIBM(expm1)
LM_LIBM(log)
LM_LIBM(log2)
LM_LIBM(log10)
LM_LIBM(log1p)
LM_LIBM2(pow)

#if !LM_CUDA

// The nearest whole number of x (|x| < 2^22) as float and as integer: 1.5 * 2^23 pushes the fraction out.
template <F32 T>
struct Nearest {
  T k;
  IntOf<T> n;
  LM_FN explicit Nearest(T x) {
    const T z = x + T(12582912.f);
    k = z - T(12582912.f);
    n = bits(z) - IntOf<T>(0x4B400000);
  }
};

// p * 2^(e + shift); the result may overflow or become denormal. In two steps for -252 <= e + shift <= 254, unless the
// machine has an instruction for it, which gives the same bits.
template <F32 T>
LM_FN T scale(T p, const Nearest<T>& e, int shift = 0) {
  if constexpr (requires { times_power_of_two(p, e.k); }) {
    return times_power_of_two(p, shift ? e.k + T(float(shift)) : e.k);
  } else {
    const IntOf<T> n = shift ? e.n + IntOf<T>(shift) : e.n, half = n >> 1;
    return p * from_bits((half + IntOf<T>(127)) << 23) * from_bits((n - half + IntOf<T>(127)) << 23);
  }
}

// e^r for |r| <= ln(2)/2, error 4e-9.
template <F32 T>
LM_FN T exp_poly(T r) {
  return poly(r, 1.3854726e-03f, 8.370893e-03f, 4.1667905e-02f, 1.66665e-01f, 4.9999994e-01f) * (r * r) + r + T(1);
}

// 2^r for |r| <= 1/2, error 7.5e-8: two operations less than exp_poly(r ln(2)), where that is enough.
template <F32 T>
LM_FN T exp2_poly(T r) {
  return poly(r, 1.3276472e-03f, 9.6755413e-03f, 5.5507133e-02f, 2.402212e-01f, 6.9314697e-01f, 1.0000001f);
}

// ln(2) in two parts; the first has 15 bits, so its product with an exponent is exact without FMA.
inline constexpr float kLn2Hi = 0.693145751953125f, kLn2Lo = 1.42860682e-6f;

template <F32 T>
LM_FN T exp(T x) {
  x = at_least(at_most(x, 89.f), -105.f);
  const Nearest<T> e(x * T(1.44269504f));
  return scale(exp_poly((x - e.k * T(kLn2Hi)) - e.k * T(kLn2Lo)), e);
}
// 2^shift e^(x + low) for -120 <= x <= 91: shift avoids an overflow halfway, low carries what x could not hold.
template <F32 T>
LM_FN T exp_inside(T x, int shift, T low = T(0)) {
  const Nearest<T> e(x * T(1.44269504f));
  const T r = ((x - e.k * T(kLn2Hi)) - e.k * T(kLn2Lo)) + low;
  return scale(exp_poly(r), e, shift);
}
template <F32 T>
LM_FN T exp_shifted(T x, int shift, T low = T(0)) {
  return exp_inside(at_least(at_most(x, 91.f), -120.f), shift, low);
}
template <F32 T>
LM_FN T exp2(T x) {
  x = at_least(at_most(x, 130.f), -152.f);
  const Nearest<T> e(x);
  return scale(exp_poly((x - e.k) * T(0.693147181f)), e);
}
template <F32 T>
LM_FN T expm1(T x) {
  const T y = at_least(at_most(x, 88.9f), -40.f);
  const Nearest<T> e(y * T(1.44269504f));
  const T r = (y - e.k * T(kLn2Hi)) - e.k * T(kLn2Lo);
  const T p = poly(r, 1.4868114e-04f, 1.3931935e-03f, 8.342051e-03f, 4.16665e-02f, 1.6666633e-01f, 0.5f) * (r * r) + r;
  const T half = from_bits((e.n + IntOf<T>(126)) << 23);  // 2^n / 2, since 2^128 is not a float
  return select(x == T(0), x, (half * p + (half - T(0.5f))) * T(2));
}

// x = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)); x > 0 and not denormal.
template <F32 T>
struct LogParts {
  IntOf<T> n;
  T f;
  LM_FN explicit LogParts(T x) {
    const IntOf<T> i = bits(x);
    n = (i - IntOf<T>(0x3f3504f3)) >> 23;
    f = from_bits(i - (n << 23)) - T(1);
  }
};
// log(1 + f) - f, error 1e-8 of log(1 + f).
template <F32 T>
LM_FN T log_poly(T f) {
  const T s = f * f;
  return poly(f, -7.634065e-02f, 1.2800375e-01f, -1.317835e-01f, 1.4197779e-01f, -1.6621213e-01f, 2.0001322e-01f,
              -2.500088e-01f, 3.333333e-01f) *
             f * s -
         T(0.5f) * s;
}
// y where 0 < x < inf, else -inf, inf or nan as every logarithm has it.
template <F32 T>
LM_FN T log_special(T x, T y) {
  return select((x > T(0)) & (x < inf<T>()), y, select(x == T(0), -inf<T>(), select(x > T(0), x, nan<T>())));
}
// e * c_hi + (f * a_hi + (f * a_lo + q * a + e * c_lo)): log in the base where log(2) = c and log(e) = a.
template <F32 T>
LM_FN T log_base(T x, float c_hi, float c_lo, float a_hi, float a_lo) {
  const auto tiny = x < T(1.17549435e-38f);
  const LogParts<T> p(select(tiny, x * T(33554432.f), x));
  const T e = to_float(p.n) - select(tiny, T(25), T(0));
  const T low = log_poly(p.f) * T(a_hi + a_lo) + (p.f * T(a_lo) + e * T(c_lo));
  return log_special(x, (low + p.f * T(a_hi)) + e * T(c_hi));
}
template <F32 T>
LM_FN T log(T x) {
  return log_base(x, kLn2Hi, kLn2Lo, 1.f, 0.f);
}
template <F32 T>
LM_FN T log2(T x) {
  return log_base(x, 1.f, 0.f, 1.f, 0.44269504f);
}
template <F32 T>
LM_FN T log10(T x) {
  return log_base(x, 0.301025390625f, 4.60503898e-6f, 0.43359375f, 7.00731903e-4f);
}
template <F32 T>
LM_FN T log1p(T x) {
  const T u = T(1) + x;
  const LogParts<T> p(u);
  // What 1 + x lost, in the scale of f; beyond 2^30 it no longer matters and its scale would not be a float.
  const T lost = select(x > T(1), T(1) - (u - x), x - (u - T(1)));
  const IntOf<T> n = select(p.n < IntOf<T>(30), p.n, IntOf<T>(30));
  const T f = p.f + lost * from_bits((IntOf<T>(127) - n) << 23), e = to_float(p.n);
  const T y = (log_poly(f) + e * T(kLn2Lo)) + f + e * T(kLn2Hi);
  return select(x == T(0), x, log_special(u, y));
}

// |x|^y for floats x and y held in doubles: y log2|x| needs 8 bits more than a float has.
template <F64 D>
LM_FN D pow_core(D x, D y) {
  const D a = abs(x);
  const IntOf<D> i = bits(a), n = (i - IntOf<D>(0x3fe6a09e667f3bcd)) >> 52;
  const D m = from_bits(i - (n << 52)), s = (m - D(1)) / (m + D(1)), t = s * s;
  // log2(m) = 2/ln(2) atanh(s); n is turned into a double by the exponent trick (no AVX2 instruction does it).
  const D e = from_bits(n + IntOf<D>(0x4338000000000000)) - D(6755399441055744.0);
  const D l =
      poly(t, 0.09792046350353668, 0.11088098077567034, 0.1428605444718459, 0.19999997812588294, 0.3333333333789427) *
          t * s +
      s;
  D p = l * D(2.885390081777926814) + e;
  p = select(a == D(0), -inf<D>(), select(a == inf<D>(), a, p));
  p = at_least(at_most(p * y, 300.0), -300.0);
  const D z = p + D(6755399441055744.0), r = p - (z - D(6755399441055744.0));
  const D q = poly(r, 1.5201553841412604e-05, 0.00015469815640699815, 0.00133339282125682, 0.00961802562602891,
                   0.055504103413603706, 0.24022651210201834, 0.6931471807337743, 0.9999999999604654);
  return q * from_bits((bits(z) - IntOf<D>(0x4338000000000000) + IntOf<D>(1023)) << 52);
}
struct PowCore {
  template <class D>
  LM_FN D operator()(D x, D y) const {
    return pow_core(x, y);
  }
};
template <F32 T>
LM_FN T pow(T x, T y) {
  const T half = y * T(0.5f), size = in_double(PowCore(), x, y);
  const auto whole = trunc(y) == y, odd = whole & (trunc(half) != half);
  T r = select(signbit(x) & odd, -size, size);
  r = select((x < T(0)) & isfinite(x) & !whole, nan<T>(), r);
  r = select(isnan(x) | isnan(y), x + y, r);
  return select((x == T(1)) | (y == T(0)) | ((x == T(-1)) & isinf(y)), T(1), r);
}

#endif  // !LM_CUDA

// e^x for x <= 0.
template <Real T>
LM_FN T exp_below_zero(T x) {
#if !LM_CUDA
  if constexpr (F32<T>)
    return exp_inside(at_least(x, -105.f), 0);
  else
#endif
    return exp(x);
}

// 1 / (1 + e^-x), from e^-|x| so that neither end overflows and the small end keeps its digits.
template <Real T>
LM_FN T sigmoid(T x) {
  const T e = exp_below_zero(-abs(x));
  return select(x < T(0), e, T(1)) / (T(1) + e);
}
// Products of equal factors; b < 0 gives the truncated 1 / a^|b| (0, or +-1 for a = +-1).
template <Integer T>
LM_FN T pow(T a, T b) {
  if (b < T(0)) return static_cast<T>(a == T(1) ? 1 : a == T(-1) ? (b % 2 ? -1 : 1) : 0);
  uint64_t base = static_cast<uint64_t>(a), y = 1;
  for (uint64_t e = static_cast<uint64_t>(b); e; e >>= 1, base *= base)
    if (e & 1) y *= base;
  return static_cast<T>(y);
}

}  // namespace lamina::math
