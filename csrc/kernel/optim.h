// One optimizer step over flat arrays. The one idea: everything an algorithm reads and writes for an element is touched
// once, in one loop, so a step costs one pass over memory. ops/optim.cpp calls a job with the arrays of all parameters;
// formulas in cpu/kernels/optim.cpp and cuda/kernels/optim.cuh.
#pragma once
#include <cstdint>

#include "core/dtype.h"
#include "kernel/kernel.h"

namespace lamina {

// lr_at: where the learning rate is instead, in memory of the device, so that a captured step follows a schedule.
struct SgdStep {
  double lr, momentum, dampening, weight_decay;
  bool nesterov, maximize;
  bool first = false;  // the buffer is new and takes the gradient as it is: OptimArray::first of the array at hand
  const float* lr_at = nullptr;
};

struct AdamStep {
  double lr, beta1, beta2, eps, weight_decay;
  bool decoupled, maximize;
  double correction1 = 1, correction2 = 1;  // 1 - beta^t, t being the counter of the array at hand
  const float* lr_at = nullptr;
};

struct RmspropStep {
  double lr, alpha, eps, weight_decay, momentum;
  bool maximize;
  const float* lr_at = nullptr;
};

constexpr int kOptimColumns = 5;
// One parameter, of any floating dtype. data[0] is the gradient, which is only read; data[1] the parameter; then, each
// null where the variant has none: SGD {momentum buffer}, Adam {exp_avg, exp_avg_sq, max_exp_avg_sq}, RMSprop
// {square_avg, grad_avg, momentum buffer}.
struct OptimArray {
  DType dtype;
  bool first;  // see SgdStep
  int64_t n;
  void* data[kOptimColumns];
  float* counter;  // of steps, advanced by one; null for SGD
};
LM_JOB(void, sgd_update, (const SgdStep& step, const OptimArray* arrays, int64_t count))
LM_JOB(void, adam_update, (const AdamStep& step, const OptimArray* arrays, int64_t count))
LM_JOB(void, rmsprop_update, (const RmspropStep& step, const OptimArray* arrays, int64_t count))

}  // namespace lamina
