// Joining: cat, stack and their relatives, and grids of coordinates. The one idea: a join's gradient is the views that
// take it apart, and the other way round. Next: split.cpp (taking apart), arrange.cpp (repetition, flip, roll).
#include <algorithm>

#include "autograd/apply.h"
#include "ops/ops.h"

namespace lamina {
namespace {

// A view of [start, start + length) along `dim`, outside the tape.
Tensor part(const Tensor& x, int dim, int64_t start, int64_t length) {
  Shape sizes = x.sizes();
  sizes[dim] = length;
  return x.with_layout(sizes, x.strides(), x->offset + start * x.stride(dim));
}

struct Cat {
  static constexpr const char* kName = "cat";
  int dim;
  Shape sizes;
  std::vector<int64_t> lengths;  // of each input along dim; only when the tape is on
  Tensor forward(Ctx&, const TensorList& xs) const {
    Tensor out = empty_tensor(sizes, xs[0].dtype(), xs[0].device());
    int64_t at = 0;
    for (const Tensor& x : xs) {
      copy_into(part(out, dim, at, x.size(dim)), x);
      at += x.size(dim);
    }
    return out;
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const {
    Grads out(lengths.size());
    int64_t at = 0;
    for (size_t i = 0; i < lengths.size(); ++i) {
      if (ctx.needs(int(i))) out[i] = narrow(grad, dim, at, lengths[i]);
      at += lengths[i];
    }
    return out;
  }
};

struct Stack {
  static constexpr const char* kName = "stack";
  int dim;
  size_t count;
  Tensor forward(Ctx&, const TensorList& xs) const {
    Shape sizes = xs[0].sizes();
    sizes.insert(dim, int64_t(count));
    Tensor out = empty_tensor(sizes, xs[0].dtype(), xs[0].device());
    Shape strides = out.strides();
    int64_t step = strides[dim];
    strides.erase(dim);
    for (size_t i = 0; i < count; ++i) copy_into(out.with_layout(xs[0].sizes(), strides, int64_t(i) * step), xs[i]);
    return out;
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const {
    Grads out(count);
    for (size_t i = 0; i < count; ++i)
      if (ctx.needs(int(i))) out[i] = lamina::select(grad, dim, int64_t(i));
    return out;
  }
};

// Casts all to their common type; checks that there are any, all on one device.
TensorList promoted(const TensorList& tensors, const char* op) {
  LM_CHECK(!tensors.empty(), ValueError, op, ": got no tensors; need at least one");
  DType dtype = result_type(tensors);
  TensorList out;
  out.reserve(tensors.size());
  for (const Tensor& x : tensors) {
    LM_CHECK(x.device() == tensors[0].device(), RuntimeError, op, ": tensors on ", tensors[0].device(), " and ",
             x.device(), "; need one device");
    out.push_back(cast(x, dtype));
  }
  return out;
}

}  // namespace

Tensor cat(const TensorList& tensors, int64_t dim) {
  TensorList xs = promoted(tensors, "cat");
  // As in PyTorch, tensors of shape (0,) join anything: they are what an empty list of rows looks like.
  if (std::any_of(xs.begin(), xs.end(), [](const Tensor& x) { return x.dim() != 1; }))
    std::erase_if(xs, [](const Tensor& x) { return x.dim() == 1 && x.size(0) == 0; });
  const Tensor& first = xs[0];
  LM_CHECK(first.dim() > 0, ValueError,
           "cat: tensors of shape () cannot be joined; need at least 1 dimension (or stack)");
  Cat op{wrap_dim(dim, first.dim(), "cat"), first.sizes(), {}};
  op.sizes[op.dim] = 0;
  for (size_t i = 0; i < xs.size(); ++i) {
    const Tensor& x = xs[i];
    bool fits = x.dim() == first.dim();
    for (int d = 0; fits && d < x.dim(); ++d) fits = d == op.dim || x.size(d) == first.size(d);
    LM_CHECK(fits, ValueError, "cat: tensors 0 and ", i, " have shapes ", first.sizes(), " and ", x.sizes(),
             "; need equal sizes except in dim ", op.dim);
    op.sizes[op.dim] += x.size(op.dim);
    if (grad_enabled()) op.lengths.push_back(x.size(op.dim));
  }
  return lamina::apply(op, xs);
}
Tensor concat(const TensorList& tensors, int64_t dim) { return cat(tensors, dim); }
Tensor concatenate(const TensorList& tensors, int64_t dim) { return cat(tensors, dim); }

Tensor stack(const TensorList& tensors, int64_t dim) {
  TensorList xs = promoted(tensors, "stack");
  for (size_t i = 1; i < xs.size(); ++i)
    LM_CHECK(xs[i].sizes() == xs[0].sizes(), ValueError, "stack: tensors 0 and ", i, " have shapes ", xs[0].sizes(),
             " and ", xs[i].sizes(), "; need equal shapes");
  return lamina::apply(Stack{wrap_dim(dim, xs[0].dim() + 1, "stack"), xs.size()}, xs);
}

template <class F>
static TensorList each(const TensorList& tensors, F&& f) {
  TensorList out;
  out.reserve(tensors.size());
  for (const Tensor& x : tensors) out.push_back(f(x));
  return out;
}
Tensor hstack(const TensorList& tensors) {
  LM_CHECK(!tensors.empty(), ValueError, "hstack: got no tensors; need at least one");
  TensorList xs = each(tensors, atleast_1d);
  return cat(xs, xs[0].dim() == 1 ? 0 : 1);
}
Tensor vstack(const TensorList& tensors) { return cat(each(tensors, atleast_2d), 0); }
Tensor dstack(const TensorList& tensors) { return cat(each(tensors, atleast_3d), 2); }
Tensor column_stack(const TensorList& tensors) {
  return hstack(
      each(tensors, [](const Tensor& x) { return x.dim() > 1 ? x : reshape(x, Sizes(Shape{x.numel(), 1})); }));
}

// --- grids ---

TensorList meshgrid(const Tensors& tensors, const std::string& indexing) {
  LM_CHECK(indexing == "ij" || indexing == "xy", ValueError, "meshgrid: indexing is '", indexing,
           "'; need 'ij' or 'xy'");
  LM_CHECK(!tensors.empty(), TypeError, "meshgrid: got no tensors; need at least one");
  int n = int(tensors.size());
  bool swap = indexing == "xy" && n >= 2;
  Shape sizes;
  for (const Tensor& x : tensors) {
    LM_CHECK(x.dim() <= 1, ValueError, "meshgrid: a tensor has shape ", x.sizes(), "; need 0 or 1 dimension");
    sizes.push_back(x.numel());
  }
  TensorList out;
  for (int i = 0; i < n; ++i) {
    Shape alone(n, 1);
    alone[i] = sizes[i];
    Tensor grid = expand(reshape(tensors[size_t(i)], Sizes(alone)), Sizes(sizes));
    out.push_back(swap ? transpose(grid, 0, 1) : grid);
  }
  return out;
}

Tensor cartesian_prod(const Tensors& tensors) {
  LM_CHECK(!tensors.empty(), TypeError, "cartesian_prod: got no tensors; need at least one");
  for (const Tensor& x : tensors)
    LM_CHECK(x.dim() == 1, ValueError, "cartesian_prod: a tensor has shape ", x.sizes(), "; need 1 dimension");
  if (tensors.size() == 1) return tensors[0];
  return stack(each(meshgrid(tensors, "ij"), ravel), 1);
}

}  // namespace lamina
