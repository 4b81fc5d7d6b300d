// Formulas of three operands. See functor.h for how to read and write one.
#pragma once

#include "math/functor.h"

namespace lamina::math {

// clang-format off

// From the nearer end, so that weight 1 gives exactly b.
struct Lerp {
  LM_ON(kFloat);
  template <class T> LM_FN static T f(T a, T b, T w) {
    const T d = b - a;
    return select(abs(w) < T(0.5), a + w * d, b - d * (T(1) - w)); }
  template <class T> LM_FN static T da(T, T, T w) { return T(1) - w; }
  template <class T> LM_FN static T db(T, T, T w) { return w; }
  template <class T> LM_FN static T dc(T a, T b, T) { return b - a; } };
// a + value b c, a + value b / c
struct Addcmul {
  LM_ON(kSigned);
  double value;
  template <class T> LM_FN T f(T a, T b, T c) const { return a + T(value) * b * c; }
  LM_FN static double da() { return 1; }
  template <class T> LM_FN T db(T, T, T c) const { return T(value) * c; }
  template <class T> LM_FN T dc(T, T b, T) const { return T(value) * b; } };
struct Addcdiv {
  LM_ON(kFloat);
  double value;
  template <class T> LM_FN T f(T a, T b, T c) const { return a + T(value) * b / c; }
  LM_FN static double da() { return 1; }
  template <class T> LM_FN T db(T, T, T c) const { return T(value) / c; }
  template <class T> LM_FN T dc(T, T b, T c) const { return T(-value) * ((b / c) / c); } };

// clang-format on

}  // namespace lamina::math
