// Optimizer steps over whole parameter groups: one call updates every parameter that has a gradient, in place and
// outside the tape. Lists run parallel to `params`; an empty list means that the variant has no such state. `lr` is a
// number or a tensor of one element, which on a device is read when the step runs there.
#pragma once
#include "core/tensor.h"

namespace lamina {

// Undefined entries of `momentum_buffers` are replaced by new buffers, which start as the gradient.
void sgd_step_(const TensorList& params, TensorList& momentum_buffers, const Tensor& lr, double momentum,
               double dampening, double weight_decay, bool nesterov, bool maximize);

// `steps` are counters (0-d float32), advanced here: they live where the parameters live.
void adam_step_(const TensorList& params, const TensorList& exp_avgs, const TensorList& exp_avg_sqs,
                const TensorList& steps, const TensorList& max_exp_avg_sqs, const Tensor& lr, double beta1,
                double beta2, double eps, double weight_decay, bool decoupled, bool maximize);

void rmsprop_step_(const TensorList& params, const TensorList& square_avgs, const TensorList& steps,
                   const TensorList& grad_avgs, const TensorList& momentum_buffers, const Tensor& lr, double alpha,
                   double eps, double weight_decay, double momentum, bool maximize);

}  // namespace lamina
