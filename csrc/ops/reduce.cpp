// Sums, products, means, logic and counts. The one idea: the gradient of a sum is a view that repeats the gradient (no
// copy), and the gradient of that view is a sum, so every order of differentiation is these two operators.
// Next: extremes.cpp, statistics.cpp, kernel/reduce.h.
#include "ops/reduce.h"

#include <algorithm>

#include "autograd/apply.h"
#include "ops/scan.h"

namespace lamina {

Shape ReduceDims::result(const Shape& in) const {
  Shape out;
  for (int d = 0; d < in.size(); ++d) {
    if (!has(d))
      out.push_back(in[d]);
    else if (ones >> d & 1)
      out.push_back(1);
  }
  return out;
}

int64_t ReduceDims::count(const Shape& in) const {
  int64_t n = 1;
  for (int d = 0; d < in.size(); ++d) n *= has(d) ? in[d] : 1;
  return n;
}

static ReduceDims all_dims(const Tensor& x, bool keepdim) {
  const uint32_t mask = (1u << x.dim()) - 1;
  return {mask, keepdim ? mask : 0};
}

ReduceDims reduce_dims(const Tensor& x, const std::optional<Shape>& dim, bool keepdim, const char* op) {
  if (!dim || dim->empty()) return all_dims(x, keepdim);
  ReduceDims dims;
  for (int64_t d : *dim) {
    const uint32_t bit = 1u << wrap_dim(d, x.dim(), op);
    LM_CHECK(!(dims.mask & bit), ValueError, op, ": dim ", d, " appears twice in ", *dim,
             "; need different dimensions");
    dims.mask |= bit;
  }
  if (x.dim() == 0) dims.mask = 0;  // a 0-d tensor accepts dim 0 and -1
  dims.ones = keepdim ? dims.mask : 0;
  return dims;
}

ReduceDims reduce_dims(const Tensor& x, std::optional<int64_t> dim, bool keepdim, const char* op) {
  if (!dim) return all_dims(x, keepdim);
  const int d = wrap_dim(*dim, x.dim(), op);
  const uint32_t mask = x.dim() == 0 ? 0 : 1u << d;
  return {mask, keepdim ? mask : 0};
}

void check_not_empty(const Tensor& x, ReduceDims dims, const char* op) {
  LM_CHECK(dims.count(x.sizes()) > 0 || dims.result(x.sizes()).numel() == 0, ValueError, op, ": a tensor of shape ",
           x.sizes(), " has 0 elements to reduce; need at least 1, ", op, " of nothing is not defined");
}

void check_floating(const Tensor& x, const char* op) {
  LM_CHECK(x.is_floating(), TypeError, op, ": got ", x.dtype(), "; need a floating-point tensor");
}

// False if neither nest has an innermost loop over adjacent elements: then x must be copied first.
static bool make_nests(ReduceJob& job, const Tensor& x, ReduceDims dims, bool in_order) {
  job.kept.n = job.reduced.n = 0;
  job.kept.total = job.reduced.total = 1;
  int order[kMaxDims], n = 0;
  for (int d = 0; d < x.dim(); ++d) {
    if (dims.has(d))
      order[n++] = d;
    else
      job.kept.add(x.size(d), x.stride(d));
  }
  // In memory order: the result does not depend on it, except for rounding.
  if (!in_order) std::sort(order, order + n, [&](int a, int b) { return x.stride(a) > x.stride(b); });
  for (int i = 0; i < n; ++i) job.reduced.add(x.size(order[i]), x.stride(order[i]));
  job.columns = !job.reduced.adjacent() && job.kept.adjacent();
  return job.columns || job.reduced.adjacent() || job.reduced.n == 0 || job.kept.total * job.reduced.total == 0;
}

void run_reduce(ReduceJob job, const Tensor& x, ReduceDims dims, const Tensor& out, const Tensor& out2, bool in_order) {
  Tensor source = x;
  if (!make_nests(job, source, dims, in_order)) {
    source = empty_tensor(x.sizes(), x.dtype(), x.device());
    copy_into(source, x);
    make_nests(job, source, dims, in_order);
  }
  job.dtype = x.dtype();
  job.x = source.data();
  job.out = out.defined() ? out.data() : nullptr;
  job.out2 = out2.defined() ? out2.data() : nullptr;
  kernel::reduce(stream_of(x.device()), job);
}

Tensor reduced(ReduceJob job, const Tensor& x, ReduceDims dims, DType out_dtype) {
  const bool half = is_half(x.dtype());
  Tensor out = empty_tensor(dims.result(x.sizes()), half ? compute_type(out_dtype) : out_dtype, x.device());
  run_reduce(job, half ? cast(x, DType::F32) : x, dims, out);
  return half ? cast(out, out_dtype) : out;
}

// --- sum and its gradient ---
namespace {
struct SumOp {
  static constexpr const char* kName = "sum";
  ReduceDims dims;
  double divisor;
  Shape sizes;

  Tensor forward(Ctx&, const Tensor& x) const {
    ReduceJob job;
    job.kind = Reduce::Sum;
    job.divisor = divisor;
    return reduced(job, x, dims, x.is_floating() ? x.dtype() : DType::I64);
  }
  Grads backward(Ctx&, const Tensor& grad) const {
    return {spread(divisor == 1 ? grad : div(grad, Tensor(divisor)), dims, sizes)};
  }
};

struct SpreadOp {
  static constexpr const char* kName = "expand";
  ReduceDims dims;
  Shape sizes;

  Tensor forward(Ctx&, const Tensor& y) const {
    Shape strides(sizes.size(), 0);
    int from = 0;
    for (int d = 0; d < sizes.size(); ++d) {
      if (!dims.has(d))
        strides[d] = y.stride(from++);
      else if (dims.ones >> d & 1)
        ++from;
    }
    return y.with_layout(sizes, strides, y->offset);
  }
  Grads backward(Ctx&, const Tensor& grad) const { return {sum_over(grad, dims)}; }
};
}  // namespace

Tensor sum_over(const Tensor& x, ReduceDims dims, double divisor) { return apply(SumOp{dims, divisor, x.sizes()}, x); }
Tensor spread(const Tensor& y, ReduceDims dims, const Shape& sizes) { return apply(SpreadOp{dims, sizes}, y); }

Tensor sum_to(const Tensor& x, const Shape& sizes) {
  if (x.sizes() == sizes) return x;
  const int lead = x.dim() - sizes.size();
  LM_CHECK(lead >= 0, ValueError, "sum_to: shape ", x.sizes(), " cannot be summed to ", sizes,
           "; need a shape that broadcasts to it");
  ReduceDims dims{(1u << lead) - 1, 0};
  for (int d = lead; d < x.dim(); ++d) {
    const int64_t want = sizes[d - lead];
    LM_CHECK(want == x.size(d) || want == 1, ValueError, "sum_to: shape ", x.sizes(), " cannot be summed to ", sizes,
             "; need a shape that broadcasts to it");
    if (want != x.size(d)) dims.mask |= 1u << d, dims.ones |= 1u << d;
  }
  return sum_over(x, dims);
}

Tensor sum(const Tensor& input, const std::optional<Shape>& dim, bool keepdim, std::optional<DType> dtype) {
  const Tensor x = dtype ? cast(input, *dtype) : input;
  return sum_over(x, reduce_dims(x, dim, keepdim, "sum"));
}

Tensor mean(const Tensor& input, const std::optional<Shape>& dim, bool keepdim, std::optional<DType> dtype) {
  LM_CHECK(is_floating(dtype.value_or(input.dtype())), TypeError, "mean: got ", dtype.value_or(input.dtype()),
           "; need a floating-point tensor, or dtype= a floating-point dtype");
  const Tensor x = dtype ? cast(input, *dtype) : input;
  const ReduceDims dims = reduce_dims(x, dim, keepdim, "mean");
  return sum_over(x, dims, double(dims.count(x.sizes())));
}

namespace {
struct NanSumOp {
  static constexpr const char* kName = "nansum";
  ReduceDims dims;

  Tensor forward(Ctx& ctx, const Tensor& x) const {
    ctx.save(x);
    ReduceJob job;
    job.kind = Reduce::NanSum;
    return reduced(job, x, dims, x.dtype());
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const {
    const Tensor x = ctx.saved(0);
    return {where(eq(x, x), spread(grad, dims, x.sizes()), Tensor(0.0))};
  }
};

// The gradient is the product of the other elements: what lies before times what lies after, right where x has zeros.
struct ProdOp {
  static constexpr const char* kName = "prod";
  ReduceDims dims;

  Tensor forward(Ctx& ctx, const Tensor& x) const {
    ctx.save(x);
    ReduceJob job;
    job.kind = Reduce::Prod;
    return reduced(job, x, dims, x.is_floating() ? x.dtype() : DType::I64);
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const {
    const Tensor x = ctx.saved(0);
    return {mul(spread(grad, dims, x.sizes()), product_of_others(x))};
  }
  // prod passes one dimension or a flattened tensor: at most one dimension is reduced.
  Tensor product_of_others(const Tensor& x) const {
    const int dim = dims.mask ? __builtin_ctz(dims.mask) : 0;
    return mul(exclusive_cumprod(x, dim, false), exclusive_cumprod(x, dim, true));
  }
};
}  // namespace

Tensor nansum(const Tensor& input, const std::optional<Shape>& dim, bool keepdim, std::optional<DType> dtype) {
  const Tensor x = dtype ? cast(input, *dtype) : input;
  const ReduceDims dims = reduce_dims(x, dim, keepdim, "nansum");
  return x.is_floating() ? apply(NanSumOp{dims}, x) : sum_over(x, dims);
}

Tensor nanmean(const Tensor& input, const std::optional<Shape>& dim, bool keepdim, std::optional<DType> dtype) {
  const Tensor x = dtype ? cast(input, *dtype) : input;
  check_floating(x, "nanmean");
  const ReduceDims dims = reduce_dims(x, dim, keepdim, "nanmean");
  return div(apply(NanSumOp{dims}, x), sum_over(cast(eq(x, x), x.dtype()), dims));
}

Tensor prod(const Tensor& input, std::optional<int64_t> dim, bool keepdim, std::optional<DType> dtype) {
  const Tensor x = dtype ? cast(input, *dtype) : input;
  if (dim || x.dim() <= 1) return apply(ProdOp{reduce_dims(x, dim, keepdim, "prod")}, x);
  const Tensor y = apply(ProdOp{{1, 0}}, reshape(x, Shape{-1}));
  return keepdim ? reshape(y, Shape(x.dim(), 1)) : y;
}

static Tensor logic(Reduce kind, const Tensor& input, const std::optional<Shape>& dim, bool keepdim, const char* op,
                    DType out = DType::Bool) {
  ReduceJob job;
  job.kind = kind;
  const ReduceDims dims = reduce_dims(input, dim, keepdim, op);
  const Tensor x = is_half(input.dtype()) ? cast(input, DType::F32) : input;
  return reduced(job, x, dims, out);
}

Tensor any(const Tensor& input, const std::optional<Shape>& dim, bool keepdim) {
  return logic(Reduce::Any, input, dim, keepdim, "any");
}
Tensor all(const Tensor& input, const std::optional<Shape>& dim, bool keepdim) {
  return logic(Reduce::All, input, dim, keepdim, "all");
}
Tensor count_nonzero(const Tensor& input, const std::optional<Shape>& dim) {
  return logic(Reduce::CountNonzero, input, dim, false, "count_nonzero", DType::I64);
}

}  // namespace lamina
