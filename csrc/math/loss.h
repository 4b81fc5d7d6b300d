// Losses as formulas of a prediction x and a target t: f, and its derivatives dx and dt.
// As everywhere in math/, T is a number, a SIMD register or a Tensor, so the same lines are the CPU kernel (loss.cpp
// there) and the differentiable gradient. `visit_loss` turns a LossKind into its formula. Next: kernel/loss.h,
// ops/loss.cpp.
#pragma once
#include "math/functions.h"

namespace lamina {

enum class LossKind : int { Mse, L1, SmoothL1, Huber, Bce, BceLogits, KlDiv, KlDivLog };

namespace math {

// Losses of the difference x - t: the derivatives are opposite.
template <class Formula>
struct Difference {
  double c = 1;  // beta or delta
  template <class T>
  LM_FN T f(T x, T t) const {
    return Formula::value(x - t, c);
  }
  template <class T>
  LM_FN T dx(T x, T t) const {
    return Formula::slope(x - t, c);
  }
  template <class T>
  LM_FN T dt(T x, T t) const {
    return -dx(x, t);
  }
};

template <class T>
LM_FN T sign_of(T d) {
  return select(d > T(0.0), T(1.0), select(d < T(0.0), T(-1.0), d * T(0.0)));  // NaN stays NaN
}

struct MseFormula {
  template <class T>
  LM_FN static T value(T d, double) {
    return d * d;
  }
  template <class T>
  LM_FN static T slope(T d, double) {
    return d * T(2.0);
  }
};
struct L1Formula {
  template <class T>
  LM_FN static T value(T d, double) {
    return abs(d);
  }
  template <class T>
  LM_FN static T slope(T d, double) {
    return sign_of(d);
  }
};
// |d| < delta ? d^2 / 2 : delta (|d| - delta / 2).   Huber, "Robust estimation of a location parameter", 1964.
struct HuberFormula {
  template <class T>
  LM_FN static T value(T d, double delta) {
    const T a = abs(d);
    return select(a < T(delta), d * d * T(0.5), (a - T(0.5 * delta)) * T(delta));
  }
  template <class T>
  LM_FN static T slope(T d, double delta) {
    return select(abs(d) < T(delta), d, sign_of(d) * T(delta));
  }
};
// The same divided by beta, so that the slope outside is one.   Girshick, "Fast R-CNN", 2015.
struct SmoothL1Formula {
  template <class T>
  LM_FN static T value(T d, double beta) {
    return HuberFormula::value(d, beta) * T(1 / beta);
  }
  template <class T>
  LM_FN static T slope(T d, double beta) {
    return HuberFormula::slope(d, beta) * T(1 / beta);
  }
};

// -(t log x + (1 - t) log(1 - x)) for probabilities x. Logarithms stop at -100, so that a wrong certainty costs 100 and
// not infinity.
struct Bce {
  template <class T>
  LM_FN static T floor_log(T y) {
    return select(y < T(-100.0), T(-100.0), y);
  }
  template <class T>
  LM_FN T f(T x, T t) const {
    return (t - T(1.0)) * floor_log(log1p(-x)) - t * floor_log(log(x));
  }
  template <class T>
  LM_FN T dx(T x, T t) const {
    const T v = (T(1.0) - x) * x;
    return (x - t) / select(v < T(1e-12), T(1e-12), v);
  }
  template <class T>
  LM_FN T dt(T x, T) const {
    return floor_log(log1p(-x)) - floor_log(log(x));
  }
};

// The same for x = logit: max(x, 0) - x t + log(1 + e^-|x|), which neither overflows nor loses a small probability.
struct BceLogits {
  template <class T>
  LM_FN T f(T x, T t) const {
    return select(x > T(0.0), x, x * T(0.0)) - x * t + log1p(exp(-abs(x)));
  }
  template <class T>
  LM_FN T dx(T x, T t) const {
    return sigmoid(x) - t;
  }
  template <class T>
  LM_FN T dt(T x, T) const {
    return -x;
  }
};

// t (log t - x), zero for t = 0; x and, for KlDivLog, t are log-probabilities.
struct KlDiv {
  template <class T>
  LM_FN T f(T x, T t) const {
    return select(t == T(0.0), t * T(0.0), t * log(t)) - t * x;
  }
  template <class T>
  LM_FN T dx(T, T t) const {
    return -t;
  }
  template <class T>
  LM_FN T dt(T x, T t) const {
    return log(t) + T(1.0) - x;
  }
};
struct KlDivLog {
  template <class T>
  LM_FN T f(T x, T t) const {
    return exp(t) * (t - x);
  }
  template <class T>
  LM_FN T dx(T, T t) const {
    return -exp(t);
  }
  template <class T>
  LM_FN T dt(T x, T t) const {
    return exp(t) * (t - x + T(1.0));
  }
};

template <class Fn>
LM_FN auto visit_loss(LossKind kind, double c, Fn fn) {
  switch (kind) {
    case LossKind::Mse:
      return fn(Difference<MseFormula>{c});
    case LossKind::L1:
      return fn(Difference<L1Formula>{c});
    case LossKind::SmoothL1:
      return fn(Difference<SmoothL1Formula>{c});
    case LossKind::Huber:
      return fn(Difference<HuberFormula>{c});
    case LossKind::Bce:
      return fn(Bce());
    case LossKind::BceLogits:
      return fn(BceLogits());
    case LossKind::KlDiv:
      return fn(KlDiv());
    case LossKind::KlDivLog:
      return fn(KlDivLog());
  }
  __builtin_unreachable();
}

}  // namespace math
}  // namespace lamina
