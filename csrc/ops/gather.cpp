// gather and the scatter family: one index per element along a dimension. The one idea: gather and scatter_add are each
// other's gradients; the other reductions are formulas around them. Next: kernel/index.h, index_ops.cpp (slices).
#include <limits>

#include "autograd/apply.h"
#include "kernel/index.h"
#include "ops/index.h"

namespace lamina {
namespace {

// x and index as lines along dim; the values are row-major of the index's shape.
LineJob job_of(const Tensor& x, int dim, const Tensor& index, const Tensor& values) {
  LineJob job;
  job.dtype = x.dtype();
  job.x = x.data();
  job.values = values.data();
  job.index = index.data<int64_t>();
  job.count = index.dim() ? index.size(dim) : 1;
  job.step = x.dim() ? x.stride(dim) : 1;
  job.one_value = values.numel() == 1;
  for (int d = 0; d < index.dim(); ++d) {
    if (d < dim) job.outer.add(index.size(d), x.stride(d));
    if (d > dim) job.inner.add(index.size(d), x.stride(d));
  }
  return job;
}

struct GatherOp {
  static constexpr const char* kName = "gather";
  int dim;
  Shape sizes;  // of x

  Tensor forward(Ctx& ctx, const Tensor& x, const Tensor& index) const {
    ctx.save(index);
    Tensor out = empty_tensor(index.sizes(), x.dtype(), x.device());
    kernel::gather(stream_of(x.device()), job_of(x, dim, index, out));
    return out;
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const;
};

// A copy of x with values joined at the index: assigned, added, or the larger, smaller or product of both.
struct ScatterOp {
  static constexpr const char* kName = "scatter";
  int dim;
  PutMode mode;
  Shape value_sizes;  // of the index, or () for one value everywhere

  Tensor forward(Ctx& ctx, const Tensor& x, const Tensor& values, const Tensor& index) const {
    ctx.save(index);
    Tensor y = empty_tensor(x.sizes(), x.dtype(), x.device()), source = values;
    copy_into(y, x);
    if (!values.is_contiguous()) {
      source = empty_tensor(values.sizes(), values.dtype(), values.device());
      copy_into(source, values);
    }
    kernel::scatter(stream_of(x.device()), job_of(y, dim, index, source), mode);
    if (mode > PutMode::Add) {
      ctx.save(x);
      ctx.save(values);
      ctx.save_output(y);
    }
    return y;
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const;
};

Tensor gather_at(const Tensor& x, int dim, const Tensor& index) { return apply(GatherOp{dim, x.sizes()}, x, index); }
Tensor scatter_at(const Tensor& x, int dim, const Tensor& index, const Tensor& values, PutMode mode) {
  return apply(ScatterOp{dim, mode, values.sizes()}, x, values, index);
}
Tensor filled(const Shape& sizes, double value, const Tensor& like) {
  return full_tensor(sizes, value, like.dtype(), like.device());
}

// What leaves the other value as it is: 0, 1, or the end of the dtype's range.
Tensor neutral(PutMode mode, const Tensor& like) {
  if (mode == PutMode::Add) return filled({}, 0, like);
  if (mode == PutMode::Mul) return filled({}, 1, like);
  const bool low = mode == PutMode::Max;
  if (like.is_floating()) return filled({}, low ? -HUGE_VAL : HUGE_VAL, like);
  int64_t end = 0;
  dispatch_all(like.dtype(), [&]<class T>() {
    using Limits = std::numeric_limits<T>;
    if constexpr (Limits::is_integer) end = low ? Limits::lowest() : Limits::max();
  });
  return full_tensor({}, end, like.dtype(), like.device());
}

Grads GatherOp::backward(Ctx& ctx, const Tensor& grad) const {
  return {scatter_at(filled(sizes, 0, grad), dim, ctx.saved(0), grad, PutMode::Add), Tensor()};
}

Grads ScatterOp::backward(Ctx& ctx, const Tensor& grad) const {
  const Tensor index = ctx.saved(0);
  if (mode == PutMode::Assign)
    return {scatter_at(grad, dim, index, filled({}, 0, grad), PutMode::Assign),
            sum_to(gather_at(grad, dim, index), value_sizes), Tensor()};
  if (mode == PutMode::Add) return {grad, sum_to(gather_at(grad, dim, index), value_sizes), Tensor()};
  const Tensor x = ctx.saved(1), values = ctx.saved(2), y = ctx.saved(3), zero(0.0), one(1.0);
  if (mode == PutMode::Mul) {
    // A product without one of its factors: y / factor, except that a single zero leaves the product of the others.
    const Tensor x_zero = eq(x, zero), v_zero = eq(values, zero);
    const Tensor safe_x = where(x_zero, one, x), safe_v = where(v_zero, one, values);
    const Tensor others = scatter_at(safe_x, dim, index, safe_v, PutMode::Mul);
    const Tensor zeros = scatter_at(cast(x_zero, x.dtype()), dim, index, cast(v_zero, x.dtype()), PutMode::Add);
    auto without = [&](const Tensor& is_zero, const Tensor& safe, const Tensor& product, const Tensor& count) {
      return where(eq(count, cast(is_zero, x.dtype())), div(product, safe), zero);
    };
    return {mul(grad, without(x_zero, safe_x, others, zeros)),
            mul(gather_at(grad, dim, index),
                without(v_zero, safe_v, gather_at(others, dim, index), gather_at(zeros, dim, index))),
            Tensor()};
  }
  // Extremes: shared evenly among the elements that reach the result.
  const Tensor x_ties = cast(eq(x, y), x.dtype()), v_ties = cast(eq(values, gather_at(y, dim, index)), x.dtype());
  const Tensor share = div(grad, scatter_at(x_ties, dim, index, v_ties, PutMode::Add));
  return {mul(share, x_ties), mul(gather_at(share, dim, index), v_ties), Tensor()};
}

// The index as contiguous int64, after the shapes were found to fit: as many dimensions as x, and along every other
// dimension no longer than x.
Tensor fitting_index(const Tensor& x, int dim, const Tensor& index, const char* op) {
  LM_CHECK(index.dtype() == DType::I64 || index.dtype() == DType::I32, TypeError, op, ": the index has dtype ",
           index.dtype(), "; need int64");
  LM_CHECK(index.dim() == x.dim() || index.numel() == 0, ValueError, op, ": the index has ", index.dim(),
           " dimensions, the input ", x.dim(), "; need as many");
  for (int d = 0; d < x.dim() && index.numel() > 0; ++d)
    LM_CHECK(d == dim || index.size(d) <= x.size(d), ValueError, op, ": the index has shape ", index.sizes(),
             ", the input ", x.sizes(), "; need index.shape[", d, "] <= input.shape[", d, "]");
  check_same_device(x, index, "index", op);
  return checked_index(index, x.dim() ? x.size(dim) : 1, false, dim, op);
}

// The part of src that the index covers.
Tensor covered(const Tensor& src, const Tensor& index, const char* op) {
  LM_CHECK(src.dim() == index.dim() || index.numel() == 0, ValueError, op, ": src has ", src.dim(),
           " dimensions, the index ", index.dim(), "; need as many");
  check_same_device(index, src, "source", op);
  Tensor part = src;
  for (int d = 0; d < index.dim() && index.numel() > 0; ++d) {
    LM_CHECK(index.size(d) <= src.size(d), ValueError, op, ": the index has shape ", index.sizes(), ", src ",
             src.sizes(), "; need index.shape[", d, "] <= src.shape[", d, "]");
    if (index.size(d) < src.size(d)) part = slice(part, d, 0, index.size(d));
  }
  return part;
}

Tensor scatter_tensor(const Tensor& input, int64_t dim, const Tensor& index, const Tensor& src, PutMode mode,
                      const char* op) {
  const int d = wrap_dim(dim, input.dim(), op);
  LM_CHECK(src.dtype() == input.dtype(), TypeError, op, ": src is ", src.dtype(), ", the input ", input.dtype(),
           "; need the same dtype");
  const Tensor at = fitting_index(input, d, index, op), values = covered(src, at, op);
  if (at.numel() == 0) return clone(input);
  return scatter_at(input, d, at, values, mode);
}

Tensor scatter_value(const Tensor& input, int64_t dim, const Tensor& index, const Scalar& value, PutMode mode) {
  const int d = wrap_dim(dim, input.dim(), "scatter");
  const Tensor at = fitting_index(input, d, index, "scatter");
  return scatter_at(input, d, at, to_device(cast(value.tensor(), input.dtype()), input.device()), mode);
}

}  // namespace

Tensor gather(const Tensor& input, int64_t dim, const Tensor& index) {
  const int d = wrap_dim(dim, input.dim(), "gather");
  const Tensor at = fitting_index(input, d, index, "gather");
  if (at.numel() == 0) return empty_tensor(index.sizes(), input.dtype(), input.device());
  return gather_at(input, d, at);
}

Tensor take_along_dim(const Tensor& input, const Tensor& indices, std::optional<int64_t> dim) {
  check_same_device(input, indices, "index", "take_along_dim");
  LM_CHECK(is_integral(indices.dtype()), TypeError, "take_along_dim: the indices have dtype ", indices.dtype(),
           "; need int64");
  if (!dim) {
    const Tensor x = reshape(input, Shape{-1}), at = reshape(indices, Shape{-1});
    return gather_at(x, 0, checked_index(at, x.numel(), true, 0, "take_along_dim"));
  }
  LM_CHECK(input.dim() == indices.dim(), ValueError, "take_along_dim: the input has ", input.dim(),
           " dimensions, the indices ", indices.dim(), "; need as many");
  const int d = wrap_dim(*dim, input.dim(), "take_along_dim");
  if (input.dim() == 0) return gather_at(input, 0, checked_index(indices, 1, true, 0, "take_along_dim"));
  // Every other dimension broadcasts.
  Shape x_sizes = input.sizes(), at_sizes = indices.sizes();
  x_sizes[d] = at_sizes[d] = 1;
  const Shape common = broadcast(x_sizes, at_sizes, "take_along_dim");
  x_sizes = at_sizes = common;
  x_sizes[d] = input.sizes()[d];
  at_sizes[d] = indices.sizes()[d];
  const Tensor at = checked_index(expand(indices, at_sizes), x_sizes[d], true, d, "take_along_dim");
  return gather_at(expand(input, x_sizes), d, at);
}

Tensor scatter(const Tensor& input, int64_t dim, const Tensor& index, const Tensor& src) {
  return scatter_tensor(input, dim, index, src, PutMode::Assign, "scatter");
}
Tensor scatter(const Tensor& input, int64_t dim, const Tensor& index, const Scalar& value) {
  return scatter_value(input, dim, index, value, PutMode::Assign);
}
namespace {
PutMode scatter_mode(const std::string& reduce) {
  LM_CHECK(reduce == "add" || reduce == "multiply", ValueError, "scatter: reduce is '", reduce,
           "'; need 'add' or 'multiply', or scatter_reduce()");
  return reduce == "add" ? PutMode::Add : PutMode::Mul;
}
}  // namespace
Tensor scatter(const Tensor& input, int64_t dim, const Tensor& index, const Tensor& src, const std::string& reduce) {
  return scatter_tensor(input, dim, index, src, scatter_mode(reduce), "scatter");
}
Tensor scatter(const Tensor& input, int64_t dim, const Tensor& index, const Scalar& value, const std::string& reduce) {
  return scatter_value(input, dim, index, value, scatter_mode(reduce));
}
Tensor scatter_add(const Tensor& input, int64_t dim, const Tensor& index, const Tensor& src) {
  return scatter_tensor(input, dim, index, src, PutMode::Add, "scatter_add");
}

Tensor scatter_reduce(const Tensor& input, int64_t dim, const Tensor& index, const Tensor& src,
                      const std::string& reduce, bool include_self) {
  const bool sum = reduce == "sum", mean = reduce == "mean", prod = reduce == "prod", amax = reduce == "amax";
  LM_CHECK(sum || mean || prod || amax || reduce == "amin", ValueError, "scatter_reduce: reduce is '", reduce,
           "'; need 'sum', 'prod', 'mean', 'amax' or 'amin'");
  const PutMode mode = sum || mean ? PutMode::Add : prod ? PutMode::Mul : amax ? PutMode::Max : PutMode::Min;
  Tensor x = input;
  if (!include_self) {  // start from the neutral element where something arrives
    const int d = wrap_dim(dim, input.dim(), "scatter_reduce");
    const Tensor at = fitting_index(input, d, index, "scatter_reduce");
    x = scatter_at(input, d, at, neutral(mode, input), PutMode::Assign);
  }
  const Tensor y = scatter_tensor(x, dim, index, src, mode, "scatter_reduce");
  if (!mean) return y;
  const Tensor start = filled(input.sizes(), 1, input), ones = filled(index.sizes(), 1, input);
  const Tensor from = include_self ? start : scatter(start, dim, index, Scalar(0));
  const Tensor count = maximum(scatter_add(from, dim, index, ones), start);
  return input.is_floating() ? div(y, count) : floor_divide(y, count);
}

}  // namespace lamina
