// Borders and triangles: pad in its four modes, tril and triu. The one idea: padding with a constant is undone by the
// same padding with opposite signs, so one operator is its own gradient; the other modes are joins of flipped or
// expanded edges.
#include <algorithm>

#include "autograd/apply.h"
#include "kernel/copy.h"
#include "ops/ops.h"

namespace lamina {
namespace {

constexpr int64_t kMost = int64_t(1) << 40;  // elements on one side: sums of sizes then fit in 64 bits

struct ConstantPad {
  static constexpr const char* kName = "pad";
  Shape low, high;  // elements added before and after, per dimension; negative ones are cut off
  Scalar value;
  Tensor forward(Ctx&, const Tensor& x) const {
    Shape sizes = x.sizes();
    Shape kept = sizes, from = x.strides();
    int64_t source = x->offset, target = 0;
    for (int d = 0; d < x.dim(); ++d) {
      sizes[d] += low[d] + high[d];
      kept[d] = std::max<int64_t>(0, x.size(d) + std::min<int64_t>(low[d], 0) + std::min<int64_t>(high[d], 0));
    }
    Tensor out = full_tensor(sizes, value, x.dtype(), x.device());
    if (kept.numel() == 0) return out;
    for (int d = 0; d < x.dim(); ++d) {
      source += std::max<int64_t>(0, -low[d]) * x.stride(d);
      target += std::max<int64_t>(0, low[d]) * out.stride(d);
    }
    copy_into(out.with_layout(kept, out.strides(), target), x.with_layout(kept, from, source));
    return out;
  }
  Grads backward(Ctx&, const Tensor& grad) const {
    ConstantPad back{low, high, 0};
    for (int64_t& n : back.low) n = -n;
    for (int64_t& n : back.high) n = -n;
    return {apply(back, grad)};
  }
};

// Everything on one side of a diagonal of the last two dimensions; zero elsewhere.
struct Triangle {
  static constexpr const char* kName = "triangle";
  bool upper;
  int64_t diagonal;
  Tensor forward(Ctx&, const Tensor& input) const {
    Tensor x = contiguous(input);
    Tensor out = empty_tensor(x.sizes(), x.dtype(), x.device());
    int64_t n = x.size(-1), rows = x.size(-2), count = x.numel() ? x.numel() / n : 0;
    kernel::copy_bands(stream_of(x.device()), x.itemsize(), count, rows, n, x.data(), out.data(), upper, diagonal);
    return out;
  }
  Grads backward(Ctx&, const Tensor& grad) const { return {apply(Triangle{upper, diagonal}, grad)}; }
};

Tensor triangle(const Tensor& x, bool upper, int64_t diagonal, const char* op) {
  LM_CHECK(x.dim() >= 2, ValueError, op, ": the tensor has shape ", x.sizes(), "; need at least 2 dimensions");
  diagonal = std::clamp(diagonal, -x.size(-2) - 1, x.size(-1) + 1);  // beyond a corner nothing changes, nor overflows
  return apply(Triangle{upper, diagonal}, x);
}

enum class Border { Reflect, Replicate, Circular };

Tensor repeat_edge(const Tensor& x, int dim, int64_t index, int64_t count) {
  Shape sizes = x.sizes();
  sizes[dim] = count;
  return expand(narrow(x, dim, index, 1), Sizes(sizes));
}

// One dimension: the border before, the tensor, the border after.
Tensor pad_dim(Tensor x, int dim, int64_t low, int64_t high, Border border) {
  int64_t n = x.size(dim);
  const char* mode = border == Border::Reflect ? "reflect" : border == Border::Replicate ? "replicate" : "circular";
  int64_t most = border == Border::Reflect ? n - 1 : n;
  LM_CHECK(border == Border::Replicate ? n > 0 || (low <= 0 && high <= 0)
                                       : std::max(low, high) <= std::max<int64_t>(most, 0),
           ValueError, "pad: mode '", mode, "' adds (", low, ", ", high, ") to dim ", dim, " of size ", n, "; need ",
           border == Border::Replicate ? "a size > 0"
           : border == Border::Reflect ? "padding < size"
                                       : "padding <= size");
  TensorList parts;
  if (low > 0) {
    if (border == Border::Reflect) parts.push_back(flip(narrow(x, dim, 1, low), Sizes(Shape{dim})));
    if (border == Border::Replicate) parts.push_back(repeat_edge(x, dim, 0, low));
    if (border == Border::Circular) parts.push_back(narrow(x, dim, n - low, low));
  }
  int64_t start = std::max<int64_t>(0, -low), kept = n - start - std::max<int64_t>(0, -high);
  LM_CHECK(kept >= 0, ValueError, "pad: (", low, ", ", high, ") cuts more than dim ", dim, " of size ", n,
           " has; need a size >= 0 to remain");
  parts.push_back(kept == n ? x : narrow(x, dim, start, kept));
  if (high > 0) {
    if (border == Border::Reflect) parts.push_back(flip(narrow(x, dim, n - 1 - high, high), Sizes(Shape{dim})));
    if (border == Border::Replicate) parts.push_back(repeat_edge(x, dim, n - 1, high));
    if (border == Border::Circular) parts.push_back(narrow(x, dim, 0, high));
  }
  return parts.size() == 1 ? parts[0] : cat(parts, dim);
}

}  // namespace

Tensor pad(const Tensor& input, const Shape& pad, const std::string& mode, std::optional<Scalar> value) {
  int n = input.dim(), padded = pad.size() / 2;
  LM_CHECK(pad.size() % 2 == 0 && padded <= n, ValueError, "pad: pad ", pad, " has ", pad.size(),
           " entries for a tensor of shape ", input.sizes(),
           "; need pairs (before, after) from the last dimension on, at most ", 2 * n, " entries");
  Shape low(n, 0), high(n, 0);
  for (int i = 0; i < padded; ++i) {
    low[n - 1 - i] = pad[2 * i];
    high[n - 1 - i] = pad[2 * i + 1];
    for (int64_t width : {pad[2 * i], pad[2 * i + 1]})
      LM_CHECK(-kMost <= width && width <= kMost, ValueError, "pad: pad is ", pad, "; need numbers from ", -kMost,
               " to ", kMost);
  }
  if (mode == "constant") {
    for (int d = 0; d < n; ++d)
      LM_CHECK(input.size(d) + low[d] + high[d] >= 0, ValueError, "pad: (", low[d], ", ", high[d],
               ") cuts more than dim ", d, " of size ", input.size(d), " has; need a size >= 0 to remain");
    return apply(ConstantPad{low, high, value.value_or(Scalar(0))}, input);
  }
  LM_CHECK(mode == "reflect" || mode == "replicate" || mode == "circular", ValueError, "pad: mode is '", mode,
           "'; need 'constant', 'reflect', 'replicate' or 'circular'");
  LM_CHECK(!value || value->to_double() == 0, ValueError, "pad: value is ", value->to_double(), " with mode '", mode,
           "'; only mode 'constant' takes a value");
  Border border = mode == "reflect" ? Border::Reflect : mode == "replicate" ? Border::Replicate : Border::Circular;
  Tensor out = input;
  for (int d = n - 1; d >= n - padded; --d)
    if (low[d] || high[d]) out = pad_dim(out, d, low[d], high[d], border);
  return out.is(input) ? clone(input) : out;
}

Tensor tril(const Tensor& input, int64_t diagonal) { return triangle(input, false, diagonal, "tril"); }
Tensor triu(const Tensor& input, int64_t diagonal) { return triangle(input, true, diagonal, "triu"); }

}  // namespace lamina
