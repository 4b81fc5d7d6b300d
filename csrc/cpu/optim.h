// One optimizer step over flat arrays. The one idea: everything an algorithm reads and writes for an element is touched
// once, in one loop, so a step costs one pass over memory. Called by ops/optim.cpp; formulas in kernels/optim.cpp.
#pragma once
#include <cstdint>

#include "core/dtype.h"
#include "cpu/kernel.h"

namespace lamina {

struct SgdStep {
  double lr, momentum, dampening, weight_decay;
  bool nesterov, maximize;
  bool first;  // the buffer is new and takes the gradient as it is
};

struct AdamStep {
  double lr, beta1, beta2, eps, weight_decay;
  bool decoupled, maximize;
  double correction1, correction2;  // 1 - beta^t
};

struct RmspropStep {
  double lr, alpha, eps, weight_decay, momentum;
  bool maximize;
};

// data[0] is the gradient, which is only read; data[1] the parameter; then, each null where the variant has none:
// SGD {momentum buffer}, Adam {exp_avg, exp_avg_sq, max_exp_avg_sq}, RMSprop {square_avg, grad_avg, momentum buffer}.
LM_KERNEL(void, sgd_step, (DType dtype, const SgdStep& step, int64_t n, void* const* data))
LM_KERNEL(void, adam_step, (DType dtype, const AdamStep& step, int64_t n, void* const* data))
LM_KERNEL(void, rmsprop_step, (DType dtype, const RmspropStep& step, int64_t n, void* const* data))

}  // namespace lamina
