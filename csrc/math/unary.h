// Formulas of one operand: arithmetic, powers and logarithms, trigonometry, rounding, bits and tests.
// See functor.h for how to read and write one; activation functions are in activations.h. Next: binary.h.
#pragma once

#include "math/activations.h"

namespace lamina::math {

// clang-format off

// --- arithmetic ---
struct Neg {
  LM_ON(kSigned);
  template <class T> LM_FN static T f(T x) { return -x; }
  LM_FN static double df() { return -1; } };
struct Abs {
  LM_ON(kNumeric);
  template <class T> LM_FN static T f(T x) { return abs(x); }
  template <class T> LM_FN static T df_x(T x) { return sign(x); } };
struct Sign {
  LM_ON(kNumeric);
  template <class T> LM_FN static T f(T x) { return sign(x); }
  LM_FN static double df() { return 0; } };
struct Square {
  LM_ON(kNumeric);
  template <class T> LM_FN static T f(T x) { return x * x; }
  template <class T> LM_FN static T df_x(T x) { return x + x; } };
struct Reciprocal {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return T(1) / x; }
  template <class T> LM_FN static T df_y(T y) { return -(y * y); } };
struct Sqrt {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return sqrt(x); }
  template <class T> LM_FN static T df_y(T y) { return T(0.5) / y; } };
struct Rsqrt {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return rsqrt(x); }
  template <class T> LM_FN static T df_y(T y) { return T(-0.5) * (y * y * y); } };
struct Deg2Rad {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return x * T(kPi / 180); }
  LM_FN static double df() { return kPi / 180; } };
struct Rad2Deg {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return x * T(180 / kPi); }
  LM_FN static double df() { return 180 / kPi; } };
// An infinite replacement stands for the largest finite number of the type.
struct NanToNum {
  LM_ON(kNumeric);
  double nan, posinf, neginf;
  // Infinite replacements stand for this number, and not for the largest of the type computed in.
  LM_FN static double limited(double v, double largest) { return v == kInf ? largest : v == -kInf ? -largest : v; }
  LM_FN void limit(double m) { nan = limited(nan, m), posinf = limited(posinf, m), neginf = limited(neginf, m); }
  template <class T> LM_FN T f(T x) const {
    const T y = select(x != x, saturate<T>(nan), x);
    return select(y > greatest<T>(), finite<T>(posinf), select(y < -greatest<T>(), finite<T>(neginf), y)); }
  template <Integer T> LM_FN T f(T x) const { return x; }
  template <class T> LM_FN static T df_x(T x) { return select(abs(x - x) == T(0), T(1), T(0)); } };

// --- exponentials and logarithms ---
struct Exp {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return exp(x); }
  template <class T> LM_FN static T df_y(T y) { return y; } };
struct Exp2 {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return exp2(x); }
  template <class T> LM_FN static T df_y(T y) { return y * T(kLn2); } };
struct Expm1 {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return expm1(x); }
  template <class T> LM_FN static T df_y(T y) { return y + T(1); } };
struct Log {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return log(x); }
  template <class T> LM_FN static T df_x(T x) { return T(1) / x; } };
struct Log2 {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return log2(x); }
  template <class T> LM_FN static T df_x(T x) { return T(1 / kLn2) / x; } };
struct Log10 {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return log10(x); }
  template <class T> LM_FN static T df_x(T x) { return T(1 / kLn10) / x; } };
struct Log1p {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return log1p(x); }
  template <class T> LM_FN static T df_x(T x) { return T(1) / (x + T(1)); } };
// log(p / (1 - p)); with eps >= 0, p is first clamped to [eps, 1 - eps], and has no gradient outside.
struct Logit {
  LM_ON(kFloat);
  double eps;
  template <class T> LM_FN T f(T x) const {
    const T low = T(eps < 0 ? -kInf : eps), high = T(eps < 0 ? kInf : 1 - eps), y = select(x < low, low, x);
    const T p = select(y > high, high, y);
    return log(p / (T(1) - p)); }
  template <class T> LM_FN T df_x(T x) const {
    const auto inside = (x >= T(eps < 0 ? 0 : eps)) & (x <= T(eps < 0 ? 1 : 1 - eps));
    const T p = select(inside, x, T(0.5));
    return select(inside, T(1) / (p * (T(1) - p)), T(eps < 0 ? kNan : 0)); } };

// --- trigonometric and hyperbolic ---
struct Sin {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return sin(x); }
  template <class T> LM_FN static T df_x(T x) { return cos(x); } };
struct Cos {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return cos(x); }
  template <class T> LM_FN static T df_x(T x) { return -sin(x); } };
struct Tan {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return tan(x); }
  template <class T> LM_FN static T df_y(T y) { return y * y + T(1); } };
struct Asin {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return asin(x); }
  template <class T> LM_FN static T df_x(T x) { return rsqrt((T(1) - x) * (T(1) + x)); } };
struct Acos {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return acos(x); }
  template <class T> LM_FN static T df_x(T x) { return -rsqrt((T(1) - x) * (T(1) + x)); } };
struct Atan {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return atan(x); }
  template <class T> LM_FN static T df_x(T x) { return T(1) / (x * x + T(1)); } };
struct Sinh {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return sinh(x); }
  template <class T> LM_FN static T df_x(T x) { return cosh(x); } };
struct Cosh {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return cosh(x); }
  template <class T> LM_FN static T df_x(T x) { return sinh(x); } };
struct Tanh {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return tanh(x); }
  template <class T> LM_FN static T df_y(T y) { return T(1) - y * y; } };
struct Asinh {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return asinh(x); }
  template <class T> LM_FN static T df_x(T x) { return rsqrt(x * x + T(1)); } };
struct Acosh {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return acosh(x); }
  template <class T> LM_FN static T df_x(T x) { return rsqrt((x - T(1)) * (x + T(1))); } };
struct Atanh {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return atanh(x); }
  template <class T> LM_FN static T df_x(T x) { return T(1) / ((T(1) - x) * (T(1) + x)); } };
// sin(pi x) / (pi x). The derivative is a difference of near equals at 0, so a series takes over there.
struct Sinc {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) {
    const T z = T(kPi) * select(x == T(0), T(1), x);
    return select(x == T(0), T(1), sin(z) / z); }
  template <class T> LM_FN static T df_x(T x) {
    const T t = T(kPi) * x, s = t * t;
    const auto near = s < T(0.0625);
    const T z = select(near, T(1), t);
    const T series = t * ((((s * T(-1.0 / 3991680) + T(1.0 / 45360)) * s - T(1.0 / 840)) * s + T(1.0 / 30)) * s - T(1.0 / 3));
    return T(kPi) * select(near, series, (cos(z) - sin(z) / z) / z); } };

// --- error and gamma functions ---
// -x log(x), 0 at 0 and -inf below.
struct Entr {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) {
    return select(x > T(0), -(x * log(x)), select(x == T(0), T(0), select(x < T(0), T(-kInf), x))); }
  template <class T> LM_FN static T df_x(T x) { return T(-1) - log(x); } };
struct Erf {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return erf(x); }
  template <class T> LM_FN static T df_x(T x) { return T(k2_SqrtPi) * exp(-(x * x)); } };
struct Erfc {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return erfc(x); }
  template <class T> LM_FN static T df_x(T x) { return T(-k2_SqrtPi) * exp(-(x * x)); } };
struct Erfinv {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return erfinv(x); }
  template <class T> LM_FN static T df_y(T y) { return T(1 / k2_SqrtPi) * exp(y * y); } };
struct Lgamma {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return lgamma(x); }
  template <class T> LM_FN static T df_x(T x) { return digamma(x); } };
struct Digamma {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return digamma(x); }
  template <class T> LM_FN static T df_x(T x) { return polygamma(x, 1); } };
struct Polygamma {
  LM_ON(kFloat);
  double n;
  template <class T> LM_FN T f(T x) const { return polygamma(x, n); }
  template <class T> LM_FN T df_x(T x) const { return polygamma(x, n + 1); } };

// --- rounding ---
struct Floor {
  LM_ON(kNumeric);
  template <class T> LM_FN static T f(T x) { return floor(x); }
  LM_FN static double df() { return 0; } };
struct Ceil {
  LM_ON(kNumeric);
  template <class T> LM_FN static T f(T x) { return ceil(x); }
  LM_FN static double df() { return 0; } };
struct Round {
  LM_ON(kNumeric);
  template <class T> LM_FN static T f(T x) { return round(x); }
  LM_FN static double df() { return 0; } };
struct Trunc {
  LM_ON(kNumeric);
  template <class T> LM_FN static T f(T x) { return trunc(x); }
  LM_FN static double df() { return 0; } };
struct Frac {
  LM_ON(kNumeric);
  template <class T> LM_FN static T f(T x) { return x - trunc(x); }
  LM_FN static double df() { return 1; } };

// --- tests and bits ---
struct IsNan {
  LM_PREDICATE(kNumeric);
  template <class T> LM_FN static auto f(T x) { return x != x; } };
struct IsInf {
  LM_PREDICATE(kNumeric);
  template <Real T> LM_FN static auto f(T x) { return isinf(x); }
  template <Integer T> LM_FN static bool f(T) { return false; } };
struct IsFinite {
  LM_PREDICATE(kNumeric);
  template <Real T> LM_FN static auto f(T x) { return isfinite(x); }
  template <Integer T> LM_FN static bool f(T) { return true; } };
struct IsPosInf {
  LM_PREDICATE(kNumeric);
  template <Real T> LM_FN static auto f(T x) { return x == inf<T>(); }
  template <Integer T> LM_FN static bool f(T) { return false; } };
struct IsNegInf {
  LM_PREDICATE(kNumeric);
  template <Real T> LM_FN static auto f(T x) { return x == -inf<T>(); }
  template <Integer T> LM_FN static bool f(T) { return false; } };
struct SignBit {
  LM_PREDICATE(kNumeric);
  template <Real T> LM_FN static auto f(T x) { return signbit(x); }
  template <Integer T> LM_FN static bool f(T x) { return x < T(0); } };
struct LogicalNot {
  LM_PREDICATE(kNumeric);
  template <class T> LM_FN static auto f(T x) { return x == T(0); } };
// Of bool: the operator calls logical_not, since bool reaches a kernel as a byte.
struct BitwiseNot {
  LM_ON(kIntegral);
  template <class T> LM_FN static T f(T x) { return ~x; } };

// clang-format on

}  // namespace lamina::math
