// Max and average pooling, plain and adaptive, in one to three dimensions. The one idea: the rules for sizes, padding
// and divisors end in a table of boxes (kernel/pooling.h), after which there are two operators. Both gradients are
// linear, so each is an operator whose own gradient is the other direction. Memory is channels-last, as for
// convolutions.
#include "kernel/pooling.h"

#include <array>
#include <vector>

#include "autograd/apply.h"
#include "ops/ops.h"

namespace lamina {
namespace {

constexpr int64_t kMost = int64_t(1) << 30;  // of any size given by the user, so that sums cannot overflow

// One axis of the boxes; the vectors are what PoolAxis points at.
struct Axis {
  PoolRule rule;
  std::vector<int64_t> begin{0}, end{1};
  std::vector<double> divisor{1};
};
// With the table of its boxes.
Axis axis_of(const PoolRule& rule) {
  Axis axis{rule, {}, {}, {}};
  for (int64_t o = 0; o < rule.out; ++o) {
    const auto box = pool_box(rule, o);
    axis.begin.push_back(box.begin);
    axis.end.push_back(box.end);
    axis.divisor.push_back(box.divisor);
  }
  return axis;
}
struct Boxes {
  std::array<Axis, 3> axis;
  int rank;

  PoolBoxes of(int64_t n, int64_t c) const {
    PoolBoxes b{n, c, {}};
    for (int i = 0; i < 3; ++i)
      b.axis[i] = {axis[i].rule.in,    axis[i].rule.out,       axis[i].rule.step, axis[i].begin.data(),
                   axis[i].end.data(), axis[i].divisor.data(), axis[i].rule};
    return b;
  }
  Shape sizes(const Tensor& like, bool out) const {
    Shape s{like.size(0), like.size(1)};
    for (int i = 3 - rank; i < 3; ++i) s.push_back(out ? axis[i].rule.out : axis[i].rule.in);
    return s;
  }
};

// --- channels-last memory under the logical order (N, C, spatial) ---

Tensor channels_last(const Tensor& x) {
  if (is_channels_last(x)) return x;
  Tensor copy = empty_channels_last(x.sizes(), x.dtype(), x.device());
  copy_into(copy, x);
  return copy;
}

// --- the maximum ---

Tensor max_spread(const Boxes& boxes, const Tensor& grad, const Tensor& index);

// x and the positions of its maxima -> y; linear in x.
struct MaxGather {
  static constexpr const char* kName = "max_pool_gather";
  Boxes boxes;

  Tensor forward(Ctx& ctx, const Tensor& input, const Tensor& index) const {
    ctx.save(index);
    const Tensor x = channels_last(input);
    Tensor y = empty_channels_last(index.sizes(), x.dtype(), x.device());
    const PoolBoxes b = boxes.of(x.size(0), x.size(1));
    kernel::pool_gather(stream_of(x.device()), x.dtype(), b, x.data(), index.data<int64_t>(), y.data());
    return y;
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const { return {max_spread(boxes, grad, ctx.saved(0)), Tensor()}; }
};

// The adjoint of MaxGather: gradients of y go to where the maxima were.
struct MaxSpread {
  static constexpr const char* kName = "max_pool_backward";
  Boxes boxes;

  Tensor forward(Ctx& ctx, const Tensor& grad, const Tensor& index) const {
    ctx.save(index);
    const Tensor g = channels_last(grad);
    Tensor grad_x = empty_channels_last(boxes.sizes(g, false), g.dtype(), g.device());
    const PoolBoxes b = boxes.of(g.size(0), g.size(1));
    kernel::pool_max_backward(stream_of(g.device()), g.dtype(), b, g.data(), index.data<int64_t>(), grad_x.data());
    return grad_x;
  }
  Grads backward(Ctx& ctx, const Tensor& v) const { return {apply(MaxGather{boxes}, v, ctx.saved(0)), Tensor()}; }
};
Tensor max_spread(const Boxes& boxes, const Tensor& grad, const Tensor& index) {
  return apply(MaxSpread{boxes}, grad, index);
}

// Output 1 is the position of each maximum among the pixels of its image, in row-major order.
struct MaxPool {
  static constexpr const char* kName = "max_pool";
  Boxes boxes;
  bool want_index;

  TensorPair forward(Ctx& ctx, const Tensor& input) const {
    const Tensor x = channels_last(input);
    const Shape sizes = boxes.sizes(x, true);
    Tensor y = empty_channels_last(sizes, x.dtype(), x.device());
    const bool keep = want_index || ctx.recording();
    Tensor index = empty_channels_last(keep ? sizes : Shape{0, 0}, DType::I64, x.device());
    const PoolBoxes b = boxes.of(x.size(0), x.size(1));
    kernel::pool_max(stream_of(x.device()), x.dtype(), b, x.data(), y.data(), keep ? index.data<int64_t>() : nullptr);
    ctx.save(index);
    return {y, index};
  }
  Grads backward(Ctx& ctx, const Tensor* grads) const { return {max_spread(boxes, grads[0], ctx.saved(0))}; }
};

// --- the average ---

Tensor avg_spread(const Boxes& boxes, const Tensor& grad);

struct AvgPool {
  static constexpr const char* kName = "avg_pool";
  Boxes boxes;

  Tensor forward(Ctx&, const Tensor& input) const {
    const Tensor x = channels_last(input);
    Tensor y = empty_channels_last(boxes.sizes(x, true), x.dtype(), x.device());
    const PoolBoxes b = boxes.of(x.size(0), x.size(1));
    kernel::pool_average(stream_of(x.device()), x.dtype(), b, x.data(), y.data());
    return y;
  }
  Grads backward(Ctx&, const Tensor& grad) const { return {avg_spread(boxes, grad)}; }
};

// The adjoint of AvgPool.
struct AvgSpread {
  static constexpr const char* kName = "avg_pool_backward";
  Boxes boxes;

  Tensor forward(Ctx&, const Tensor& grad) const {
    const Tensor g = channels_last(grad);
    Tensor grad_x = empty_channels_last(boxes.sizes(g, false), g.dtype(), g.device());
    const PoolBoxes b = boxes.of(g.size(0), g.size(1));
    kernel::pool_average_backward(stream_of(g.device()), g.dtype(), b, g.data(), grad_x.data());
    return grad_x;
  }
  Grads backward(Ctx&, const Tensor& v) const { return {apply(AvgPool{boxes}, v)}; }
};
Tensor avg_spread(const Boxes& boxes, const Tensor& grad) { return apply(AvgSpread{boxes}, grad); }

// --- sizes ---

// One number for all dimensions, or one per dimension.
Shape per_dimension(const Shape& given, int rank, const char* op, const char* name) {
  LM_CHECK(given.size() == 1 || given.size() == rank, ValueError, op, ": ", name, " is ", given, "; need 1 or ", rank,
           " numbers");
  Shape out;
  for (int i = 0; i < rank; ++i) out.push_back(given[given.size() == 1 ? 0 : i]);
  return out;
}

void check_input(const Tensor& x, int rank, const char* op) {
  LM_CHECK(x.is_floating(), TypeError, op, ": input is ", x.dtype(), "; need a floating-point tensor");
  LM_CHECK(x.dim() == rank + 1 || x.dim() == rank + 2, ValueError, op, ": input has shape ", x.sizes(), "; need ",
           rank + 1, " or ", rank + 2, " dimensions");
  for (int i = x.dim() - rank; i < x.dim(); ++i)
    LM_CHECK(x.size(i) > 0, ValueError, op, ": input has shape ", x.sizes(), "; need spatial sizes above 0");
  int64_t pixels = 1;
  for (int i = x.dim() - rank; i < x.dim(); ++i) pixels *= x.size(i);
  LM_CHECK(pixels < int64_t(1) << 31, ValueError, op, ": input has ", pixels, " pixels; need fewer than 2^31");
}

struct Window {
  Shape kernel, stride, padding, dilation;
  bool ceil_mode;
  bool count_include_pad = true;
  double divisor = 0;  // of the whole box, if given
};

Axis window_axis(int64_t in, const Window& w, int i, const char* op) {
  const int64_t k = w.kernel[i], s = w.stride[i], p = w.padding[i], d = w.dilation[i];
  LM_CHECK(k > 0 && s > 0 && d > 0, ValueError, op, ": kernel_size is ", w.kernel, ", stride ", w.stride, ", dilation ",
           w.dilation, "; need numbers above 0");
  LM_CHECK(k <= kMost && s <= kMost && d <= kMost, ValueError, op, ": kernel_size is ", w.kernel, ", stride ", w.stride,
           ", dilation ", w.dilation, "; need numbers up to ", kMost);
  LM_CHECK(p >= 0 && p <= (d * (k - 1) + 1) / 2, ValueError, op, ": padding is ", w.padding, " for kernel_size ",
           w.kernel, "; need 0 to half of the window");
  const int64_t room = in + 2 * p - d * (k - 1) - 1;
  PoolRule rule{in, (room < 0 ? -1 : (room + (w.ceil_mode ? s - 1 : 0)) / s) + 1, k, s, p, d};
  rule.count_padding = w.count_include_pad;
  rule.divisor = i == w.kernel.size() - 1 || !w.divisor ? w.divisor : 1;
  // A last box that would begin in the right padding is left out.
  if (w.ceil_mode && (rule.out - 1) * s >= in + p) --rule.out;
  LM_CHECK(rule.out > 0, ValueError, op, ": input size ", in, " with kernel_size ", w.kernel, ", padding ", w.padding,
           ", dilation ", w.dilation, " gives output size ", rule.out, "; need at least 1");
  Axis axis = axis_of(rule);
  for (int64_t o = 0; o < rule.out; ++o)
    LM_CHECK(axis.begin[size_t(o)] < axis.end[size_t(o)], ValueError, op, ": input size ", in, " with kernel_size ",
             w.kernel, ", padding ", w.padding, ", dilation ", w.dilation, ": window ", o,
             " lies wholly in the padding");
  return axis;
}

Boxes window_boxes(const Tensor& x, int rank, const Window& window, const char* op) {
  check_input(x, rank, op);
  Boxes boxes{{}, rank};
  for (int i = 0; i < rank; ++i) boxes.axis[3 - rank + i] = window_axis(x.size(i - rank), window, i, op);
  return boxes;
}

Boxes adaptive_boxes(const Tensor& x, int rank, const Shape& output_size, const char* op) {
  check_input(x, rank, op);
  const Shape wanted = per_dimension(output_size, rank, op, "output_size");
  Boxes boxes{{}, rank};
  for (int i = 0; i < rank; ++i) {
    const int64_t in = x.size(i - rank), out = wanted[i];
    LM_CHECK(out > 0 && out <= kMost, ValueError, op, ": output_size is ", wanted, "; need numbers from 1 to ", kMost);
    PoolRule rule{in, out};
    rule.adaptive = true;
    boxes.axis[3 - rank + i] = axis_of(rule);
  }
  return boxes;
}

Window window(const Shape& kernel_size, const std::optional<Shape>& stride, const Shape& padding, const Shape& dilation,
              bool ceil_mode, int rank, const char* op) {
  const Shape kernel = per_dimension(kernel_size, rank, op, "kernel_size");
  const bool own = stride && !stride->empty();
  return {kernel, own ? per_dimension(*stride, rank, op, "stride") : kernel,
          per_dimension(padding, rank, op, "padding"), per_dimension(dilation, rank, op, "dilation"), ceil_mode};
}

// --- with and without a batch dimension; half precision through float ---

Tensor batched(const Tensor& x, int rank) { return x.dim() == rank + 2 ? x : unsqueeze(x, 0); }

TensorPair max_pool(const Tensor& input, const Boxes& boxes, bool want_index) {
  const Tensor x = batched(cast(input, compute_type(input.dtype())), boxes.rank);
  TensorPair out = apply(MaxPool{boxes, want_index}, x);
  const bool single = input.dim() == boxes.rank + 1;
  if (want_index && single) out[1] = squeeze(out[1], Shape{0});
  out[0] = cast(single ? squeeze(out[0], Shape{0}) : out[0], input.dtype());
  return out;
}

Tensor avg_pool(const Tensor& input, const Boxes& boxes) {
  const Tensor x = batched(cast(input, compute_type(input.dtype())), boxes.rank);
  const Tensor y = apply(AvgPool{boxes}, x);
  return cast(input.dim() == boxes.rank + 1 ? squeeze(y, Shape{0}) : y, input.dtype());
}

Tensor avg_window(const Tensor& input, int rank, const Shape& kernel_size, const std::optional<Shape>& stride,
                  const Shape& padding, bool ceil_mode, bool count_include_pad, std::optional<int64_t> divisor_override,
                  const char* op) {
  LM_CHECK(!divisor_override || *divisor_override != 0, ValueError, op, ": divisor_override is 0; need another number");
  Window w = window(kernel_size, stride, padding, Shape{1}, ceil_mode, rank, op);
  w.count_include_pad = count_include_pad;
  if (divisor_override) w.divisor = double(*divisor_override);
  return avg_pool(input, window_boxes(input, rank, w, op));
}

}  // namespace

#define LM_POOLS(rank)                                                                                           \
  Tensor max_pool##rank##d(const Tensor& input, const Shape& kernel_size, const std::optional<Shape>& stride,    \
                           const Shape& padding, const Shape& dilation, bool ceil_mode) {                        \
    const char* op = "max_pool" #rank "d";                                                                       \
    const Window w = window(kernel_size, stride, padding, dilation, ceil_mode, rank, op);                        \
    return max_pool(input, window_boxes(input, rank, w, op), false)[0];                                          \
  }                                                                                                              \
  TensorPair max_pool##rank##d_with_indices(const Tensor& input, const Shape& kernel_size,                       \
                                            const std::optional<Shape>& stride, const Shape& padding,            \
                                            const Shape& dilation, bool ceil_mode) {                             \
    const char* op = "max_pool" #rank "d";                                                                       \
    const Window w = window(kernel_size, stride, padding, dilation, ceil_mode, rank, op);                        \
    return max_pool(input, window_boxes(input, rank, w, op), true);                                              \
  }                                                                                                              \
  Tensor avg_pool##rank##d(const Tensor& input, const Shape& kernel_size, const std::optional<Shape>& stride,    \
                           const Shape& padding, bool ceil_mode, bool count_include_pad,                         \
                           std::optional<int64_t> divisor_override) {                                            \
    return avg_window(input, rank, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, \
                      "avg_pool" #rank "d");                                                                     \
  }                                                                                                              \
  Tensor adaptive_avg_pool##rank##d(const Tensor& input, const Shape& output_size) {                             \
    return avg_pool(input, adaptive_boxes(input, rank, output_size, "adaptive_avg_pool" #rank "d"));             \
  }                                                                                                              \
  Tensor adaptive_max_pool##rank##d(const Tensor& input, const Shape& output_size) {                             \
    return max_pool(input, adaptive_boxes(input, rank, output_size, "adaptive_max_pool" #rank "d"), false)[0];   \
  }                                                                                                              \
  TensorPair adaptive_max_pool##rank##d_with_indices(const Tensor& input, const Shape& output_size) {            \
    return max_pool(input, adaptive_boxes(input, rank, output_size, "adaptive_max_pool" #rank "d"), true);       \
  }

LM_POOLS(1)
LM_POOLS(2)
LM_POOLS(3)

}  // namespace lamina
