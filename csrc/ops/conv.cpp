// Convolution in one to three dimensions and its adjoint. Three operators are closed under differentiation: Conv,
// ConvTranspose (its adjoint in the input) and ConvWeightGrad (its adjoint in the weight); every gradient of one of
// them is another. Results lie channels-last in memory, under the usual logical order (N, C, spatial). Next:
// kernel/conv.h.
#include "kernel/conv.h"

#include <string>

#include "autograd/apply.h"
#include "ops/ops.h"

namespace lamina {
namespace {

struct ConvSpec {
  int rank = 2;
  Shape stride, padding, dilation;  // padding before; what follows is implied by the sizes
  int64_t groups = 1;
};

// x (n, c_in, spatial), w (c_out, c_in / groups, kernel), y (n, c_out, spatial). Missing dimensions have size 1.
ConvGeometry geometry(const ConvSpec& s, const Shape& x, const Shape& w, const Shape& y) {
  ConvGeometry g;
  g.n = x[0];
  g.groups = s.groups;
  g.c_in = x[1];
  g.c_out = y[1];
  for (int i = 0; i < s.rank; ++i) {
    const int at = 3 - s.rank + i;
    g.in[at] = x[2 + i];
    g.out[at] = y[2 + i];
    g.kernel[at] = w[2 + i];
    g.stride[at] = s.stride[i];
    g.dilation[at] = s.dilation[i];
    g.padding[at] = s.padding[i];
  }
  return g;
}

ConvImage image(const Tensor& x) {
  ConvImage m{x.data(), x.stride(0), x.stride(1), {0, 0, 0}};
  for (int i = 2; i < x.dim(); ++i) m.x[3 - x.dim() + i] = x.stride(i);
  return m;
}

// The CPU's kernels read float or double, CUDA's halves too.
DType kernel_type(const Tensor& x) { return x.device().is_cpu() ? compute_type(x.dtype()) : x.dtype(); }
Tensor computable(const Tensor& x) { return cast(x, kernel_type(x)); }
Tensor dense(const Tensor& x) { return contiguous(computable(x)); }
const void* data_of(const OptTensor& x) { return x ? x->data() : nullptr; }
OptTensor dense(const OptTensor& x) { return x ? OptTensor(dense(*x)) : x; }

Tensor zeros_of(const Tensor& x) { return full_tensor(x.sizes(), 0.0, x.dtype(), x.device()); }
Tensor sum_channels(const Tensor& grad) {
  Shape dims{0};
  for (int i = 2; i < grad.dim(); ++i) dims.push_back(i);
  return sum(grad, dims, false, std::nullopt);
}
Shape spatial(const Tensor& x) { return Shape(std::span<const int64_t>(x.sizes().data() + 2, size_t(x.dim() - 2))); }

Tensor conv_adjoint(const ConvSpec& spec, const Shape& sizes, const Tensor& y, const Tensor& w);
Tensor weight_gradient(const ConvSpec& spec, const Shape& kernel, const Tensor& x, const Tensor& grad_y);

// x (n, c_in, spatial) with w -> (n, c_out, out)
struct Conv {
  static constexpr const char* kName = "conv";
  ConvSpec spec;
  Shape out;

  Tensor forward(Ctx& ctx, const Tensor& x, const Tensor& w, const OptTensor& bias) const {
    ctx.save(x);
    ctx.save(w);
    Shape sizes{x.size(0), w.size(0)};
    for (int64_t size : out) sizes.push_back(size);
    Tensor y = empty_channels_last(sizes, kernel_type(x), x.device());
    if (y.numel() == 0) return cast(y, x.dtype());
    const Tensor input = computable(x), weight = dense(w);
    const OptTensor b = dense(bias);
    kernel::conv_forward(stream_of(x.device()), y.dtype(), geometry(spec, x.sizes(), w.sizes(), sizes), image(input),
                         weight.data(), data_of(b), y.data());
    return cast(y, x.dtype());
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const {
    Grads grads(3);
    const Tensor x = ctx.saved(0), w = ctx.saved(1);
    if (ctx.needs(0)) grads[0] = conv_adjoint(spec, spatial(x), grad, w);
    if (ctx.needs(1)) grads[1] = weight_gradient(spec, spatial(w), x, grad);
    if (ctx.needs(2)) grads[2] = sum_channels(grad);
    return grads;
  }
};

// The adjoint of Conv in x: y (n, c_out, out) -> (n, c_in, spatial); the forward pass of a transposed convolution.
struct ConvTranspose {
  static constexpr const char* kName = "conv_transpose";
  ConvSpec spec;
  Shape sizes;  // spatial, of the result

  Tensor forward(Ctx& ctx, const Tensor& y, const Tensor& w, const OptTensor& bias) const {
    ctx.save(y);
    ctx.save(w);
    Shape result{y.size(0), w.size(1) * spec.groups};
    for (int64_t size : sizes) result.push_back(size);
    Tensor x = empty_channels_last(result, kernel_type(y), y.device());
    if (x.numel() == 0) return cast(x, y.dtype());
    const Tensor input = computable(y), weight = dense(w);
    const OptTensor b = dense(bias);
    kernel::conv_data_grad(stream_of(y.device()), x.dtype(), geometry(spec, result, w.sizes(), y.sizes()), image(input),
                           weight.data(), data_of(b), x.data());
    return cast(x, y.dtype());
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const {
    Grads grads(3);
    const Tensor y = ctx.saved(0), w = ctx.saved(1);
    if (ctx.needs(0)) grads[0] = apply(Conv{spec, spatial(y)}, grad, w, OptTensor());
    if (ctx.needs(1)) grads[1] = weight_gradient(spec, spatial(w), grad, y);
    if (ctx.needs(2)) grads[2] = sum_channels(grad);
    return grads;
  }
};

// The adjoint of Conv in w: x and the gradient of y -> (c_out, c_in / groups, kernel)
struct ConvWeightGrad {
  static constexpr const char* kName = "conv_weight_grad";
  ConvSpec spec;
  Shape kernel;

  Tensor forward(Ctx& ctx, const Tensor& x, const Tensor& grad_y) const {
    ctx.save(x);
    ctx.save(grad_y);
    Shape sizes{grad_y.size(1), x.size(1) / spec.groups};
    for (int64_t size : kernel) sizes.push_back(size);
    Tensor grad_w = empty_tensor(sizes, kernel_type(x), x.device());
    if (x.numel() == 0 || grad_y.numel() == 0) return cast(zeros_of(grad_w), x.dtype());
    const Tensor input = computable(x), grad = computable(grad_y);
    kernel::conv_weight_grad(stream_of(x.device()), grad_w.dtype(), geometry(spec, x.sizes(), sizes, grad_y.sizes()),
                             image(input), image(grad), grad_w.data());
    return cast(grad_w, x.dtype());
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const {
    Grads grads(2);
    const Tensor x = ctx.saved(0), grad_y = ctx.saved(1);
    if (ctx.needs(0)) grads[0] = conv_adjoint(spec, spatial(x), grad_y, grad);
    if (ctx.needs(1)) grads[1] = apply(Conv{spec, spatial(grad_y)}, x, grad, OptTensor());
    return grads;
  }
};

Tensor conv_adjoint(const ConvSpec& spec, const Shape& sizes, const Tensor& y, const Tensor& w) {
  return apply(ConvTranspose{spec, sizes}, y, w, OptTensor());
}
Tensor weight_gradient(const ConvSpec& spec, const Shape& kernel, const Tensor& x, const Tensor& grad_y) {
  return apply(ConvWeightGrad{spec, kernel}, x, grad_y);
}

// --- checks ---
constexpr int64_t kMost = INT32_MAX;  // of a stride, padding or dilation: products with sizes then fit in 64 bits
Shape per_dimension(const Shape& value, int rank, int64_t least, const char* op, const char* name) {
  LM_CHECK(value.size() == 1 || value.size() == rank, ValueError, op, ": ", name, " is ", value, "; need an int or ",
           rank, " ints");
  Shape out(rank, value[0]);
  for (int i = 0; i < rank; ++i) {
    out[i] = value[value.size() == 1 ? 0 : i];
    LM_CHECK(out[i] >= least && out[i] <= kMost, ValueError, op, ": ", name, " is ", value, "; need at least ", least,
             " and at most ", kMost);
  }
  return out;
}

void check_types(const Tensor& x, const Tensor& w, const OptTensor& bias, const char* op) {
  LM_CHECK(x.is_floating(), TypeError, op, ": input is ", x.dtype(), "; need a floating-point tensor");
  LM_CHECK(x.dtype() == w.dtype(), TypeError, op, ": input is ", x.dtype(), ", weight is ", w.dtype(),
           "; need one dtype");
  LM_CHECK(x.device() == w.device(), RuntimeError, op, ": input is on ", x.device(), ", weight is on ", w.device(),
           "; need one device");
  LM_CHECK(!bias || bias->dtype() == x.dtype(), TypeError, op, ": input is ", x.dtype(), ", bias is ", bias->dtype(),
           "; need one dtype");
  LM_CHECK(!bias || bias->device() == x.device(), RuntimeError, op, ": input is on ", x.device(), ", bias is on ",
           bias->device(), "; need one device");
}

// The checks that both directions share. `in` is weight's dimension of input channels.
void check_conv(const Tensor& x, const Tensor& w, const OptTensor& bias, int rank, int64_t groups, bool transposed,
                const char* op) {
  LM_CHECK(x.dim() == rank + 2 || x.dim() == rank + 1, ValueError, op, ": input has ", x.dim(), " dimensions, shape ",
           x.sizes(), "; need (N, C, ...) with ", rank + 2, ", or ", rank + 1, " without a batch");
  LM_CHECK(w.dim() == rank + 2, ValueError, op, ": weight has ", w.dim(), " dimensions, shape ", w.sizes(), "; need ",
           rank + 2);
  for (int i = 0; i < w.dim(); ++i)
    LM_CHECK(w.size(i) > 0, ValueError, op, ": weight is ", w.sizes(), "; need sizes above 0");
  LM_CHECK(groups > 0, ValueError, op, ": groups is ", groups, "; need at least 1");
  const int64_t channels = x.size(x.dim() - rank - 1);
  if (transposed) {
    LM_CHECK(channels == w.size(0), ValueError, op, ": input ", x.sizes(), " has ", channels, " channels, weight is ",
             w.sizes(), "; need input channels == weight.shape[0]");
    LM_CHECK(channels % groups == 0, ValueError, op, ": input has ", channels, " channels, groups is ", groups,
             "; need groups to divide them");
  } else {
    LM_CHECK(channels == w.size(1) * groups, ValueError, op, ": input ", x.sizes(), " has ", channels,
             " channels, weight is ", w.sizes(), " with groups ", groups,
             "; need input channels == weight.shape[1] * groups");
    LM_CHECK(w.size(0) % groups == 0, ValueError, op, ": weight ", w.sizes(), " has ", w.size(0),
             " output channels, groups is ", groups, "; need groups to divide them");
  }
  const int64_t out = transposed ? w.size(1) * groups : w.size(0);
  LM_CHECK(!bias || (bias->dim() == 1 && bias->size(0) == out), ValueError, op, ": bias is ", bias->sizes(),
           ", the result has ", out, " channels; need bias.shape == (", out, ",)");
  check_types(x, w, bias, op);
}

Tensor run_conv(const Tensor& input, const Tensor& weight, const OptTensor& bias, ConvSpec spec,
                const Shape& padding_after, const char* op) {
  const bool batched = input.dim() == spec.rank + 2;
  const Tensor x = batched ? input : unsqueeze(input, 0);
  Shape out(spec.rank, 0), spans(spec.rank, 0), padded(spec.rank, 0);
  for (int i = 0; i < spec.rank; ++i) {
    padded[i] = x.size(2 + i) + spec.padding[i] + padding_after[i];
    spans[i] = spec.dilation[i] * (weight.size(2 + i) - 1) + 1;
    LM_CHECK(spans[i] <= padded[i], ValueError, op, ": the kernel spans ", spans[i], " elements of dimension ", 2 + i,
             ", the padded input ", padded[i], " (input is ", input.sizes(), ", weight is ", weight.sizes(),
             "); need the kernel to fit");
    out[i] = (padded[i] - spans[i]) / spec.stride[i] + 1;
  }
  const Tensor y = apply(Conv{spec, out}, x, weight, bias);
  return batched ? y : squeeze(y, Shape{0});
}

Tensor conv(const Tensor& input, const Tensor& weight, const OptTensor& bias, const Shape& stride, const Shape& padding,
            const Shape& dilation, int64_t groups, int rank, const char* op) {
  check_conv(input, weight, bias, rank, groups, false, op);
  ConvSpec spec{rank, per_dimension(stride, rank, 1, op, "stride"), per_dimension(padding, rank, 0, op, "padding"),
                per_dimension(dilation, rank, 1, op, "dilation"), groups};
  return run_conv(input, weight, bias, spec, spec.padding, op);
}

Tensor conv(const Tensor& input, const Tensor& weight, const OptTensor& bias, const Shape& stride,
            const std::string& padding, const Shape& dilation, int64_t groups, int rank, const char* op) {
  LM_CHECK(padding == "same" || padding == "valid", ValueError, op, ": padding is '", padding,
           "'; need 'same', 'valid' or ints");
  check_conv(input, weight, bias, rank, groups, false, op);
  ConvSpec spec{rank, per_dimension(stride, rank, 1, op, "stride"), Shape(rank, 0),
                per_dimension(dilation, rank, 1, op, "dilation"), groups};
  Shape after(rank, 0);
  for (int i = 0; i < rank && padding == "same"; ++i) {
    LM_CHECK(spec.stride[i] == 1, ValueError, op, ": padding is 'same', stride is ", stride, "; need stride 1");
    const int64_t total = spec.dilation[i] * (weight.size(2 + i) - 1);
    spec.padding[i] = total / 2;
    after[i] = total - total / 2;  // the odd one goes after
  }
  return run_conv(input, weight, bias, spec, after, op);
}

Tensor conv_transpose(const Tensor& input, const Tensor& weight, const OptTensor& bias, const Shape& stride,
                      const Shape& padding, const Shape& output_padding, int64_t groups, const Shape& dilation,
                      int rank, const char* op) {
  check_conv(input, weight, bias, rank, groups, true, op);
  const ConvSpec spec{rank, per_dimension(stride, rank, 1, op, "stride"),
                      per_dimension(padding, rank, 0, op, "padding"), per_dimension(dilation, rank, 1, op, "dilation"),
                      groups};
  const Shape extra = per_dimension(output_padding, rank, 0, op, "output_padding");
  const bool batched = input.dim() == rank + 2;
  const Tensor x = batched ? input : unsqueeze(input, 0);
  Shape sizes(rank, 0);
  for (int i = 0; i < rank; ++i) {
    LM_CHECK(extra[i] < std::max(spec.stride[i], spec.dilation[i]), ValueError, op, ": output_padding is ",
             output_padding, ", stride is ", stride, ", dilation is ", dilation,
             "; need it smaller than stride or dilation");
    sizes[i] = (x.size(2 + i) - 1) * spec.stride[i] - 2 * spec.padding[i] +
               spec.dilation[i] * (weight.size(2 + i) - 1) + extra[i] + 1;
    LM_CHECK(x.size(2 + i) > 0 && sizes[i] > 0, ValueError, op, ": dimension ", 2 + i, " of the result would be ",
             sizes[i], " (input is ", input.sizes(), ", weight is ", weight.sizes(), ", padding is ", padding,
             "); need at least 1");
  }
  const Tensor y = apply(ConvTranspose{spec, sizes}, x, weight, bias);
  return batched ? y : squeeze(y, Shape{0});
}

}  // namespace

#define CONV(RANK)                                                                                            \
  Tensor conv##RANK##d(const Tensor& input, const Tensor& weight, const OptTensor& bias, const Shape& stride, \
                       const Shape& padding, const Shape& dilation, int64_t groups) {                         \
    return conv(input, weight, bias, stride, padding, dilation, groups, RANK, "conv" #RANK "d");              \
  }                                                                                                           \
  Tensor conv##RANK##d(const Tensor& input, const Tensor& weight, const OptTensor& bias, const Shape& stride, \
                       const std::string& padding, const Shape& dilation, int64_t groups) {                   \
    return conv(input, weight, bias, stride, padding, dilation, groups, RANK, "conv" #RANK "d");              \
  }                                                                                                           \
  Tensor conv_transpose##RANK##d(const Tensor& input, const Tensor& weight, const OptTensor& bias,            \
                                 const Shape& stride, const Shape& padding, const Shape& output_padding,      \
                                 int64_t groups, const Shape& dilation) {                                     \
    return conv_transpose(input, weight, bias, stride, padding, output_padding, groups, dilation, RANK,       \
                          "conv_transpose" #RANK "d");                                                        \
  }
CONV(1)
CONV(2)
CONV(3)
#undef CONV

}  // namespace lamina
