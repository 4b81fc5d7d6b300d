// Reading x[...]: a list of Index becomes a strided view and, if tensors take part, one list of positions. See index.h
// for the pieces, index_ops.cpp for the operators that take and put.
#include "ops/index.h"

#include "autograd/apply.h"
#include "kernel/index.h"

namespace lamina {

Index Index::integer(int64_t at) {
  Index index;
  index.kind = kInteger;
  index.at = at;
  return index;
}
Index Index::slice(std::optional<int64_t> start, std::optional<int64_t> stop, int64_t step) {
  Index index;
  index.kind = kSlice;
  index.start = start;
  index.stop = stop;
  index.step = step;
  return index;
}
Index Index::none() {
  Index index;
  index.kind = kNone;
  return index;
}
Index Index::boolean(bool value) {
  Index index;
  index.kind = kBool;
  index.value = value;
  return index;
}
Index Index::of(Tensor tensor) {
  Index index;
  index.kind = kTensor;
  index.tensor = std::move(tensor);
  return index;
}

namespace {

// A view described without the strides of its source, so that it can be made again of a gradient.
struct BasicView {
  Shape sizes;        // of the view
  Shape from;         // per dimension of the view: the dimension of x, or -1 for a new one
  Shape start, step;  // per dimension of x

  Tensor of(const Tensor& x) const {
    Shape strides = sizes;
    int64_t offset = x->offset;
    for (int d = 0; d < start.size(); ++d) offset += start[d] * x.stride(d);
    for (int d = 0; d < sizes.size(); ++d) strides[d] = from[d] < 0 ? 0 : step[int(from[d])] * x.stride(int(from[d]));
    return x.with_layout(sizes, strides, offset);
  }
};

struct ViewOp {  // x[...]
  static constexpr const char* kName = "slice";
  BasicView view;
  Shape x_sizes;
  Tensor forward(Ctx&, const Tensor& x) const { return view.of(x); }
  Grads backward(Ctx&, const Tensor& grad) const;
};

struct PutViewOp {  // x with x[...] = value
  static constexpr const char* kName = "slice_put";
  BasicView view;
  Shape value_sizes;

  Tensor forward(Ctx&, const Tensor& x, const Tensor& value) const {
    Tensor y = empty_tensor(x.sizes(), x.dtype(), x.device());
    copy_into(y, x);
    copy_into(view.of(y), value);
    return y;
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const {
    Grads out(2);
    if (ctx.needs(0)) out[0] = apply(PutViewOp{view, {}}, grad, full_tensor({}, 0, grad.dtype(), grad.device()));
    if (ctx.needs(1)) out[1] = sum_to(apply(ViewOp{view, grad.sizes()}, grad), value_sizes);
    return out;
  }
};

Grads ViewOp::backward(Ctx&, const Tensor& grad) const {
  const Tensor zeros = full_tensor(x_sizes, 0, grad.dtype(), grad.device());
  return {apply(PutViewOp{view, grad.sizes()}, zeros, grad)};
}

// One tensor index: positions within `n` neighbouring dimensions of the view, starting at `dim`.
struct Advanced {
  int dim, n;
  int64_t extent;  // product of their sizes
  Tensor positions;
};

class Parser {
 public:
  Parser(const Tensor& x, std::span<const Index> indices) : x_(x) {
    const int used = count(indices);
    bool ellipsis = false;
    for (const Index& index : indices) {
      if (index.kind == Index::kEllipsis) {
        LM_CHECK(!ellipsis, IndexError, "index: an Ellipsis (...) appears twice; need at most one");
        ellipsis = true;
        for (int i = used; i < x.dim(); ++i) whole();
      } else {
        add(index);
      }
    }
    while (x_dim_ < x_.dim()) whole();
    if (!advanced_.empty()) join();
  }

  BasicView view;
  bool trivial = true;  // the view is x itself
  Places places;
  Tensor positions;  // undefined without tensors

 private:
  int count(std::span<const Index> indices) {
    int used = 0;
    for (const Index& index : indices) {
      if (index.kind == Index::kInteger || index.kind == Index::kSlice) ++used;
      if (index.kind == Index::kTensor) used += index.tensor.dtype() == DType::Bool ? index.tensor.dim() : 1;
    }
    LM_CHECK(used <= x_.dim(), IndexError, "index: got indices for ", used, " dimensions, the tensor of shape ",
             x_.sizes(), " has ", x_.dim(), "; need at most as many");
    return used;
  }

  // The next dimension of x: `size` elements from `start`.
  void dimension(int64_t start, int64_t step, int64_t size) {
    view.start.push_back(start);
    view.step.push_back(step);
    view.from.push_back(x_dim_++);
    view.sizes.push_back(size);
  }
  void whole() { dimension(0, 1, x_.size(x_dim_)); }
  void fresh(int64_t size) {
    view.from.push_back(-1);
    view.sizes.push_back(size);
    trivial = false;
  }

  void add(const Index& index) {
    switch (index.kind) {
      case Index::kInteger:
        return integer(index.at);
      case Index::kSlice:
        return slice(index);
      case Index::kNone:
        return fresh(1);
      case Index::kBool:
        return boolean(index.value);
      case Index::kTensor:
        return tensor(index.tensor);
      case Index::kEllipsis:
        return;
    }
  }

  void integer(int64_t at) {
    const int64_t size = x_.size(x_dim_);
    LM_CHECK(-size <= at && at < size, IndexError, "index: index ", at, " is out of range for dimension ", x_dim_,
             " of size ", size, "; need ", -size, " <= index < ", size);
    view.start.push_back(at < 0 ? at + size : at);
    view.step.push_back(1);
    ++x_dim_;
    trivial = false;
  }

  void slice(const Index& index) {
    const int64_t size = x_.size(x_dim_), step = index.step;
    LM_CHECK(step > 0, ValueError, "index: slice step is ", step, "; need step > 0 (flip() reverses a dimension)");
    auto clamp = [&](int64_t i) { return i < 0 ? (i + size < 0 ? 0 : i + size) : (i > size ? size : i); };
    const int64_t start = clamp(index.start.value_or(0)), stop = clamp(index.stop.value_or(size));
    const int64_t n = stop > start ? (stop - start - 1) / step + 1 : 0;
    trivial &= start == 0 && n == size;
    dimension(n ? start : 0, n > 1 ? step : 1, n);
  }

  void boolean(bool value) {  // a new dimension of size 1, taken or not
    advanced_.push_back({view.sizes.size(), 1, 1, full_tensor({value ? 1 : 0}, 0, DType::I64, x_.device())});
    fresh(1);
  }

  void tensor(const Tensor& given) {
    LM_CHECK(given.device() == x_.device() || given.device().is_cpu(), RuntimeError, "index: the index is on ",
             given.device(), ", the tensor on ", x_.device(), "; need the same device, or the cpu");
    const DType dtype = given.dtype();
    if (dtype == DType::Bool) return given.dim() == 0 ? boolean(given.item_int()) : mask(given);
    LM_CHECK(is_integral(dtype) && dtype != DType::U8, TypeError, "index: the index tensor has dtype ", dtype,
             "; need int64, another signed integer dtype, or bool for a mask");
    if (given.dim() == 0) return integer(given.item_int());
    const int64_t size = x_.size(x_dim_);
    advance(1, size, checked_index(given, size, true, x_dim_, "index"));
    whole();
  }

  void mask(const Tensor& index) {
    for (int d = 0; d < index.dim(); ++d)
      LM_CHECK(index.size(d) == x_.size(x_dim_ + d), IndexError, "index: the mask has shape ", index.sizes(),
               ", but dimension ", x_dim_ + d, " of the tensor of shape ", x_.sizes(), " has size ",
               x_.size(x_dim_ + d), "; need equal sizes");
    advance(index.dim(), index.numel(), flat_nonzero(index));
    for (int d = 0; d < index.dim(); ++d) whole();
  }

  // An index on the CPU is read there, where that needs no waiting, and only then brought to the tensor.
  void advance(int n, int64_t extent, const Tensor& positions) {
    advanced_.push_back({view.sizes.size(), n, extent, to_device(positions, x_.device())});
  }

  // Broadcasts the tensor indices together, brings their dimensions side by side (where they stood if they were
  // neighbours, to the front otherwise), and counts positions over all of them.
  void join() {
    places.shape = advanced_[0].positions.sizes();
    places.n = 0;
    for (const Advanced& part : advanced_) {
      places.shape = broadcast(places.shape, part.positions.sizes(), "index");
      places.n += part.n;
    }
    const Advanced& last = advanced_.back();
    places.dim = advanced_[0].dim;
    if (last.dim + last.n - places.dim != places.n) {
      move_to_front();
      places.dim = 0;
    }
    positions = advanced_[0].positions;
    if (advanced_.size() == 1) return;
    positions = empty_tensor(places.shape, DType::I64, x_.device());
    copy_into(positions, advanced_[0].positions);
    NoGrad guard;
    for (size_t i = 1; i < advanced_.size(); ++i)
      positions = lamina::add(mul(positions, Tensor(advanced_[i].extent)), advanced_[i].positions);
  }

  void move_to_front() {
    Shape sizes, from;
    uint32_t indexed = 0;
    for (const Advanced& part : advanced_) indexed |= ((1u << part.n) - 1) << part.dim;
    for (bool first : {true, false})
      for (int d = 0; d < view.sizes.size(); ++d)
        if ((indexed >> d & 1) == first) sizes.push_back(view.sizes[d]), from.push_back(view.from[d]);
    view.sizes = sizes;
    view.from = from;
    trivial = false;
  }

  const Tensor& x_;
  int x_dim_ = 0;
  std::vector<Advanced> advanced_;
};

// The value as it goes into the indexed part: in the tensor's dtype, without leading dimensions of size 1 too many.
Tensor fitted(const Tensor& value, const Shape& sizes, const Tensor& self) {
  LM_CHECK(value.device() == self.device() || value.dim() == 0, RuntimeError, "index_put: the value is on ",
           value.device(), ", the tensor on ", self.device(), "; need the same device");
  Shape kept = value.sizes();
  while (kept.size() > sizes.size() && kept[0] == 1) kept.erase(0);
  bool fits = kept.size() <= sizes.size();
  for (int d = 1; fits && d <= kept.size(); ++d) {
    const int64_t have = kept[kept.size() - d];
    fits = have == 1 || have == sizes[sizes.size() - d];
  }
  LM_CHECK(fits, ValueError, "index_put: a value of shape ", value.sizes(),
           " cannot be broadcast to the indexed shape ", sizes, "; need equal sizes or 1");
  const Tensor converted = to_device(cast(value, self.dtype()), self.device());
  return kept.size() == value.dim() ? converted : reshape(converted, kept);
}

}  // namespace

Tensor index_get(const Tensor& x, std::span<const Index> indices) {
  const Parser parsed(x, indices);
  if (!parsed.positions.defined()) return apply(ViewOp{parsed.view, x.sizes()}, x);
  const Tensor source = parsed.trivial ? x : apply(ViewOp{parsed.view, x.sizes()}, x);
  return take_places(source, parsed.places, parsed.positions);
}

void index_put(Tensor& self, std::span<const Index> indices, const Tensor& value, bool accumulate) {
  const Tensor x = before_inplace(self, "index_put_");
  const Parser parsed(x, indices);
  const bool by_tensor = parsed.positions.defined();
  const Shape target = by_tensor ? parsed.places.result(parsed.view.sizes) : parsed.view.sizes;
  Tensor fit = fitted(value, target, self);
  if (fit->storage == self->storage) fit = clone(fit);  // source and target may overlap
  if (!grad_enabled() || !(wants_tape(x) || wants_tape(fit))) {
    const Tensor view = parsed.view.of(x);
    if (by_tensor)
      put_places_into(view, parsed.places, parsed.positions, fit, accumulate);
    else
      copy_into(view, accumulate ? add(view, fit) : fit);
    self.bump_version();
    return;
  }
  // In the tape: the changed tensor is a new one, and self takes its elements and its place.
  Tensor part = fit;
  const bool direct = by_tensor && parsed.trivial;
  if (by_tensor || accumulate) {
    const Tensor old = direct ? x : apply(ViewOp{parsed.view, x.sizes()}, x);
    part = by_tensor ? put_places(old, parsed.places, parsed.positions, fit, accumulate) : add(old, fit);
  }
  assign_inplace(self, direct ? part : apply(PutViewOp{parsed.view, part.sizes()}, x, part), "index_put_");
}

}  // namespace lamina
