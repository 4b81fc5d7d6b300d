// What the normalisations share: the differentiable gradient, and tensors brought to a given memory order.
// Next: norm.cpp (rows), channel_norm.cpp (channels).
#pragma once
#include "autograd/node.h"
#include "core/tensor.h"

namespace lamina {

// y = h w + b with h = (x - m) / sqrt(v + eps), m and v over `dims` (m = 0 when not centered). From the gradient of y:
// that of x, and h, by differentiable operators. The weight broadcasts to x.
struct NormGradient {
  Tensor x, h;
};
NormGradient norm_gradient(const Tensor& x, const Tensor& grad, const OptTensor& weight, const Shape& dims, double eps,
                           bool centered);

// weight or bias of a normalisation, as the kernels read it: row-major, in the type of the computation.
OptTensor norm_parameter(const OptTensor& p, const Shape& sizes, DType type, const char* op, const char* name);
inline const void* data_or_null(const OptTensor& p) { return p ? p->data() : nullptr; }
inline void* data_or_null(const Tensor& p) { return p.defined() ? p.data() : nullptr; }

}  // namespace lamina
