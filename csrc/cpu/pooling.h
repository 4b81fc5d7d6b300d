// Pooling over boxes of channels-last memory. The one idea: every pool, plain or adaptive, in one to three dimensions,
// is a table of boxes: per axis and output index, where the box begins and ends (padding already cut off) and what the
// average divides by. Missing dimensions have size 1. Formulas in kernels/pooling.cpp; called by ops/pooling.cpp.
#pragma once
#include <cstdint>

#include "core/dtype.h"
#include "cpu/kernel.h"

namespace lamina {

struct PoolAxis {
  int64_t in = 1, out = 1, step = 1;  // step: the dilation
  const int64_t* begin = nullptr;     // per output index; end is exclusive
  const int64_t* end = nullptr;
  const double* divisor = nullptr;
};

// x is dense (n, in, c), y and index dense (n, out, c): channels are innermost.
struct PoolBoxes {
  int64_t n, c;
  PoolAxis axis[3];
  int64_t rows() const { return n * axis[0].out * axis[1].out; }  // of y, each of axis[2].out pixels
  int64_t pixels_in() const { return axis[0].in * axis[1].in * axis[2].in; }
  int64_t pixels_out() const { return axis[0].out * axis[1].out * axis[2].out; }
};

// Rows [first, last) of y. `index`, if wanted, is the position of the maximum among the pixels of its image.
LM_KERNEL(void, max_pool_forward,
          (DType dtype, const PoolBoxes& boxes, int64_t first, int64_t last, const void* x, void* y, int64_t* index))
LM_KERNEL(void, avg_pool_forward,
          (DType dtype, const PoolBoxes& boxes, int64_t first, int64_t last, const void* x, void* y))
// Channels [first, last) of image `n`; they are cleared first, as boxes overlap.
LM_KERNEL(void, max_pool_backward,
          (DType dtype, const PoolBoxes& boxes, int64_t n, int64_t first, int64_t last, const void* grad,
           const int64_t* index, void* grad_x))
LM_KERNEL(void, avg_pool_backward,
          (DType dtype, const PoolBoxes& boxes, int64_t n, int64_t first, int64_t last, const void* grad, void* grad_x))
// y = the elements of x at `index`: the adjoint of max_pool_backward. Image `n`.
LM_KERNEL(void, max_pool_gather,
          (DType dtype, const PoolBoxes& boxes, int64_t n, const void* x, const int64_t* index, void* y))

}  // namespace lamina
