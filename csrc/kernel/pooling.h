// Pooling over boxes of channels-last memory. The one idea: every pool, plain or adaptive, in one to three dimensions,
// is a table of boxes: per axis and output index, where the box begins and ends (padding already cut off) and what the
// average divides by. Missing dimensions have size 1. Next: cpu/pooling_loops.h,
// cuda/kernels/pooling.cuh.
#pragma once
#include <cstdint>

#include "core/dtype.h"
#include "kernel/kernel.h"
#include "math/scalar.h"

namespace lamina {

// How the boxes of one axis follow from the numbers of the call: what a GPU's threads compute for themselves, in int.
template <class Int>
struct PoolRuleOf {
  Int in = 1, out = 1, kernel = 1, stride = 1, padding = 0, step = 1;  // step: the dilation
  bool adaptive = false;      // output o covers [floor(o in / out), ceil((o + 1) in / out))
  bool count_padding = true;  // in the divisor
  double divisor = 0;         // if given by the user
};
using PoolRule = PoolRuleOf<int64_t>;
template <class Int>
struct PoolBoxOf {
  Int begin, end;
  double divisor;
};
template <class Int>
LM_FN PoolBoxOf<Int> pool_box(const PoolRuleOf<Int>& r, Int o) {
  const auto divisor = [&](Int size) { return r.divisor != 0 ? r.divisor : double(size); };
  if (r.adaptive) {
    const Int begin = o * r.in / r.out, end = ((o + 1) * r.in + r.out - 1) / r.out;
    return {begin, end, divisor(end - begin)};
  }
  const Int start = o * r.stride - r.padding, padded = r.in + r.padding;
  Int begin = start, end = start + r.step * (r.kernel - 1) + 1;
  const Int padded_end = start + r.kernel < padded ? start + r.kernel : padded;
  if (begin < 0) begin += (-begin + r.step - 1) / r.step * r.step;  // the first tap inside
  if (end > r.in) end = r.in;
  return {begin, end, divisor(r.count_padding ? padded_end - start : end - begin)};
}

struct PoolAxis {
  int64_t in = 1, out = 1, step = 1;  // as in the rule
  const int64_t* begin = nullptr;     // per output index; end is exclusive
  const int64_t* end = nullptr;
  const double* divisor = nullptr;
  PoolRule rule;
};

// x is dense (n, in, c), y and index dense (n, out, c): channels are innermost.
struct PoolBoxes {
  int64_t n, c;
  PoolAxis axis[3];
  int64_t rows() const { return n * axis[0].out * axis[1].out; }  // of y, each of axis[2].out pixels
  int64_t pixels_in() const { return axis[0].in * axis[1].in * axis[2].in; }
  int64_t pixels_out() const { return axis[0].out * axis[1].out * axis[2].out; }
};

// `index`, if wanted, is the position of the maximum among the pixels of its image.
LM_JOB(void, pool_max, (DType dtype, const PoolBoxes& boxes, const void* x, void* y, int64_t* index))
LM_JOB(void, pool_average, (DType dtype, const PoolBoxes& boxes, const void* x, void* y))
LM_JOB(void, pool_max_backward,
       (DType dtype, const PoolBoxes& boxes, const void* grad, const int64_t* index, void* grad_x))
LM_JOB(void, pool_average_backward, (DType dtype, const PoolBoxes& boxes, const void* grad, void* grad_x))
LM_JOB(void, pool_gather, (DType dtype, const PoolBoxes& boxes, const void* x, const int64_t* index, void* y))

}  // namespace lamina
