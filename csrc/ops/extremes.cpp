// Largest and smallest elements and where they are. The one idea: with one dimension the gradient goes to the element
// that was found; amax and amin, which may meet ties, share it evenly among them. Next: reduce.h.
#include "autograd/apply.h"
#include "ops/reduce.h"

namespace lamina {
namespace {

ReduceJob job_of(Reduce kind) {
  ReduceJob job;
  job.kind = kind;
  return job;
}

struct ExtremeOp {
  static constexpr const char* kName = "amax";
  Reduce kind;
  ReduceDims dims;

  Tensor forward(Ctx& ctx, const Tensor& x) const {
    Tensor y = reduced(job_of(kind), x, dims, x.dtype());
    ctx.save(x);
    ctx.save_output(y);
    return y;
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const {
    const Tensor x = ctx.saved(0), y = spread(ctx.saved(1), dims, x.sizes());
    // A NaN result came from the NaN elements.
    const Tensor ties = cast(logical_or(eq(x, y), logical_and(ne(x, x), ne(y, y))), x.dtype());
    const Tensor share = div(grad, sum_over(ties, dims));  // of the shape of y
    return {mul(ties, spread(share, dims, x.sizes()))};
  }
};

// max(dim), min(dim): values and positions.
struct ExtremeAtOp {
  static constexpr const char* kName = "max";
  Reduce kind;  // ArgMax or ArgMin
  ReduceDims dims;
  int64_t dim;
  Shape sizes;

  std::array<Tensor, 2> forward(Ctx& ctx, const Tensor& x) const {
    const bool half = is_half(x.dtype());
    const Shape shape = dims.result(x.sizes());
    Tensor values = empty_tensor(shape, compute_type(x.dtype()), x.device());
    Tensor indices = empty_tensor(shape, DType::I64, x.device());
    run_reduce(job_of(kind), half ? cast(x, DType::F32) : x, dims, values, indices, true);
    ctx.save(indices);
    return {half ? cast(values, x.dtype()) : values, indices};
  }
  Grads backward(Ctx& ctx, const Tensor* grads) const { return {put_at(grads[0], ctx.saved(0), dims, dim, sizes)}; }
  static Tensor put_at(const Tensor& grad, const Tensor& indices, ReduceDims dims, int64_t dim, const Shape& sizes) {
    const Tensor zeros = full_tensor(sizes, 0, grad.dtype(), grad.device());
    if (sizes.empty()) return add(zeros, grad);
    const bool kept = dims.ones != 0;
    return scatter_add(zeros, dim, kept ? indices : unsqueeze(indices, dim), kept ? grad : unsqueeze(grad, dim));
  }
};

ReduceDims all_of(const Tensor& x) { return {(1u << x.dim()) - 1, 0}; }

Tensor extreme(Reduce kind, const Tensor& x, ReduceDims dims, const char* op) {
  check_not_empty(x, dims, op);
  return apply(ExtremeOp{kind, dims}, x);
}

std::array<Tensor, 2> extreme_at(Reduce kind, const Tensor& x, int64_t dim, bool keepdim, const char* op) {
  const ReduceDims dims = reduce_dims(x, std::optional<int64_t>(dim), keepdim, op);
  check_not_empty(x, dims, op);
  return apply(ExtremeAtOp{kind, dims, wrap_dim(dim, x.dim(), op), x.sizes()}, x);
}

Tensor position(Reduce kind, const Tensor& input, std::optional<int64_t> dim, bool keepdim, const char* op) {
  const ReduceDims dims = reduce_dims(input, dim, keepdim, op);
  check_not_empty(input, dims, op);
  const Tensor x = is_half(input.dtype()) ? cast(input, DType::F32) : input;
  Tensor indices = empty_tensor(dims.result(x.sizes()), DType::I64, x.device());
  run_reduce(job_of(kind), x, dims, {}, indices, true);
  return indices;
}

}  // namespace

Tensor amax(const Tensor& input, const std::optional<Shape>& dim, bool keepdim) {
  return extreme(Reduce::Max, input, reduce_dims(input, dim, keepdim, "amax"), "amax");
}
Tensor amin(const Tensor& input, const std::optional<Shape>& dim, bool keepdim) {
  return extreme(Reduce::Min, input, reduce_dims(input, dim, keepdim, "amin"), "amin");
}
std::array<Tensor, 2> aminmax(const Tensor& input, std::optional<int64_t> dim, bool keepdim) {
  const ReduceDims dims = reduce_dims(input, dim, keepdim, "aminmax");
  return {extreme(Reduce::Min, input, dims, "aminmax"), extreme(Reduce::Max, input, dims, "aminmax")};
}

Tensor max(const Tensor& input) { return extreme(Reduce::Max, input, all_of(input), "max"); }
Tensor min(const Tensor& input) { return extreme(Reduce::Min, input, all_of(input), "min"); }
std::array<Tensor, 2> max(const Tensor& input, int64_t dim, bool keepdim) {
  return extreme_at(Reduce::ArgMax, input, dim, keepdim, "max");
}
std::array<Tensor, 2> min(const Tensor& input, int64_t dim, bool keepdim) {
  return extreme_at(Reduce::ArgMin, input, dim, keepdim, "min");
}
Tensor max(const Tensor& input, const Tensor& other) { return maximum(input, other); }
Tensor min(const Tensor& input, const Tensor& other) { return minimum(input, other); }

Tensor argmax(const Tensor& input, std::optional<int64_t> dim, bool keepdim) {
  return position(Reduce::ArgMax, input, dim, keepdim, "argmax");
}
Tensor argmin(const Tensor& input, std::optional<int64_t> dim, bool keepdim) {
  return position(Reduce::ArgMin, input, dim, keepdim, "argmin");
}

}  // namespace lamina
