// Loss kernels: elementwise losses (formulas in math/loss.h) with their sum, and the gather and scatter of nll_loss.
// item is 4 (float) or 8 (double). Next: cpu/kernels/loss.cpp, cuda/loss.cu.
#pragma once
#include "core/report.h"
#include "kernel/kernel.h"

namespace lamina {

enum class LossKind : int;

struct Loss {
  int64_t item, n;
  LossKind kind;
  double c;  // beta of smooth_l1_loss, delta of huber_loss
  const void *x, *target;
  double divisor;  // of a reduced loss
};
// Pieces that are summed on their own, by whichever thread; loss_total adds their sums in order.
constexpr int64_t loss_chunks(int64_t n) { return (n + 16383) / 16384; }
// y[i] = f(x[i], t[i]) where y is not null; sums[chunk] where sums is not null.
LM_KERNEL(void, loss_forward, (const Loss& op, void* y, double* sums))
// grad_x[i] = scale[i] df/dx or, for scale_step 0, scale[0] / divisor df/dx; grad_target likewise; either may be null.
LM_KERNEL(void, loss_backward, (const Loss& op, const void* scale, int64_t scale_step, void* grad_x, void* grad_target))

// x (outer, n, inner), target (outer, inner); weight: n factors or null. Places with target == ignore give zero; on a
// GPU so do targets that are out of range, about which the forward kernel complains.
struct Nll {
  int64_t item, outer, n, inner;
  const int64_t* target;
  const void* weight;
  int64_t ignore;
  const double* divisor;  // nll_scatter divides by this number where it is not null
};
// y (outer, inner) = -weight[t] x[.., t, ..]
LM_KERNEL(void, nll_gather, (const Nll& op, const void* x, void* y))
// The adjoint: grad_x is zero but for -weight[t] g at t; g is read with step 0 or 1.
LM_KERNEL(void, nll_scatter, (const Nll& op, const void* g, int64_t g_step, void* grad_x))

#ifndef LM_ISA
// About a target, of nll_loss or cross_entropy.
inline Complaint target_complaint(const char* op, int64_t classes, int64_t ignore) {
  const char* text = "target #@ is out of range; need 0 <= target < %, the number of classes, or ignore_index %";
  return {Complaint::Index, op, text, {classes, ignore}};
}
#endif

// out[0] = sum f(x, t) / divisor
LM_JOB(void, loss_total, (const Loss& op, void* out))
// out[0] = sum losses (outer, inner), divided by the weights of the targets that count where `divisor` is not null:
// their sum is left there.
LM_JOB(void, class_loss_total, (const Nll& op, const void* losses, double* divisor, void* out))

}  // namespace lamina
