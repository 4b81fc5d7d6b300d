// Views that keep every element: reshape, transpose, expand, squeeze and their relatives. The one idea: a view is other
// sizes and strides over the same storage, and its gradient is the opposite view (or, for expand, a sum). Next:
// slice.cpp (views of a part), join.cpp (the opposite: parts made one).
#include <algorithm>

#include "autograd/apply.h"
#include "ops/ops.h"

namespace lamina {
namespace {

// Other sizes over the same elements in the same order.
struct View {
  static constexpr const char* kName = "view";
  Shape sizes, strides, input;
  Tensor forward(Ctx&, const Tensor& x) const { return x.with_layout(sizes, strides, x->offset); }
  Grads backward(Ctx&, const Tensor& grad) const { return {reshape(grad, Sizes(input))}; }
};

struct ReshapeCopy {
  static constexpr const char* kName = "reshape";
  Shape sizes, input;
  Tensor forward(Ctx&, const Tensor& x) const {
    Tensor out = empty_tensor(sizes, x.dtype(), x.device());
    copy_into(from_storage(out->storage, input, row_major(input), x.dtype()), x);
    return out;
  }
  Grads backward(Ctx&, const Tensor& grad) const { return {reshape(grad, Sizes(input))}; }
};

struct Transpose {
  static constexpr const char* kName = "transpose";
  int a, b;
  Tensor forward(Ctx&, const Tensor& x) const {
    Shape sizes = x.sizes(), strides = x.strides();
    std::swap(sizes[a], sizes[b]);
    std::swap(strides[a], strides[b]);
    return x.with_layout(sizes, strides, x->offset);
  }
  Grads backward(Ctx&, const Tensor& grad) const { return {apply(Transpose{a, b}, grad)}; }
};

struct Permute {
  static constexpr const char* kName = "permute";
  Shape dims;
  Tensor forward(Ctx&, const Tensor& x) const {
    Shape sizes(x.dim(), 0), strides(x.dim(), 0);
    for (int i = 0; i < x.dim(); ++i) {
      sizes[i] = x.size(int(dims[i]));
      strides[i] = x.stride(int(dims[i]));
    }
    return x.with_layout(sizes, strides, x->offset);
  }
  Grads backward(Ctx&, const Tensor& grad) const {
    Shape inverse(dims.size(), 0);
    for (int i = 0; i < dims.size(); ++i) inverse[int(dims[i])] = i;
    return {apply(Permute{inverse}, grad)};
  }
};

struct Expand {
  static constexpr const char* kName = "expand";
  Shape sizes, input;
  Tensor forward(Ctx&, const Tensor& x) const {
    return x.with_layout(sizes, broadcast_strides(input, x.strides(), sizes), x->offset);
  }
  Grads backward(Ctx&, const Tensor& grad) const { return {sum_to(grad, input)}; }
};

// The bits of an element read as another type.
struct ViewBits {
  static constexpr const char* kName = "view";
  DType dtype;
  Shape sizes, strides;
  int64_t offset;
  Tensor forward(Ctx&, const Tensor& x) const {
    Tensor out = x.with_layout(sizes, strides, offset);
    out->dtype = dtype;
    return out;
  }
};

// Replaces one -1 by what the number of elements leaves for it.
Shape infer_sizes(Shape sizes, const Tensor& x, const char* op) {
  int unknown = -1;
  int64_t known = 1, numel = x.numel();
  for (int i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == -1) {
      LM_CHECK(unknown < 0, ValueError, op, ": the shape ", sizes,
               " has more than one -1; only one size can be inferred");
      unknown = i;
    } else {
      LM_CHECK(sizes[i] >= 0, ValueError, op, ": negative size in ", sizes, "; need sizes >= 0, or one -1");
      LM_CHECK(!__builtin_mul_overflow(known, sizes[i], &known), ValueError, op, ": the number of elements of ", sizes,
               " does not fit in 64 bits");
    }
  }
  if (unknown >= 0) {
    LM_CHECK(known > 0, ValueError, op, ": cannot infer -1 in ", sizes, " beside a size of 0; the tensor has shape ",
             x.sizes());
    LM_CHECK(numel % known == 0, ValueError, op, ": ", numel, " elements of shape ", x.sizes(), " do not divide into ",
             sizes, "; need a multiple of ", known);
    sizes[unknown] = numel / known;
  } else {
    LM_CHECK(known == numel, ValueError, op, ": a tensor of shape ", x.sizes(), " has ", numel, " elements, ", sizes,
             " has ", known, "; need equal numbers");
  }
  return sizes;
}

// Strides that read x's memory as `sizes`, if there are any. Works from the last dimension: x is a sequence of blocks,
// each contiguous in itself, and every new dimension must lie within one of them.
bool view_strides(const Tensor& x, const Shape& sizes, Shape& strides) {
  strides = row_major(sizes);
  if (x.is_contiguous() || x.numel() == 0) return true;
  int d = x.dim();
  int64_t left = 1, stride = 1;  // elements of the current block not yet used, and the step between them
  for (int i = sizes.size() - 1; i >= 0; --i) {
    if (sizes[i] != 1 && left == 1) {
      while (x.size(--d) == 1) {
      }
      left = x.size(d);
      stride = x.stride(d);
      for (; d > 0 && (x.size(d - 1) == 1 || x.stride(d - 1) == stride * left); --d) left *= x.size(d - 1);
    }
    if (left % sizes[i]) return false;
    strides[i] = stride;
    stride *= sizes[i];
    left /= sizes[i];
  }
  return true;
}

Tensor view_as_sizes(const Tensor& x, const Shape& sizes, const Shape& strides) {
  return apply(View{sizes, strides, x.sizes()}, x);
}

// Each of `dims` wrapped; no repetition.
Shape wrap_dims(const Shape& dims, int n, const char* op) {
  Shape out = dims;
  uint32_t seen = 0;
  for (int64_t& d : out) {
    d = wrap_dim(d, n, op);
    LM_CHECK(!(seen >> d & 1), ValueError, op, ": dim ", d, " appears twice in ", dims, "; need distinct dims");
    seen |= 1u << d;
  }
  return out;
}

}  // namespace

Tensor reshape(const Tensor& input, const Sizes& shape) {
  Shape sizes = infer_sizes(shape, input, "reshape"), strides;
  if (view_strides(input, sizes, strides)) return view_as_sizes(input, sizes, strides);
  return apply(ReshapeCopy{sizes, input.sizes()}, input);
}

Tensor view(const Tensor& input, const Sizes& size) {
  Shape sizes = infer_sizes(size, input, "view"), strides;
  const bool possible = view_strides(input, sizes, strides);
  // conv(x).view(n, -1) is what scripts write: PyTorch's result is row-major there, ours is not, so it is copied.
  if (!possible && is_channels_last(input)) return apply(ReshapeCopy{sizes, input.sizes()}, input);
  LM_CHECK(possible, ValueError, "view: a tensor of shape ", input.sizes(), " with strides ", input.strides(),
           " cannot be read as ", sizes, " without a copy; use reshape()");
  return view_as_sizes(input, sizes, strides);
}

Tensor view(const Tensor& input, DType dtype) {
  if (dtype == input.dtype()) return view_as_sizes(input, input.sizes(), input.strides());
  int64_t from = input.itemsize(), to = item_size(dtype);
  Shape sizes = input.sizes(), strides = input.strides();
  int64_t offset = input->offset;
  if (from != to) {
    LM_CHECK(sizes.size() > 0 && strides.back() == 1, ValueError, "view: ", input.dtype(), " to ", dtype,
             " changes the element size from ", from, " to ", to,
             " bytes; need a last dimension of stride 1, got shape ", sizes, " and strides ", strides);
    int64_t bytes = sizes.back() * from;
    bool whole = bytes % to == 0 && offset * from % to == 0;
    for (int i = 0; i + 1 < sizes.size(); ++i) {
      whole &= strides[i] * from % to == 0;
      strides[i] = strides[i] * from / to;
    }
    LM_CHECK(whole, ValueError, "view: ", input.dtype(), " to ", dtype,
             " needs sizes, strides and offset that divide by ", to / from, "; got shape ", input.sizes(), ", strides ",
             input.strides(), ", offset ", input->offset);
    sizes.back() = bytes / to;
    offset = offset * from / to;
  }
  return apply(ViewBits{dtype, sizes, strides, offset}, input);
}

Tensor view_as(const Tensor& input, const Tensor& other) { return view(input, Sizes(other.sizes())); }
Tensor reshape_as(const Tensor& input, const Tensor& other) { return reshape(input, Sizes(other.sizes())); }

Tensor transpose(const Tensor& input, int64_t dim0, int64_t dim1) {
  int a = wrap_dim(dim0, input.dim(), "transpose"), b = wrap_dim(dim1, input.dim(), "transpose");
  if (input.dim() == 0) return view_as_sizes(input, {}, {});
  return apply(Transpose{a, b}, input);
}
Tensor swapaxes(const Tensor& input, int64_t axis0, int64_t axis1) { return transpose(input, axis0, axis1); }
Tensor swapdims(const Tensor& input, int64_t dim0, int64_t dim1) { return transpose(input, dim0, dim1); }

Tensor t(const Tensor& input) {
  LM_CHECK(input.dim() <= 2, ValueError, "t: the tensor has shape ", input.sizes(), ", ", input.dim(),
           " dimensions; need at most 2");
  if (input.dim() < 2) return view_as_sizes(input, input.sizes(), input.strides());
  return apply(Transpose{0, 1}, input);
}

Tensor permute(const Tensor& input, const Sizes& dims) {
  LM_CHECK(dims.size() == input.dim(), ValueError, "permute: dims ", dims, " has ", dims.size(),
           " entries, the tensor ", input.sizes(), " has ", input.dim(), " dimensions; need one entry per dimension");
  return apply(Permute{wrap_dims(dims, input.dim(), "permute")}, input);
}

Tensor movedim(const Tensor& input, const Shape& source, const Shape& destination) {
  int n = input.dim();
  LM_CHECK(source.size() == destination.size(), ValueError, "movedim: source ", source, " and destination ",
           destination, " have ", source.size(), " and ", destination.size(), " entries; need equal numbers");
  Shape from = wrap_dims(source, n, "movedim"), to = wrap_dims(destination, n, "movedim"), dims(n, -1);
  uint32_t moved = 0;
  if (n == 0) return view_as_sizes(input, {}, {});
  for (int i = 0; i < from.size(); ++i) {
    dims[int(to[i])] = from[i];
    moved |= 1u << from[i];
  }
  int next = 0;  // the others keep their order in the places left
  for (int64_t& d : dims) {
    if (d >= 0) continue;
    while (moved >> next & 1) ++next;
    d = next++;
  }
  return apply(Permute{dims}, input);
}
Tensor moveaxis(const Tensor& input, const Shape& source, const Shape& destination) {
  return movedim(input, source, destination);
}

Tensor expand(const Tensor& input, const Sizes& size) {
  Shape sizes = size;
  int lead = sizes.size() - input.dim();
  LM_CHECK(lead >= 0, ValueError, "expand: ", size, " has ", size.size(), " sizes, the tensor ", input.sizes(), " has ",
           input.dim(), " dimensions; need at least as many");
  for (int i = 0; i < sizes.size(); ++i) {
    int64_t have = i < lead ? 1 : input.size(i - lead);
    if (sizes[i] == -1 && i >= lead) sizes[i] = have;
    LM_CHECK(sizes[i] >= 0, ValueError, "expand: size ", sizes[i], " at position ", i, " of ", size,
             " for a tensor of shape ", input.sizes(), "; need sizes >= 0, or -1 for an existing dimension");
    LM_CHECK(sizes[i] == have || have == 1, ValueError, "expand: a tensor of shape ", input.sizes(),
             " cannot be expanded to ", size, ": dimension ", i, " is ", have, " and should be ", sizes[i],
             "; need equal sizes or 1");
  }
  checked_numel(sizes, "expand");
  return apply(Expand{sizes, input.sizes()}, input);
}
Tensor expand_as(const Tensor& input, const Tensor& other) { return expand(input, Sizes(other.sizes())); }
Tensor broadcast_to(const Tensor& input, const Sizes& size) { return expand(input, size); }

TensorList broadcast_tensors(const Tensors& tensors) {
  LM_CHECK(!tensors.empty(), TypeError, "broadcast_tensors: got no tensors; need at least one");
  TensorList out;
  Shape sizes;
  for (const Tensor& x : tensors) sizes = broadcast(sizes, x.sizes(), "broadcast_tensors");
  for (const Tensor& x : tensors) out.push_back(expand(x, Sizes(sizes)));
  return out;
}

// Drops the dimensions of size 1 in `mask`.
static Tensor squeeze_mask(const Tensor& x, uint32_t mask) {
  Shape sizes, strides;
  for (int i = 0; i < x.dim(); ++i) {
    if ((mask >> i & 1) && x.size(i) == 1) continue;
    sizes.push_back(x.size(i));
    strides.push_back(x.stride(i));
  }
  return view_as_sizes(x, sizes, strides);
}
Tensor squeeze(const Tensor& input) { return squeeze_mask(input, ~0u); }
Tensor squeeze(const Tensor& input, const Shape& dim) {
  uint32_t mask = 0;
  for (int64_t d : wrap_dims(dim, input.dim(), "squeeze")) mask |= 1u << d;
  return squeeze_mask(input, mask);
}

Tensor unsqueeze(const Tensor& input, int64_t dim) {
  int at = wrap_dim(dim, input.dim() + 1, "unsqueeze");
  Shape sizes = input.sizes(), strides = input.strides();
  const int64_t step = at < input.dim() ? input.size(at) * input.stride(at) : 1;
  strides.insert(at, step);
  sizes.insert(at, 1);
  return view_as_sizes(input, sizes, strides);
}

Tensor flatten(const Tensor& input, int64_t start_dim, int64_t end_dim) {
  int start = wrap_dim(start_dim, input.dim(), "flatten"), end = wrap_dim(end_dim, input.dim(), "flatten");
  LM_CHECK(start <= end, ValueError, "flatten: start_dim ", start_dim, " comes after end_dim ", end_dim,
           " in a tensor of shape ", input.sizes(), "; need start_dim <= end_dim");
  if (input.dim() == 0) return reshape(input, Sizes(Shape{1}));
  if (start == end) return input;
  Shape sizes;
  for (int i = 0; i < input.dim(); ++i)
    if (i > start && i <= end)
      sizes.back() *= input.size(i);
    else
      sizes.push_back(input.size(i));
  return reshape(input, Sizes(sizes));
}

Tensor unflatten(const Tensor& input, int64_t dim, const Shape& sizes) {
  int at = wrap_dim(dim, input.dim(), "unflatten");
  LM_CHECK(input.dim() > 0 && sizes.size() > 0, ValueError, "unflatten: a tensor of shape ", input.sizes(),
           " and sizes ", sizes, "; need at least one dimension and one size");
  int64_t known = 1, unknown = 0;
  bool valid = true;
  for (int64_t s : sizes) {
    if (s == -1)
      ++unknown;
    else
      valid &= s >= 0 && !__builtin_mul_overflow(known, s, &known);
  }
  LM_CHECK(valid && unknown <= 1 && (unknown ? known > 0 && input.size(at) % known == 0 : known == input.size(at)),
           ValueError, "unflatten: sizes ", sizes, " do not multiply to ", input.size(at), ", the size of dim ", at,
           " of ", input.sizes());
  Shape out;
  for (int i = 0; i < at; ++i) out.push_back(input.size(i));
  for (int64_t s : sizes) out.push_back(s == -1 ? input.size(at) / known : s);
  for (int i = at + 1; i < input.dim(); ++i) out.push_back(input.size(i));
  return view(input, Sizes(out));  // splitting one dimension never needs a copy
}

Tensor ravel(const Tensor& input) { return reshape(input, Sizes(Shape{-1})); }

Tensor atleast_1d(const Tensor& input) { return input.dim() >= 1 ? input : reshape(input, Sizes(Shape{1})); }
Tensor atleast_2d(const Tensor& input) { return input.dim() >= 2 ? input : unsqueeze(atleast_1d(input), 0); }
Tensor atleast_3d(const Tensor& input) { return input.dim() >= 3 ? input : unsqueeze(atleast_2d(input), -1); }

}  // namespace lamina
