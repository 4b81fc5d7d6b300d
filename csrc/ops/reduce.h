// What the reductions share: which dimensions go, the shape that is left, the view that undoes it, and the step from a
// tensor to the kernel's loop nests. Used by reduce.cpp (sums), extremes.cpp, statistics.cpp.
#pragma once
#include "kernel/reduce.h"
#include "ops/ops.h"

namespace lamina {

struct ReduceDims {
  uint32_t mask = 0;  // bit d: dimension d is reduced
  uint32_t ones = 0;  // of these: stays with size 1

  bool has(int d) const { return mask >> d & 1; }
  Shape result(const Shape& in) const;
  int64_t count(const Shape& in) const;  // elements per result
  ReduceDims keep() const { return {mask, mask}; }
};

// dim None or () means all; a dimension given twice is a ValueError.
ReduceDims reduce_dims(const Tensor& x, const std::optional<Shape>& dim, bool keepdim, const char* op);
ReduceDims reduce_dims(const Tensor& x, std::optional<int64_t> dim, bool keepdim, const char* op);
// ValueError when results would be reduced from nothing.
void check_not_empty(const Tensor& x, ReduceDims dims, const char* op);
void check_floating(const Tensor& x, const char* op);

// Fills outs of the shape dims.result(x.sizes()); either may be undefined. x is not f16 or bf16.
// `in_order`: positions count in row-major order (arg reductions), so the reduced loops may not be rearranged.
void run_reduce(ReduceJob job, const Tensor& x, ReduceDims dims, const Tensor& out, const Tensor& out2 = {},
                bool in_order = false);
// The same into a new tensor; f16 and bf16 are computed in float and returned in their dtype.
Tensor reduced(ReduceJob job, const Tensor& x, ReduceDims dims, DType out_dtype);

// --- differentiable ---
// sum / divisor, and the view that repeats a result over what was reduced: each is the other's gradient.
Tensor sum_over(const Tensor& x, ReduceDims dims, double divisor = 1);
Tensor spread(const Tensor& y, ReduceDims dims, const Shape& sizes);

}  // namespace lamina
