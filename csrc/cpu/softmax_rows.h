// Pieces of softmax over one row, shared by the kernels of softmax, cross-entropy and attention.
// Subtracting the maximum keeps every exponent <= 0, which spares `exp_below_zero` the overflow half of math::exp.
#pragma once
#include "cpu/lanes.h"

namespace lamina::cpu::LM_ISA {
namespace {

// e^x for x <= 0; zero where the result would be denormal, which is below the rounding of any sum with e^0 in it.
LM_FN Simd<float> exp_below_zero(Simd<float> x) {
  using V = Simd<float>;
  x = math::at_least(x, -88.f);  // exponent -127: the bits of zero
  const math::Nearest<V> e(x * V(1.44269504f));
  const V r = (x - e.k * V(math::kLn2Hi)) - e.k * V(math::kLn2Lo);
  return math::exp_poly(r) * math::from_bits((e.n + math::IntOf<V>(127)) << 23);
}
LM_FN Simd<double> exp_below_zero(Simd<double> x) { return math::exp(x); }

template <class T>
LM_FN T row_max(const T* x, int64_t n) {
  Maxima<T> top;
  lanes<T>(n, [&](auto at, int k) LM_INLINE { top.take(k, at.keep(at.load(x), -math::inf<T>())); });
  return top.total();
}
// y = e^(x - top), and its sum.
template <class T>
LM_FN T row_exp(const T* x, T* y, int64_t n, T top) {
  Sums<T> sum;
  lanes<T>(n, [&](auto at, int k) LM_INLINE {
    const auto e = exp_below_zero(at.load(x) - Simd<T>(top));
    if (y) at.store(y, e);
    sum[k] += at.keep(e, T(0));
  });
  return sum.total();
}
template <class T>
LM_FN void row_scale(T* y, int64_t n, T factor) {
  lanes<T>(n, [&](auto at, int) LM_INLINE { at.store(y, at.load(y) * Simd<T>(factor)); });
}
template <class T>
LM_FN T row_dot(const T* a, const T* b, int64_t n) {
  Sums<T> sum;
  lanes<T>(n, [&](auto at, int k) LM_INLINE { sum[k] += at.load(a) * at.load(b); });
  return sum.total();
}

}  // namespace
}  // namespace lamina::cpu::LM_ISA
