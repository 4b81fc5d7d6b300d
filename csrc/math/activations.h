// Activation functions of neural networks, as formulas of one operand. Subgradients at kinks are PyTorch's.
// See functor.h for how to read and write one. Next: unary.h.
#pragma once

#include "math/functor.h"

namespace lamina::math {

// clang-format off

struct Sigmoid {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return sigmoid(x); }
  template <class T> LM_FN static T df_y(T y) { return y * (T(1) - y); } };
// min(x, 0) - log(1 + e^-|x|): no branch overflows.
struct LogSigmoid {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return select(x > T(0), T(0), x) - log1p(exp(-abs(x))); }
  template <class T> LM_FN static T df_x(T x) { return sigmoid(-x); } };
// (1/beta) log(1 + e^(beta x)), linear beyond the threshold, where the two agree and e^z might overflow.
struct Softplus {
  LM_ON(kFloat);
  double beta, threshold;
  template <class T> LM_FN T f(T x) const {
    const T z = x * T(beta);
    return select(z > T(threshold), x, log1p(exp(z)) * T(1 / beta)); }
  template <class T> LM_FN T df_x(T x) const {
    const T z = x * T(beta);
    return select(z > T(threshold), T(1), sigmoid(z)); } };
struct Softsign {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return x / (T(1) + abs(x)); }
  template <class T> LM_FN static T df_x(T x) { const T d = T(1) + abs(x); return T(1) / (d * d); } };
struct TanhShrink {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return x - tanh(x); }
  template <class T> LM_FN static T df_x(T x) { const T t = tanh(x); return t * t; } };

// --- the relu family ---
struct Relu {
  LM_ON(kNumeric);
  template <class T> LM_FN static T f(T x) { return select(x <= T(0), T(0), x); }  // <=: NaN passes
  template <class T> LM_FN static T df_y(T y) { return select(y > T(0), T(1), T(0)); } };
struct Relu6 {
  LM_ON(kNumeric);
  template <class T> LM_FN static T f(T x) { const T y = select(x <= T(0), T(0), x); return select(y > T(6), T(6), y); }
  template <class T> LM_FN static T df_y(T y) { return select((y > T(0)) & (y < T(6)), T(1), T(0)); } };
struct LeakyRelu {
  LM_ON(kFloat);
  double negative_slope;
  template <class T> LM_FN T f(T x) const { return select(x > T(0), x, x * T(negative_slope)); }
  template <class T> LM_FN T df_x(T x) const { return select(x > T(0), T(1), T(negative_slope)); } };
// alpha (e^x - 1) below 0. The derivative bounds x: e^x of the branch not taken must stay finite.
struct Elu {
  LM_ON(kFloat);
  double alpha;
  template <class T> LM_FN T f(T x) const { return select(x > T(0), x, T(alpha) * expm1(x)); }
  template <class T> LM_FN T df_x(T x) const {
    return select(x > T(0), T(1), T(alpha) * exp(select(x > T(0), T(0), x))); } };
// Klambauer et al. 2017 (arXiv 1706.02515): the constants make mean 0 and variance 1 a fixed point.
struct Selu {
  LM_ON(kFloat);
  static constexpr double kScale = 1.0507009873554804934, kAlpha = 1.6732632423543772848;
  template <class T> LM_FN static T f(T x) {
    return T(kScale) * select(x > T(0), x, T(kAlpha) * expm1(x)); }
  template <class T> LM_FN static T df_x(T x) {
    return T(kScale) * select(x > T(0), T(1), T(kAlpha) * exp(select(x > T(0), T(0), x))); } };
struct Celu {
  LM_ON(kFloat);
  double alpha;
  template <class T> LM_FN T f(T x) const { return select(x > T(0), x, T(alpha) * expm1(x * T(1 / alpha))); }
  template <class T> LM_FN T df_x(T x) const {
    return select(x > T(0), T(1), exp(select(x > T(0), T(0), x) * T(1 / alpha))); } };
struct Threshold {
  LM_ON(kNumeric);
  double threshold, value;
  template <class T> LM_FN T f(T x) const { return select(x <= saturate<T>(threshold), saturate<T>(value), x); }
  template <class T> LM_FN T df_x(T x) const { return select(x > T(threshold), T(1), T(0)); } };
struct Hardtanh {
  LM_ON(kNumeric);
  double min_val, max_val;
  template <class T> LM_FN T f(T x) const {
    const T low = saturate<T>(min_val), high = saturate<T>(max_val), y = select(x < low, low, x);
    return select(y > high, high, y); }
  template <class T> LM_FN T df_x(T x) const { return select((x > T(min_val)) & (x < T(max_val)), T(1), T(0)); } };
struct Hardshrink {
  LM_ON(kFloat);
  double lambd;
  template <class T> LM_FN T f(T x) const { return select((x >= T(-lambd)) & (x <= T(lambd)), T(0), x); }
  template <class T> LM_FN T df_x(T x) const { return select((x >= T(-lambd)) & (x <= T(lambd)), T(0), T(1)); } };
struct Softshrink {
  LM_ON(kFloat);
  double lambd;
  template <class T> LM_FN T f(T x) const {  // x * 0 in the middle lets NaN pass
    return select(x > T(lambd), x - T(lambd), select(x < T(-lambd), x + T(lambd), x * T(0))); }
  template <class T> LM_FN T df_x(T x) const { return select((x >= T(-lambd)) & (x <= T(lambd)), T(0), T(1)); } };

// --- x times a gate ---
// x Phi(x), Phi(x) = erfc(-x / sqrt(2)) / 2 (Hendrycks and Gimpel 2016, arXiv 1606.08415): erfc keeps the left tail.
struct Gelu {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return x * normal_cdf(x); }
  template <class T> LM_FN static T df_x(T x) {
    return T(0.5) * erfc(x * T(-kSqrt1_2)) + x * (T(k1_Sqrt2Pi) * exp(T(-0.5) * (x * x))); } };
// The tanh approximation, with 0.5 (1 + tanh u) = sigmoid(2u); 2u = 2 sqrt(2/pi) (x + 0.044715 x^3).
struct GeluTanh {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return x * sigmoid(argument(x)); }
  template <class T> LM_FN static T df_x(T x) {
    const T s = sigmoid(argument(x));
    return s + x * (s * (T(1) - s)) * (T(2 * kSqrt2_Pi) + T(6 * kSqrt2_Pi * 0.044715) * (x * x)); }
  template <class T> LM_FN static T argument(T x) {
    return x * (T(2 * kSqrt2_Pi) + T(2 * kSqrt2_Pi * 0.044715) * (x * x)); } };
struct Silu {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return x * sigmoid(x); }
  template <class T> LM_FN static T df_x(T x) { const T s = sigmoid(x); return s * (T(1) + x * (T(1) - s)); } };
// x tanh(softplus(x)) with tanh(log(1 + e)) = n / (n + 2), n = e (e + 2); from 20 on the gate is 1 in double too.
struct Mish {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return x * gate(x); }
  template <class T> LM_FN static T df_x(T x) {
    const T t = gate(x);
    return t + x * (T(1) - t * t) * sigmoid(x); }
  template <class T> LM_FN static T gate(T x) {
    const T e = exp(select(x > T(20), T(20), x)), n = e * (e + T(2));
    return n / (n + T(2)); } };
struct Hardsigmoid {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) {
    const T y = x + T(3), z = select(y < T(0), T(0), y);
    return select(z > T(6), T(6), z) * T(1.0 / 6); }
  template <class T> LM_FN static T df_x(T x) { return select((x > T(-3)) & (x < T(3)), T(1.0 / 6), T(0)); } };
struct Hardswish {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T x) { return x * Hardsigmoid::f(x); }
  template <class T> LM_FN static T df_x(T x) {
    return select(x <= T(-3), T(0), select(x < T(3), x * T(1.0 / 3) + T(0.5), T(1))); } };

// clang-format on

}  // namespace lamina::math
