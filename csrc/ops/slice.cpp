// Views of a part: select, slices, diagonals, sliding windows. The one idea: the gradient of such a view is zeros of
// the input's shape with the gradient added where the view reads, and the gradient of that is the view again
// (ViewGrad).
#include <algorithm>

#include "autograd/apply.h"
#include "kernel/copy.h"
#include "ops/ops.h"

namespace lamina {
namespace {

// dst += src for layouts where one element of dst may be reached many times. Halves are summed by the caller in float.
void add_strided(const Tensor& dst, const Tensor& src) {
  kernel::add_strided(stream_of(dst.device()), dst.dtype(), dst.dim(), dst.sizes().data(), dst.data(),
                      dst.strides().data(), src.data(), src.strides().data());
}

// The opposite of view V over an input of `sizes`.
template <class V>
struct ViewGrad {
  static constexpr const char* kName = V::kGradName;
  V view;
  Tensor forward(Ctx& ctx, const Tensor& grad) const {
    bool overlaps = view.overlaps();
    DType dtype = overlaps ? compute_type(grad.dtype()) : grad.dtype();
    Tensor out = full_tensor(view.input, 0, dtype, grad.device());
    if (!overlaps)
      copy_into(view.forward(ctx, out), grad);
    else
      add_strided(view.forward(ctx, out), cast(grad, dtype));
    return cast(out, grad.dtype());
  }
  Grads backward(Ctx&, const Tensor& grad) const { return {apply(view, grad)}; }
};

template <class V>
Grads view_backward(const V& view, const Tensor& grad) {
  return {apply(ViewGrad<V>{view}, grad)};
}

struct Select {
  static constexpr const char* kName = "select";
  static constexpr const char* kGradName = "select_backward";
  int dim;
  int64_t index;
  Shape input;
  static bool overlaps() { return false; }
  Tensor forward(Ctx&, const Tensor& x) const {
    Shape sizes = x.sizes(), strides = x.strides();
    sizes.erase(dim);
    strides.erase(dim);
    return x.with_layout(sizes, strides, x->offset + index * x.stride(dim));
  }
  Grads backward(Ctx&, const Tensor& grad) const { return view_backward(*this, grad); }
};

struct Slice {
  static constexpr const char* kName = "slice";
  static constexpr const char* kGradName = "slice_backward";
  int dim;
  int64_t start, length, step;
  Shape input;
  static bool overlaps() { return false; }
  Tensor forward(Ctx&, const Tensor& x) const {
    Shape sizes = x.sizes(), strides = x.strides();
    sizes[dim] = length;
    strides[dim] *= step;
    return x.with_layout(sizes, strides, x->offset + (length ? start * x.stride(dim) : 0));
  }
  Grads backward(Ctx&, const Tensor& grad) const { return view_backward(*this, grad); }
};

struct Diagonal {
  static constexpr const char* kName = "diagonal";
  static constexpr const char* kGradName = "diag_embed";
  int64_t offset;
  int dim1, dim2;
  Shape input;
  static bool overlaps() { return false; }
  Tensor forward(Ctx&, const Tensor& x) const {
    int64_t rows = x.size(dim1), columns = x.size(dim2), start = 0;
    int64_t length =
        std::max<int64_t>(0, offset >= 0 ? std::min(rows, columns - offset) : std::min(rows + offset, columns));
    if (length) start = offset >= 0 ? offset * x.stride(dim2) : -offset * x.stride(dim1);
    Shape sizes = x.sizes(), strides = x.strides();
    int64_t step = strides[dim1] + strides[dim2];
    for (int d : {std::max(dim1, dim2), std::min(dim1, dim2)}) {
      sizes.erase(d);
      strides.erase(d);
    }
    sizes.push_back(length);
    strides.push_back(step);
    return x.with_layout(sizes, strides, x->offset + start);
  }
  Grads backward(Ctx&, const Tensor& grad) const { return view_backward(*this, grad); }
};

struct Unfold {  // (..., n, ...) -> (..., windows, ..., size)
  static constexpr const char* kName = "unfold";
  static constexpr const char* kGradName = "unfold_backward";
  int dim;
  int64_t size, step;
  Shape input;
  bool overlaps() const { return step < size; }
  Tensor forward(Ctx&, const Tensor& x) const {
    Shape sizes = x.sizes(), strides = x.strides();
    int64_t stride = x.dim() ? x.stride(dim) : 1;
    if (x.dim()) {
      sizes[dim] = (sizes[dim] - size) / step + 1;
      strides[dim] = stride * step;
    }
    sizes.push_back(size);
    strides.push_back(stride);
    return x.with_layout(sizes, strides, x->offset);
  }
  Grads backward(Ctx&, const Tensor& grad) const { return view_backward(*this, grad); }
};

// A window on a buffer, `offset` relative to the buffer's first element.
struct Window {
  Shape sizes, strides;
  int64_t offset;
  int64_t last() const {
    int64_t at = offset;
    for (int i = 0; i < sizes.size(); ++i) at += (sizes[i] - 1) * strides[i];
    return at;
  }
};

// Adds x into a zero buffer through one window and reads it back through another; its gradient is the way back.
struct Rewindow {
  static constexpr const char* kName = "as_strided_backward";
  Window from, to;
  Tensor forward(Ctx&, const Tensor& x) const {
    DType dtype = compute_type(x.dtype());
    bool nothing = from.sizes.numel() == 0 || to.sizes.numel() == 0;
    int64_t length = nothing ? 0 : std::max(from.last(), to.last()) + 1;
    Tensor out = full_tensor(to.sizes, 0, dtype, x.device());
    if (nothing) return cast(out, x.dtype());
    Tensor buffer = full_tensor({length}, 0, dtype, x.device());
    add_strided(buffer.with_layout(from.sizes, from.strides, from.offset), cast(x, dtype));
    copy_into(out, buffer.with_layout(to.sizes, to.strides, to.offset));
    return cast(out, x.dtype());
  }
  Grads backward(Ctx&, const Tensor& grad) const { return {apply(Rewindow{to, from}, grad)}; }
};

struct AsStrided {
  static constexpr const char* kName = "as_strided";
  Window input, output;  // offsets in the storage
  Tensor forward(Ctx&, const Tensor& x) const { return x.with_layout(output.sizes, output.strides, output.offset); }
  Grads backward(Ctx&, const Tensor& grad) const {
    Window to = input, from = output;
    int64_t first = std::min(to.offset, from.offset);
    to.offset -= first;
    from.offset -= first;
    return {apply(Rewindow{from, to}, grad)};
  }
};

bool repeats_elements(const Tensor& x) {
  for (int i = 0; i < x.dim(); ++i)
    if (x.size(i) > 1 && x.stride(i) == 0) return true;
  return false;
}

}  // namespace

Tensor select(const Tensor& input, int64_t dim, int64_t index) {
  LM_CHECK(input.dim() > 0, IndexError, "select: a tensor of shape () has no dimension to select from; got dim ", dim,
           ", index ", index);
  int d = wrap_dim(dim, input.dim(), "select");
  int64_t size = input.size(d);
  LM_CHECK(-size <= index && index < size, IndexError, "select: index ", index, " is out of range for dim ", d,
           " of size ", size, "; need ", -size, " <= index < ", size);
  return apply(Select{d, index < 0 ? index + size : index, input.sizes()}, input);
}

Tensor slice(const Tensor& input, int64_t dim, int64_t start, int64_t end, int64_t step) {
  LM_CHECK(input.dim() > 0, IndexError, "slice: a tensor of shape () cannot be sliced");
  int d = wrap_dim(dim, input.dim(), "slice");
  LM_CHECK(step > 0, ValueError, "slice: step is ", step, "; need a step > 0 (flip() reverses)");
  int64_t size = input.size(d);
  auto clip = [size](int64_t i) { return std::clamp(i < 0 ? i + size : i, int64_t(0), size); };
  start = clip(start);
  int64_t length = std::max<int64_t>(0, (clip(end) - start + step - 1) / step);
  return apply(Slice{d, start, length, step, input.sizes()}, input);
}

Tensor narrow(const Tensor& input, int64_t dim, int64_t start, int64_t length) {
  LM_CHECK(input.dim() > 0, ValueError, "narrow: a tensor of shape () cannot be narrowed");
  int d = wrap_dim(dim, input.dim(), "narrow");
  int64_t size = input.size(d), first = start < 0 ? start + size : start;
  LM_CHECK(0 <= first && first <= size, IndexError, "narrow: start ", start, " is out of range for dim ", d,
           " of size ", size, "; need ", -size, " <= start <= ", size);
  LM_CHECK(length >= 0 && length <= size - first, ValueError, "narrow: start ", start, " and length ", length,
           " exceed dim ", d, " of size ", size, "; need 0 <= length <= ", size - first);
  return apply(Slice{d, first, length, 1, input.sizes()}, input);
}

Tensor diagonal(const Tensor& input, int64_t offset, int64_t dim1, int64_t dim2) {
  int a = wrap_dim(dim1, input.dim(), "diagonal"), b = wrap_dim(dim2, input.dim(), "diagonal");
  LM_CHECK(a != b, ValueError, "diagonal: dim1 ", dim1, " and dim2 ", dim2, " are the same dimension of ",
           input.sizes(), "; need two");
  return apply(Diagonal{offset, a, b, input.sizes()}, input);
}

Tensor diag_embed(const Tensor& input, int64_t offset, int64_t dim1, int64_t dim2) {
  LM_CHECK(input.dim() > 0, ValueError, "diag_embed: the tensor has shape (); need at least 1 dimension");
  int n = input.dim() + 1, a = wrap_dim(dim1, n, "diag_embed"), b = wrap_dim(dim2, n, "diag_embed");
  LM_CHECK(a != b, ValueError, "diag_embed: dim1 ", dim1, " and dim2 ", dim2, " are the same dimension; need two");
  int64_t side = input.size(-1) + std::abs(offset);
  Shape sizes = input.sizes();
  sizes.erase(input.dim() - 1);
  sizes.insert(std::min(a, b), side);
  sizes.insert(std::max(a, b), side);
  return apply(ViewGrad<Diagonal>{{offset, a, b, sizes}}, input);
}

Tensor diag(const Tensor& input, int64_t diagonal) {
  LM_CHECK(input.dim() == 1 || input.dim() == 2, ValueError, "diag: the tensor has shape ", input.sizes(),
           "; need 1 dimension (makes a matrix) or 2 (takes its diagonal)");
  return input.dim() == 1 ? diag_embed(input, diagonal, 0, 1) : clone(lamina::diagonal(input, diagonal, 0, 1));
}

Tensor unfold(const Tensor& input, int64_t dimension, int64_t size, int64_t step) {
  int d = wrap_dim(dimension, input.dim(), "unfold");
  int64_t n = input.dim() ? input.size(d) : 1;
  LM_CHECK(size >= 0 && size <= n, ValueError, "unfold: size ", size, " for dim ", d, " of size ", n,
           "; need 0 <= size <= ", n);
  LM_CHECK(step > 0, ValueError, "unfold: step is ", step, "; need step > 0");
  return apply(Unfold{d, size, step, input.sizes()}, input);
}

Tensor as_strided(const Tensor& input, const Shape& size, const Shape& stride, std::optional<int64_t> storage_offset) {
  LM_CHECK(size.size() == stride.size(), ValueError, "as_strided: size ", size, " and stride ", stride, " have ",
           size.size(), " and ", stride.size(), " entries; need equal numbers");
  Window window{size, stride, storage_offset.value_or(input->offset)};
  LM_CHECK(window.offset >= 0, ValueError, "as_strided: storage_offset is ", window.offset, "; need >= 0");
  for (int64_t s : stride)
    LM_CHECK(s >= 0, ValueError, "as_strided: negative stride in ", stride, "; need strides >= 0");
  int64_t available = int64_t(input->storage->nbytes) / input.itemsize();
  bool inside = checked_numel(size, "as_strided") == 0;
  if (!inside) {  // in 128 bits: sizes and strides are the user's
    __int128 last = window.offset;
    for (int i = 0; i < size.size(); ++i) last += __int128(size[i] - 1) * stride[i];
    inside = last < available;
  }
  LM_CHECK(inside, ValueError, "as_strided: size ", size, ", stride ", stride, " and storage_offset ", window.offset,
           " reach beyond the storage of ", available, " elements");
  LM_CHECK(!(grad_enabled() && wants_tape(input) && repeats_elements(input)), RuntimeError,
           "as_strided: the input of shape ", input.sizes(), " and strides ", input.strides(),
           " repeats elements, so its gradient is not defined; contiguous() it first");
  return apply(AsStrided{{input.sizes(), input.strides(), input->offset}, window}, input);
}

}  // namespace lamina
