// Tensors made of their indices. Next: ops/create.cpp.
#pragma once
#include "core/dtype.h"
#include "kernel/kernel.h"
#include "kernel/range.h"

namespace lamina {

// The n elements of the range, stored as dtype.
LM_JOB(void, fill_range, (const Range& range, DType dtype, void* out, int64_t n))
// The rows, then the columns, of the n elements of the triangle.
LM_JOB(void, fill_triangle, (const Triangle& triangle, int64_t* out, int64_t n))

}  // namespace lamina
