// Differentiable steps of scans that gradients of products are made of. See scan.cpp.
#pragma once
#include "ops/ops.h"

namespace lamina {

// h[k] = a[k - offset] h[k - 1] + b[k] along dim, from h = 0 before the first; with `reverse`
// h[k] = a[k + offset] h[k + 1] + b[k] from the last. offset is 0 or 1.
Tensor linear_scan(const Tensor& a, const Tensor& b, int64_t dim, bool reverse, int offset);
// The product of the elements before (reverse: after) each one.
Tensor exclusive_cumprod(const Tensor& x, int64_t dim, bool reverse);

}  // namespace lamina
