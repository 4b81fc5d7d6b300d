// Joining and taking apart: cat, stack and split; repetition; reordering along a dimension (flip, roll). The one idea:
// a join's gradient is the views that take it apart, and the other way round.
#include <algorithm>
#include <numeric>

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

struct Flip {
  static constexpr const char* kName = "flip";
  Shape dims;
  Tensor forward(Ctx&, const Tensor& x) const {
    Tensor out = empty_tensor(x.sizes(), x.dtype(), x.device());
    if (x.numel() == 0) return out;
    Shape strides = x.strides();
    int64_t offset = x->offset;
    for (int64_t d : dims) {
      offset += (x.size(int(d)) - 1) * x.stride(int(d));
      strides[int(d)] *= -1;
    }
    copy_into(out, x.with_layout(x.sizes(), strides, offset));
    return out;
  }
  Grads backward(Ctx&, const Tensor& grad) const { return {apply(Flip{dims}, grad)}; }
};

struct Roll {
  static constexpr const char* kName = "roll";
  Shape shifts, dims;  // 0 <= shift < size
  Tensor forward(Ctx&, const Tensor& x) const {
    Tensor out = empty_tensor(x.sizes(), x.dtype(), x.device());
    move(out, x, 0);
    return out;
  }
  Grads backward(Ctx&, const Tensor& grad) const {
    Shape back = shifts;
    for (int i = 0; i < dims.size(); ++i)
      if (shifts[i]) back[i] = grad.size(int(dims[i])) - shifts[i];
    return {apply(Roll{back, dims}, grad)};
  }

 private:
  // Every dimension cuts the tensor in two parts that change places.
  void move(const Tensor& to, const Tensor& from, int i) const {
    if (i == dims.size()) return copy_into(to, from);
    int d = int(dims[i]);
    int64_t shift = shifts[i], rest = from.size(d) - shift;
    if (rest) move(part(to, d, shift, rest), part(from, d, 0, rest), i + 1);
    if (shift) move(part(to, d, 0, shift), part(from, d, rest, shift), i + 1);
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

// --- taking apart ---

static TensorList split_lengths(const Tensor& x, int dim, const std::vector<int64_t>& lengths) {
  TensorList out;
  out.reserve(lengths.size());
  int64_t at = 0;
  for (int64_t length : lengths) {
    out.push_back(narrow(x, dim, at, length));
    at += length;
  }
  return out;
}

static int splittable_dim(const Tensor& x, int64_t dim, const char* op) {
  LM_CHECK(x.dim() > 0, ValueError, op, ": a tensor of shape () cannot be split; need at least 1 dimension");
  return wrap_dim(dim, x.dim(), op);
}

TensorList split(const Tensor& tensor, int64_t split_size, int64_t dim) {
  int d = splittable_dim(tensor, dim, "split");
  int64_t n = tensor.size(d);
  LM_CHECK(split_size > 0 || (split_size == 0 && n == 0), ValueError, "split: split_size is ", split_size, " for dim ",
           d, " of size ", n, "; need split_size > 0");
  std::vector<int64_t> lengths;
  for (int64_t at = 0; at < n; at += split_size) lengths.push_back(std::min(split_size, n - at));
  if (lengths.empty()) lengths.push_back(0);
  return split_lengths(tensor, d, lengths);
}

TensorList split(const Tensor& tensor, const std::vector<int64_t>& split_sizes, int64_t dim) {
  int d = splittable_dim(tensor, dim, "split");
  int64_t total = 0;
  for (int64_t length : split_sizes) {
    LM_CHECK(length >= 0, ValueError, "split: negative size ", length, " in the list of sizes; need sizes >= 0");
    total += length;
  }
  LM_CHECK(total == tensor.size(d), ValueError, "split: the ", split_sizes.size(), " sizes add up to ", total, ", dim ",
           d, " of ", tensor.sizes(), " is ", tensor.size(d), "; need equal");
  return split_lengths(tensor, d, split_sizes);
}

TensorList chunk(const Tensor& input, int64_t chunks, int64_t dim) {
  int d = splittable_dim(input, dim, "chunk");
  LM_CHECK(chunks > 0, ValueError, "chunk: chunks is ", chunks, "; need chunks > 0");
  int64_t n = input.size(d), length = (n + chunks - 1) / chunks;
  // An empty dimension still gives the number of chunks asked for.
  return n ? split(input, length, d) : split_lengths(input, d, std::vector<int64_t>(size_t(chunks), 0));
}

TensorList tensor_split(const Tensor& input, int64_t sections, int64_t dim) {
  int d = splittable_dim(input, dim, "tensor_split");
  LM_CHECK(sections > 0, ValueError, "tensor_split: sections is ", sections, "; need sections > 0");
  int64_t n = input.size(d), longer = n % sections;
  std::vector<int64_t> lengths(size_t(sections), n / sections);
  for (int64_t i = 0; i < longer; ++i) ++lengths[size_t(i)];
  return split_lengths(input, d, lengths);
}

TensorList tensor_split(const Tensor& input, const std::vector<int64_t>& indices, int64_t dim) {
  int d = splittable_dim(input, dim, "tensor_split");
  TensorList out;
  int64_t start = 0;
  for (int64_t end : indices) {
    out.push_back(slice(input, d, start, end, 1));
    start = end;
  }
  out.push_back(slice(input, d, start, input.size(d), 1));
  return out;
}

TensorList unbind(const Tensor& input, int64_t dim) {
  int d = splittable_dim(input, dim, "unbind");
  TensorList out;
  out.reserve(size_t(input.size(d)));
  for (int64_t i = 0; i < input.size(d); ++i) out.push_back(lamina::select(input, d, i));
  return out;
}

// --- repetition ---

Tensor repeat(const Tensor& input, const Sizes& repeats) {
  int n = repeats.size(), lead = n - input.dim();
  LM_CHECK(lead >= 0, ValueError, "repeat: ", repeats, " has ", n, " entries, the tensor ", input.sizes(), " has ",
           input.dim(), " dimensions; need at least as many");
  // (r0, s0, r1, s1, ...) with the r repeated, for dimensions that are: repetition is expansion of a new dimension.
  Shape apart, expanded, out;
  for (int i = 0; i < n; ++i) {
    int64_t size = i < lead ? 1 : input.size(i - lead);
    LM_CHECK(repeats[i] >= 0, ValueError, "repeat: negative count in ", repeats, "; need counts >= 0");
    if (repeats[i] != 1) {
      apart.push_back(1);
      expanded.push_back(repeats[i]);
    }
    apart.push_back(size);
    expanded.push_back(size);
    out.push_back(size * repeats[i]);
  }
  Tensor repeated = expand(reshape(input, Sizes(apart)), Sizes(expanded));
  return expanded == out ? clone(repeated) : reshape(repeated, Sizes(out));
}

Tensor tile(const Tensor& input, const Sizes& dims) {
  Sizes repeats = dims;
  while (repeats.size() < input.dim()) repeats.insert(0, 1);
  return repeat(input, repeats);
}

Tensor repeat_interleave(const Tensor& input, int64_t repeats, std::optional<int64_t> dim) {
  LM_CHECK(repeats >= 0, ValueError, "repeat_interleave: repeats is ", repeats, "; need repeats >= 0");
  if (!dim) return repeat_interleave(ravel(input), repeats, 0);
  int d = wrap_dim(*dim, input.dim(), "repeat_interleave");
  Tensor x = unsqueeze(atleast_1d(input), d + 1);
  Shape sizes = x.sizes();
  sizes[d + 1] = repeats;
  return flatten(expand(x, Sizes(sizes)), d, d + 1);
}

Tensor repeat_interleave(const Tensor& input, const Tensor& repeats, std::optional<int64_t> dim) {
  if (!dim) return repeat_interleave(ravel(input), repeats, 0);
  int d = splittable_dim(input, *dim, "repeat_interleave");
  LM_CHECK(is_integral(repeats.dtype()), TypeError, "repeat_interleave: repeats is ", repeats.dtype(),
           "; need an integer dtype");
  LM_CHECK(repeats.dim() <= 1 && (repeats.numel() == 1 || repeats.numel() == input.size(d)), ValueError,
           "repeat_interleave: repeats has shape ", repeats.sizes(), " for dim ", d, " of size ", input.size(d),
           "; need one count, or one per index");
  Tensor counts = contiguous(expand(cast(repeats.alias(), DType::I64), Sizes(Shape{input.size(d)})));
  int64_t total = 0;
  for (int64_t i = 0; i < input.size(d); ++i) {
    int64_t count = counts.data<int64_t>()[i];
    LM_CHECK(count >= 0, ValueError, "repeat_interleave: repeats[", i, "] is ", count, "; need counts >= 0");
    total += count;
  }
  Tensor index = empty_tensor({total}, DType::I64);
  int64_t* out = index.data<int64_t>();
  for (int64_t i = 0; i < input.size(d); ++i) out = std::fill_n(out, counts.data<int64_t>()[i], i);
  return index_select(input, d, index);
}

// --- reordering ---

Tensor flip(const Tensor& input, const Sizes& dims) {
  Shape wrapped;
  for (int64_t dim : dims) {
    int d = wrap_dim(dim, input.dim(), "flip");
    LM_CHECK(std::find(wrapped.begin(), wrapped.end(), d) == wrapped.end(), ValueError, "flip: dim ", d,
             " appears twice in ", dims, "; need distinct dims");
    wrapped.push_back(d);
  }
  if (input.dim() == 0) wrapped = {};
  return apply(Flip{wrapped}, input);
}
Tensor fliplr(const Tensor& input) {
  LM_CHECK(input.dim() >= 2, ValueError, "fliplr: the tensor has shape ", input.sizes(),
           "; need at least 2 dimensions");
  return flip(input, Sizes(Shape{1}));
}
Tensor flipud(const Tensor& input) {
  LM_CHECK(input.dim() >= 1, ValueError, "flipud: the tensor has shape (); need at least 1 dimension");
  return flip(input, Sizes(Shape{0}));
}

Tensor roll(const Tensor& input, const Shape& shifts, const std::optional<Shape>& dims) {
  if (!dims || dims->empty()) {
    LM_CHECK(shifts.size() == 1, ValueError, "roll: got ", shifts.size(), " shifts ", shifts,
             " without dims; need one");
    return reshape(roll(ravel(input), shifts, Shape{0}), Sizes(input.sizes()));
  }
  LM_CHECK(shifts.size() == dims->size(), ValueError, "roll: shifts ", shifts, " and dims ", *dims, " have ",
           shifts.size(), " and ", dims->size(), " entries; need equal numbers");
  Shape amounts(input.dim(), 0), all(input.dim(), 0);
  std::iota(all.begin(), all.end(), 0);
  for (int i = 0; i < shifts.size(); ++i) {
    int d = wrap_dim((*dims)[i], input.dim(), "roll");
    if (input.dim() == 0 || input.size(d) == 0) continue;
    int64_t n = input.size(d);
    amounts[d] = ((amounts[d] + shifts[i] % n) % n + n) % n;
  }
  return apply(Roll{amounts, all}, input);
}

Tensor rot90(const Tensor& input, int64_t k, const std::optional<Shape>& plane) {
  Shape dims = plane.value_or(Shape{0, 1});
  LM_CHECK(dims.size() == 2 && input.dim() >= 2, ValueError, "rot90: dims ", dims, " for a tensor of shape ",
           input.sizes(), "; need two dims of a tensor of at least 2 dimensions");
  int a = wrap_dim(dims[0], input.dim(), "rot90"), b = wrap_dim(dims[1], input.dim(), "rot90");
  LM_CHECK(a != b, ValueError, "rot90: dims ", dims, " are the same dimension; need two");
  switch ((k % 4 + 4) % 4) {
    case 1:
      return transpose(flip(input, Sizes(Shape{b})), a, b);
    case 2:
      return flip(input, Sizes(Shape{a, b}));
    case 3:
      return flip(transpose(input, a, b), Sizes(Shape{b}));
    default:
      return clone(input);
  }
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
