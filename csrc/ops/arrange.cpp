// Repetition and reordering along dimensions: repeat, repeat_interleave, flip, roll, rot90. The one idea: repetition is
// the expansion of a new dimension, and reordering is its own gradient with the opposite amounts.
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

}  // namespace

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
  LM_CHECK(input.dim() > 0, ValueError, "repeat_interleave: a tensor of shape () has no dimension to repeat along");
  int d = wrap_dim(*dim, input.dim(), "repeat_interleave");
  LM_CHECK(is_integral(repeats.dtype()), TypeError, "repeat_interleave: repeats is ", repeats.dtype(),
           "; need an integer dtype");
  LM_CHECK(repeats.dim() <= 1 && (repeats.numel() == 1 || repeats.numel() == input.size(d)), ValueError,
           "repeat_interleave: repeats has shape ", repeats.sizes(), " for dim ", d, " of size ", input.size(d),
           "; need one count, or one per index");
  Tensor counts =
      contiguous(expand(to_device(cast(repeats.alias(), DType::I64), Device()), Sizes(Shape{input.size(d)})));
  int64_t total = 0;
  for (int64_t i = 0; i < input.size(d); ++i) {
    int64_t count = counts.data<int64_t>()[i];
    LM_CHECK(count >= 0, ValueError, "repeat_interleave: repeats[", i, "] is ", count, "; need counts >= 0");
    LM_CHECK(!__builtin_add_overflow(total, count, &total), ValueError, "repeat_interleave: the sum of repeats up to ",
             i, ", which is ", count, ", does not fit in 64 bits");
  }
  Tensor index = empty_tensor({total}, DType::I64);
  int64_t* out = index.data<int64_t>();
  for (int64_t i = 0; i < input.size(d); ++i) out = std::fill_n(out, counts.data<int64_t>()[i], i);
  return index_select(input, d, to_device(index, input.device()));
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

}  // namespace lamina
