// Limiting gradients: what lamina.nn.utils does with all of them at once, outside the tape.
#pragma once
#include "core/tensor.h"

namespace lamina {

// The norm of order p of all tensors taken together, 0-d, where the first one is.
Tensor total_norm(const TensorList& tensors, double p);
// Every tensor times min(1, max_norm / (total_norm + 1e-6)), in place.
void scale_by_norm_(const TensorList& tensors, const Tensor& total_norm, double max_norm);
void clamp_all_(const TensorList& tensors, double low, double high);

}  // namespace lamina
