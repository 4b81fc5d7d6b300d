// Taking and putting whole slices at positions: the advanced part of x[...], and index_select, index_add, index_copy,
// index_fill, take and put_ on top of it. The one idea: taking and adding are each other's gradients.
// Next: kernel/index.h, index.cpp (reading x[...]), gather.cpp (element by element).
#include <algorithm>

#include "autograd/apply.h"
#include "kernel/index.h"
#include "ops/index.h"

namespace lamina {

Shape Places::result(const Shape& sizes) const {
  Shape out;
  for (int d = 0; d < dim; ++d) out.push_back(sizes[d]);
  for (int64_t size : shape) out.push_back(size);
  for (int d = dim + n; d < sizes.size(); ++d) out.push_back(sizes[d]);
  return out;
}

void check_same_device(const Tensor& x, const Tensor& other, const char* name, const char* op) {
  LM_CHECK(x.device() == other.device(), RuntimeError, op, ": the ", name, " is on ", other.device(), ", the input on ",
           x.device(), "; need the same device");
}

namespace {

// The job over x; `offsets` keeps what it points to alive.
SliceJob job_of(const Tensor& x, const Places& places, const Tensor& positions, Tensor& offsets) {
  SliceJob job;
  job.dtype = x.dtype();
  job.x = x.data();
  job.count = positions.numel();
  for (int d = 0; d < places.dim; ++d) job.outer.add(x.size(d), x.stride(d));
  for (int d = places.dim + places.n; d < x.dim(); ++d) job.inner.add(x.size(d), x.stride(d));
  const int last = places.dim + places.n - 1;
  offsets = positions;
  job.scale = x.stride(last);
  bool evenly = true;
  for (int d = places.dim; d < last; ++d) evenly &= x.stride(d) == x.size(d + 1) * x.stride(d + 1);
  if (!evenly) {  // the indexed dimensions do not lie side by side: count in elements of x
    Loops indexed;
    for (int d = places.dim; d <= last; ++d) indexed.add(x.size(d), x.stride(d));
    offsets = empty_tensor(positions.sizes(), DType::I64, x.device());
    kernel::find_offsets(stream_of(x.device()), indexed, positions.data<int64_t>(), job.count, offsets.data<int64_t>());
    job.scale = 1;
  }
  job.offsets = offsets.data<int64_t>();
  return job;
}

struct TakeOp {
  static constexpr const char* kName = "index";
  Places places;
  Shape sizes;  // of x

  Tensor forward(Ctx& ctx, const Tensor& x, const Tensor& positions) const {
    check_same_device(x, positions, "index", kName);
    ctx.save(positions);
    Tensor offsets, out = empty_tensor(places.result(x.sizes()), x.dtype(), x.device());
    SliceJob job = job_of(x, places, positions, offsets);
    job.values = out.data();
    kernel::take(stream_of(x.device()), job);
    return out;
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const;
};

struct AddToZerosOp {  // zeros of `sizes` with the values added at the positions
  static constexpr const char* kName = "index_backward";
  Places places;
  Shape sizes;

  Tensor forward(Ctx& ctx, const Tensor& values, const Tensor& positions) const {
    ctx.save(positions);
    Tensor out = full_tensor(sizes, 0, values.dtype(), values.device());
    put_places_into(out, places, positions, values, true);
    return out;
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const {
    return {apply(TakeOp{places, sizes}, grad, ctx.saved(0)), Tensor()};
  }
};

Grads TakeOp::backward(Ctx& ctx, const Tensor& grad) const {
  return {apply(AddToZerosOp{places, sizes}, grad, ctx.saved(0)), Tensor()};
}

struct PutOp {
  static constexpr const char* kName = "index_put";
  Places places;
  bool accumulate;
  Shape value_sizes;

  Tensor forward(Ctx& ctx, const Tensor& x, const Tensor& values, const Tensor& positions) const {
    ctx.save(positions);
    Tensor y = empty_tensor(x.sizes(), x.dtype(), x.device());
    copy_into(y, x);
    put_places_into(y, places, positions, values, accumulate);
    return y;
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const {
    Grads out(3);
    const Tensor positions = ctx.saved(0);
    if (ctx.needs(0)) {
      const Tensor zero = full_tensor({}, 0, grad.dtype(), grad.device());
      out[0] = accumulate ? grad : put_places(grad, places, positions, zero, false);
    }
    if (ctx.needs(1)) out[1] = sum_to(take_places(grad, places, positions), value_sizes);
    return out;
  }
};

}  // namespace

Tensor take_places(const Tensor& x, const Places& places, const Tensor& positions) {
  return apply(TakeOp{places, x.sizes()}, x, positions);
}

Tensor put_places(const Tensor& x, const Places& places, const Tensor& positions, const Tensor& values,
                  bool accumulate) {
  return apply(PutOp{places, accumulate, values.sizes()}, x, values, positions);
}

void put_places_into(const Tensor& x, const Places& places, const Tensor& positions, const Tensor& values,
                     bool accumulate) {
  check_same_device(x, positions, "index", "index_put");
  check_same_device(x, values, "source", "index_put");
  Tensor offsets, source = values;
  SliceJob job = job_of(x, places, positions, offsets);
  const Shape sizes = places.result(x.sizes());
  job.one_value = values.numel() == 1;
  // Values that repeat are laid out first.
  if (!job.one_value && (values.sizes() != sizes || !values.is_contiguous())) {
    source = empty_tensor(sizes, values.dtype(), values.device());
    copy_into(source, values);
  }
  job.values = source.data();
  kernel::put(stream_of(x.device()), job, accumulate ? PutMode::Add : PutMode::Assign);
}

// --- operators along one dimension ---

// A 0-d tensor counts as one of size 1.
static Tensor at_least_1d(const Tensor& x) { return x.dim() == 0 ? reshape(x, Shape{1}) : x; }

static Places places_along(const Tensor& x, int64_t dim, const Tensor& index, const char* op) {
  check_same_device(x, index, "index", op);
  LM_CHECK(index.dim() <= 1, ValueError, op, ": the index has shape ", index.sizes(), "; need a 1-d index");
  return {wrap_dim(dim, x.dim(), op), 1, {index.numel()}};
}

TensorList unravel_index(const Tensor& indices, const Shape& shape) {
  const Tensor flat = checked_index(indices, checked_numel(shape, "unravel_index"), false, 0, "unravel_index");
  const int64_t n = flat.numel();
  Shape sizes = indices.sizes();
  sizes.insert(0, shape.size());
  const Tensor all = empty_tensor(sizes, DType::I64, indices.device());  // (dims, ...)
  UnravelJob job{flat.data<int64_t>(), n, shape.size(), {}, all.data<int64_t>(), 1, n};
  std::copy(shape.begin(), shape.end(), job.sizes);
  kernel::unravel(stream_of(indices.device()), job);
  return unbind(all, 0);
}

Tensor index_select(const Tensor& input, int64_t dim, const Tensor& index) {
  const Tensor x = at_least_1d(input);
  const Places places = places_along(x, dim, index, "index_select");
  const Tensor at = checked_index(index, x.size(places.dim), false, places.dim, "index_select");
  const Tensor out = take_places(x, places, at);
  return input.dim() == 0 ? reshape(out, Shape{}) : out;
}

static Tensor put_along(const Tensor& input, int64_t dim, const Tensor& index, const Tensor& source, bool accumulate,
                        bool fill, const char* op) {
  const Tensor x = at_least_1d(input);
  const Places places = places_along(x, dim, index, op);
  const Shape need = places.result(x.sizes());
  const Tensor values = fill ? to_device(source, x.device()) : at_least_1d(source);
  LM_CHECK(fill || values.sizes() == need, ValueError, op, ": the source has shape ", source.sizes(), ", the input ",
           input.sizes(), " and ", index.numel(), " indices in dimension ", places.dim, "; need a source of shape ",
           need);
  const Tensor at = checked_index(index, x.size(places.dim), fill, places.dim, op);
  const Tensor out = put_places(x, places, at, cast(values, x.dtype()), accumulate);
  return input.dim() == 0 ? reshape(out, Shape{}) : out;
}

static void check_same_dtype(const Tensor& input, const Tensor& source, const char* op) {
  LM_CHECK(input.dtype() == source.dtype(), TypeError, op, ": the input is ", input.dtype(), ", the source ",
           source.dtype(), "; need the same dtype");
}

Tensor index_add(const Tensor& input, int64_t dim, const Tensor& index, const Tensor& source, const Scalar& alpha) {
  check_same_dtype(input, source, "index_add");
  const bool plain = alpha.to_double() == 1;
  return put_along(input, dim, index, plain ? source : mul(source, alpha.tensor()), true, false, "index_add");
}
Tensor index_copy(const Tensor& input, int64_t dim, const Tensor& index, const Tensor& source) {
  check_same_dtype(input, source, "index_copy");
  return put_along(input, dim, index, source, false, false, "index_copy");
}
Tensor index_fill(const Tensor& input, int64_t dim, const Tensor& index, const Operand& value) {
  LM_CHECK(value.dim() == 0, ValueError, "index_fill: the value has shape ", value.sizes(),
           "; need a number or a 0-d tensor");
  return put_along(input, dim, index, value, false, true, "index_fill");
}

Tensor take(const Tensor& input, const Tensor& index) {
  const Tensor x = reshape(input, Shape{-1});
  return take_places(x, {0, 1, index.sizes()}, checked_index(index, x.numel(), true, 0, "take"));
}

Tensor put(const Tensor& input, const Tensor& index, const Tensor& source, bool accumulate) {
  check_same_dtype(input, source, "put");
  LM_CHECK(source.numel() == index.numel(), ValueError, "put: the source has ", source.numel(), " elements, the index ",
           index.numel(), "; need as many");
  const Tensor x = reshape(input, Shape{-1});
  const Tensor at = checked_index(index, x.numel(), true, 0, "put");
  return reshape(put_places(x, {0, 1, index.sizes()}, at, reshape(source, index.sizes()), accumulate), input.sizes());
}

Tensor index_put(const Tensor& input, const TensorList& indices, const Tensor& values, bool accumulate) {
  std::vector<Index> index;
  for (const Tensor& at : indices) index.push_back(Index::of(at));
  Tensor y = clone(input);
  index_put(y, index, values, accumulate);
  return y;
}

Tensor masked_select(const Tensor& input, const Tensor& mask) {
  LM_CHECK(mask.dtype() == DType::Bool, TypeError, "masked_select: the mask has dtype ", mask.dtype(), "; need bool");
  const Shape sizes = broadcast(input.sizes(), mask.sizes(), "masked_select");
  const Tensor x = reshape(expand(input, sizes), Shape{-1});
  const Tensor at = flat_nonzero(expand(mask, sizes));
  return take_places(x, {0, 1, at.sizes()}, at);
}

Tensor masked_fill(const Tensor& input, const Tensor& mask, const Operand& value) {
  LM_CHECK(mask.dtype() == DType::Bool, TypeError, "masked_fill: the mask has dtype ", mask.dtype(), "; need bool");
  LM_CHECK(value.dim() == 0, ValueError, "masked_fill: the value has shape ", value.sizes(),
           "; need a number or a 0-d tensor");
  LM_CHECK(input.is_floating() || !value.is_floating(), TypeError, "masked_fill: the value is ", value.dtype(),
           ", which cannot be stored in a tensor of ", input.dtype());
  return where(mask, cast(value, input.dtype()), input);
}

Tensor masked_scatter(const Tensor& input, const Tensor& mask, const Tensor& source) {
  LM_CHECK(mask.dtype() == DType::Bool, TypeError, "masked_scatter: the mask has dtype ", mask.dtype(), "; need bool");
  check_same_dtype(input, source, "masked_scatter");
  const Shape sizes = broadcast(input.sizes(), mask.sizes(), "masked_scatter");
  const Tensor at = flat_nonzero(expand(mask, sizes)), flat = reshape(source, Shape{-1});
  LM_CHECK(flat.numel() >= at.numel(), ValueError, "masked_scatter: the source has ", flat.numel(),
           " elements, the mask selects ", at.numel(), "; need at least as many");
  const Tensor x = reshape(expand(input, sizes), Shape{-1});
  return reshape(put_places(x, {0, 1, at.sizes()}, at, slice(flat, 0, 0, at.numel()), false), sizes);
}

}  // namespace lamina
