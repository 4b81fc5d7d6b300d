// Formulas of two operands: arithmetic, division with remainder, powers, extrema, comparison, logic and bits.
// See functor.h for how to read and write one. Integers arrive as themselves and wrap around.
#pragma once

#include "math/functor.h"

namespace lamina::math {

// clang-format off

// --- arithmetic ---
struct Add {
  LM_ON(kNumeric);
  template <class T> LM_FN static T f(T a, T b) { return a + b; }
  LM_FN static double da() { return 1; }
  LM_FN static double db() { return 1; } };
struct Sub {
  LM_ON(kSigned);
  template <class T> LM_FN static T f(T a, T b) { return a - b; }
  LM_FN static double da() { return 1; }
  LM_FN static double db() { return -1; } };
struct Mul {
  LM_ON(kNumeric);
  template <class T> LM_FN static T f(T a, T b) { return a * b; }
  template <class T> LM_FN static T da_b(T b) { return b; }
  template <class T> LM_FN static T db_a(T a) { return a; } };
struct Div {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T a, T b) { return a / b; }
  template <class T> LM_FN static T da_b(T b) { return T(1) / b; }
  template <class T> LM_FN static T db(T a, T b) { return -((a / b) / b); } };
struct FloorDivide {
  LM_ON(kNumeric);
  template <class T> LM_FN static T f(T a, T b) { return floor_divide(a, b); }
  LM_FN static double da() { return 0; }
  LM_FN static double db() { return 0; } };
struct Remainder {
  LM_ON(kNumeric);
  template <class T> LM_FN static T f(T a, T b) { return remainder(a, b); }
  LM_FN static double da() { return 1; }
  template <class T> LM_FN static T db(T a, T b) { return -floor_divide(a, b); } };
struct Fmod {
  LM_ON(kNumeric);
  template <class T> LM_FN static T f(T a, T b) { return fmod(a, b); }
  LM_FN static double da() { return 1; }
  template <class T> LM_FN static T db(T a, T b) { return -trunc(a / b); } };

// --- powers and logarithms ---
// a^0 = 1 with derivative 0, whatever a is; a log of what is not used must not be infinite.
struct Pow {
  LM_ON(kNumeric);
  template <class T> LM_FN static T f(T a, T b) { return pow(a, b); }
  template <class T> LM_FN static T da(T a, T b) {
    return b * pow(a, select(b == T(0), T(0), b - T(1))); }
  template <class T> LM_FN static T db(T a, T b) {
    const auto flat = (a == T(0)) & (b >= T(0));
    return select(flat, T(0), pow(a, b) * log(select(flat, T(1), a))); } };
struct Ldexp {
  LM_ON(kFloat);
  // 0 and infinity stay themselves where 2^b leaves the range.
  template <class T> LM_FN static T f(T a, T b) {
    return select(isfinite(b) & ((a == T(0)) | isinf(a)), a, a * exp2(b)); }
  template <class T> LM_FN static T da_b(T b) { return exp2(b); }
  template <class T> LM_FN static T db(T a, T b) { return a * exp2(b) * T(kLn2); } };
// a log(b), and 0 where a is 0, unless b is NaN.
struct Xlogy {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T a, T b) { return select((a == T(0)) & (b == b), T(0), a * log(b)); }
  template <class T> LM_FN static T da(T a, T b) {
    const auto zero = (a == T(0)) & (b <= T(0));
    return log(select(zero, T(1), b)); }
  template <class T> LM_FN static T db(T a, T b) { return a / b; } };
// log(e^a + e^b) = max + log(1 + e^-|a - b|); equal infinities are their own result.
struct Logaddexp {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T a, T b) {
    const T d = a - b;
    return select(a == b, a + T(kLn2), select(d > T(0), a, b) + log1p(exp(-abs(d)))); }
  template <class T> LM_FN static T da(T a, T b) { return sigmoid(a - b); }
  template <class T> LM_FN static T db(T a, T b) { return sigmoid(b - a); } };
struct Logaddexp2 {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T a, T b) {
    const T d = a - b;
    return select(a == b, a + T(1), select(d > T(0), a, b) + log1p(exp2(-abs(d))) * T(1 / kLn2)); }
  template <class T> LM_FN static T da(T a, T b) { return sigmoid((a - b) * T(kLn2)); }
  template <class T> LM_FN static T db(T a, T b) { return sigmoid((b - a) * T(kLn2)); } };

// --- extrema ---
// NaN wins; ties share the gradient.
struct Maximum {
  LM_ON(kNumeric);
  template <class T> LM_FN static T f(T a, T b) { return select((a > b) | (a != a), a, b); }
  template <class T> LM_FN static T da(T a, T b) { return select(a == b, T(0.5), select(a < b, T(0), T(1))); }
  template <class T> LM_FN static T db(T a, T b) { return select(a == b, T(0.5), select(b < a, T(0), T(1))); } };
struct Minimum {
  LM_ON(kNumeric);
  template <class T> LM_FN static T f(T a, T b) { return select((a < b) | (a != a), a, b); }
  template <class T> LM_FN static T da(T a, T b) { return select(a == b, T(0.5), select(a > b, T(0), T(1))); }
  template <class T> LM_FN static T db(T a, T b) { return select(a == b, T(0.5), select(b > a, T(0), T(1))); } };
// A number wins over NaN; ties go to a.
struct Fmax {
  LM_ON(kNumeric);
  template <class T> LM_FN static T f(T a, T b) { return select((a >= b) | (b != b), a, b); }
  template <class T> LM_FN static T da(T a, T b) { return select((a >= b) | (b != b), T(1), T(0)); }
  template <class T> LM_FN static T db(T a, T b) { return select((a >= b) | (b != b), T(0), T(1)); } };
struct Fmin {
  LM_ON(kNumeric);
  template <class T> LM_FN static T f(T a, T b) { return select((a <= b) | (b != b), a, b); }
  template <class T> LM_FN static T da(T a, T b) { return select((a <= b) | (b != b), T(1), T(0)); }
  template <class T> LM_FN static T db(T a, T b) { return select((a <= b) | (b != b), T(0), T(1)); } };

// --- geometry and signs ---
struct Atan2 {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T a, T b) { return atan2(a, b); }
  template <class T> LM_FN static T da(T a, T b) { return b / square(a, b); }
  template <class T> LM_FN static T db(T a, T b) { return -(a / square(a, b)); }
  template <class T> LM_FN static T square(T a, T b) {  // 1 at the origin, whose gradient is 0
    const T s = a * a + b * b;
    return select(s == T(0), T(1), s); } };
struct Hypot {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T a, T b) { return hypot(a, b); }
  template <class T> LM_FN static T da(T a, T b) { return a / hypot(a, b); }
  template <class T> LM_FN static T db(T a, T b) { return b / hypot(a, b); } };
struct Copysign {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T a, T b) { return copysign(a, b); }
  template <class T> LM_FN static T da(T a, T b) { return sign(a) * copysign(T(1), b); }
  LM_FN static double db() { return 0; } };
struct Heaviside {
  LM_ON(kNumeric);
  template <class T> LM_FN static T f(T a, T b) { return select(a == T(0), b, select(a > T(0), T(1), select(a < T(0), T(0), a))); } };
struct Nextafter {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T a, T b) { return nextafter(a, b); } };

// --- comparison and logic ---
struct Eq {
  LM_PREDICATE(kNumeric);
  template <class T> LM_FN static auto f(T a, T b) { return a == b; } };
struct Ne {
  LM_PREDICATE(kNumeric);
  template <class T> LM_FN static auto f(T a, T b) { return a != b; } };
struct Lt {
  LM_PREDICATE(kNumeric);
  template <class T> LM_FN static auto f(T a, T b) { return a < b; } };
struct Le {
  LM_PREDICATE(kNumeric);
  template <class T> LM_FN static auto f(T a, T b) { return a <= b; } };
struct Gt {
  LM_PREDICATE(kNumeric);
  template <class T> LM_FN static auto f(T a, T b) { return a > b; } };
struct Ge {
  LM_PREDICATE(kNumeric);
  template <class T> LM_FN static auto f(T a, T b) { return a >= b; } };
struct LogicalAnd {
  LM_PREDICATE(kNumeric);
  template <class T> LM_FN static auto f(T a, T b) { return (a != T(0)) & (b != T(0)); } };
struct LogicalOr {
  LM_PREDICATE(kNumeric);
  template <class T> LM_FN static auto f(T a, T b) { return (a != T(0)) | (b != T(0)); } };
struct LogicalXor {
  LM_PREDICATE(kNumeric);
  template <class T> LM_FN static auto f(T a, T b) { return (a != T(0)) ^ (b != T(0)); } };

// --- bits ---
struct BitwiseAnd {
  LM_ON(kIntegral);
  template <class T> LM_FN static T f(T a, T b) { return a & b; } };
struct BitwiseOr {
  LM_ON(kIntegral);
  template <class T> LM_FN static T f(T a, T b) { return a | b; } };
struct BitwiseXor {
  LM_ON(kIntegral);
  template <class T> LM_FN static T f(T a, T b) { return a ^ b; } };
// A count outside the type's bits shifts everything out, where the machine would take it modulo the bits.
struct BitwiseLeftShift {
  LM_ON(kIntegral);
  template <class T> LM_FN static T f(T a, T b) {
    const bool inside = b >= T(0) && b < T(8 * sizeof(T));
    return static_cast<T>(inside ? static_cast<uint64_t>(a) << (b & T(8 * sizeof(T) - 1)) : 0); } };
struct BitwiseRightShift {
  LM_ON(kIntegral);
  template <class T> LM_FN static T f(T a, T b) {
    const bool inside = b >= T(0) && b < T(8 * sizeof(T));
    return static_cast<T>(inside ? a >> (b & T(8 * sizeof(T) - 1)) : a < T(0) ? -1 : 0); } };

// clang-format on

}  // namespace lamina::math
