// Convolution over channels-last memory. Next: cpu/conv.cpp, cuda/conv.cu.
#pragma once
#include "core/dtype.h"
#include "kernel/kernel.h"

namespace lamina {

// Always three spatial dimensions; missing ones have size 1. Channels count all groups.
struct ConvGeometry {
  int64_t n = 1, groups = 1, c_in = 1, c_out = 1;
  int64_t in[3] = {1, 1, 1}, out[3] = {1, 1, 1}, kernel[3] = {1, 1, 1};
  int64_t stride[3] = {1, 1, 1}, dilation[3] = {1, 1, 1}, padding[3] = {0, 0, 0};  // padding before; after follows
};

// An image batch in any memory order: strides in elements.
struct ConvImage {
  const void* data;
  int64_t n, c, x[3];
};

// w is row-major (c_out, c_in / groups, kernel); y, grad_x dense channels-last (n, spatial, c); grad_w like w.
LM_JOB(void, conv_forward,
       (DType dtype, const ConvGeometry& g, const ConvImage& x, const void* w, const void* bias, void* y))
// The adjoint in x, also the forward pass of a transposed convolution (which may have a bias of c_in).
LM_JOB(void, conv_data_grad,
       (DType dtype, const ConvGeometry& g, const ConvImage& grad_y, const void* w, const void* bias, void* grad_x))
LM_JOB(void, conv_weight_grad,
       (DType dtype, const ConvGeometry& g, const ConvImage& x, const ConvImage& grad_y, void* grad_w))
}  // namespace lamina
