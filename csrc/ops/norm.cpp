// layer_norm and rms_norm: rows of the last dimensions. Forward keeps mean and 1 / deviation of every row (one number
// each, against a whole h); backward is one fused kernel, or the same rule in differentiable operators.
// Next: channel_norm.cpp.
#include "ops/norm.h"

#include <limits>

#include "autograd/apply.h"
#include "kernel/norm.h"
#include "ops/ops.h"

namespace lamina {

// The gradient that reaches x through its own statistics: projections onto 1 and onto h are taken out.
//   grad_x = (u - mean(u) - h mean(u h)) rstd,  u = grad w
NormGradient norm_gradient(const Tensor& x, const Tensor& grad, const OptTensor& weight, const Shape& dims, double eps,
                           bool centered) {
  const auto average = [&](const Tensor& t) { return mean(t, dims, true, std::nullopt); };
  const Tensor d = centered ? x - average(x) : x;
  const Tensor rstd = rsqrt(average(d * d) + Tensor(eps)), h = d * rstd;
  const Tensor u = weight ? grad * *weight : grad;
  const Tensor v = centered ? u - average(u) : u;
  return {(v - h * average(u * h)) * rstd, h};
}

// Checked against the shape it must have; the cast is recorded, so a float parameter of a half network gets its
// gradient in its own dtype.
OptTensor norm_parameter(const OptTensor& p, const Shape& sizes, DType type, const char* op, const char* name) {
  if (!p) return std::nullopt;
  LM_CHECK(p->sizes() == sizes, ValueError, op, ": ", name, " has shape ", p->sizes(), "; need ", sizes);
  LM_CHECK(p->is_floating(), TypeError, op, ": ", name, " is ", p->dtype(), "; need a floating-point tensor");
  return contiguous(cast(*p, type));
}

namespace {

// x is row-major, its last `dims` dimensions make a row.
template <bool centered>
struct RowNorm {
  static constexpr const char* kName = centered ? "layer_norm" : "rms_norm";
  int dims;
  double eps;
  bool has_weight, has_bias;

  // What the kernels ask for: (rows, n) and the pointers of forward's statistics.
  NormRows call(const Tensor& x, const OptTensor& weight, const Tensor& mean, const Tensor& rstd) const {
    int64_t n = 1;
    for (int i = 0; i < dims; ++i) n *= x.size(x.dim() - 1 - i);
    return {x.itemsize(),
            n ? x.numel() / n : 0,
            n,
            x.data(),
            data_or_null(weight),
            centered ? mean.data() : nullptr,
            rstd.data(),
            eps,
            centered};
  }

  Tensor forward(Ctx& ctx, const Tensor& input, const OptTensor& weight, const OptTensor& bias) const {
    const Tensor x = contiguous(input);
    Shape rows = x.sizes();
    for (int i = 0; i < dims; ++i) rows.erase(rows.size() - 1);
    // One number a row each: (..., n) -> (...). rms_norm has no mean; rstd stands in and is not read as one.
    const Tensor rstd = empty_tensor(rows, x.dtype(), x.device());
    const Tensor mean = centered ? empty_tensor(rows, x.dtype(), x.device()) : rstd;
    Tensor y = empty_tensor(x.sizes(), x.dtype(), x.device());
    kernel::norm_rows_forward(stream_of(x.device()), call(x, weight, mean, rstd), data_or_null(bias), y.data());
    // Not y and not h: backward computes h = (x - mean) rstd again, which is cheaper than reading it.
    ctx.save(input);
    ctx.save(mean);
    ctx.save(rstd);
    if (weight) ctx.save(*weight);
    return y;
  }

  Grads backward(Ctx& ctx, const Tensor& grad) const {
    const Tensor input = ctx.saved(0);
    const OptTensor weight = has_weight ? OptTensor(ctx.saved(3)) : std::nullopt;
    if (grad_enabled()) return differentiable(input, grad, weight);
    const Tensor x = contiguous(input), g = contiguous(grad);
    const NormRows rows = call(x, weight, ctx.saved(1), ctx.saved(2));
    // Gradients nobody asked for stay undefined, and the kernel skips them.
    const auto wanted = [&](bool wants, const Shape& sizes) {
      return wants ? empty_tensor(sizes, x.dtype(), x.device()) : Tensor();
    };
    const Shape parameter(std::span<const int64_t>(x.sizes().end() - dims, size_t(dims)));
    const Tensor grad_x = wanted(ctx.needs(0), x.sizes()), grad_weight = wanted(has_weight && ctx.needs(1), parameter),
                 grad_bias = wanted(has_bias && ctx.needs(2), parameter);
    // Per chunk of rows its own sums for weight and bias, added in order: the same bits for any number of threads.
    const Tensor scratch = empty_tensor({2, norm_row_chunks(rows.rows), rows.n}, x.dtype(), x.device());
    kernel::norm_rows_backward(stream_of(x.device()), rows, g.data(), data_or_null(grad_x), data_or_null(grad_weight),
                               data_or_null(grad_bias), scratch.data());
    return {grad_x, grad_weight, grad_bias};
  }

 private:
  Grads differentiable(const Tensor& x, const Tensor& grad, const OptTensor& weight) const {
    // A row's own dimensions make its statistics, the others sum into the parameters.
    Shape row, outer;
    for (int i = 0; i < x.dim(); ++i) (i < x.dim() - dims ? outer : row).push_back(i);
    const NormGradient g = norm_gradient(x, grad, weight, row, eps, centered);
    const auto total = [&](const Tensor& t) { return outer.empty() ? t : sum(t, outer, false, std::nullopt); };
    return {g.x, has_weight ? total(grad * g.h) : Tensor(), has_bias ? total(grad) : Tensor()};
  }
};

template <bool centered>
Tensor row_norm(const Tensor& input, const Shape& normalized, const OptTensor& weight, const OptTensor& bias,
                double eps) {
  const char* name = RowNorm<centered>::kName;
  LM_CHECK(input.is_floating(), TypeError, name, ": input is ", input.dtype(), "; need a floating-point tensor");
  LM_CHECK(normalized.size() >= 1, ValueError, name, ": normalized_shape is (); need at least one dimension");
  // Compared from the end: normalized_shape names the last dimensions.
  bool matches = normalized.size() <= input.dim();
  for (int i = 1; matches && i <= normalized.size(); ++i) matches = input.size(-i) == normalized[normalized.size() - i];
  LM_CHECK(matches, ValueError, name, ": normalized_shape is ", normalized, ", input has shape ", input.sizes(),
           "; need the last dimensions of input");
  const DType type = compute_type(input.dtype());
  const OptTensor w = norm_parameter(weight, normalized, type, name, "weight");
  const OptTensor b = norm_parameter(bias, normalized, type, name, "bias");
  const RowNorm<centered> op{normalized.size(), eps, bool(w), bool(b)};
  return cast(apply(op, cast(input, type), w, b), input.dtype());
}

}  // namespace

// Ba, Kiros, Hinton, "Layer normalization", 2016.
Tensor layer_norm(const Tensor& input, const Shape& normalized_shape, const OptTensor& weight, const OptTensor& bias,
                  double eps) {
  return row_norm<true>(input, normalized_shape, weight, bias, eps);
}

// Zhang, Sennrich, "Root mean square layer normalization", 2019. eps=None: the spacing of numbers at one.
Tensor rms_norm(const Tensor& input, const Shape& normalized_shape, const OptTensor& weight,
                std::optional<double> eps) {
  const double spacing = input.dtype() == DType::F64 ? std::numeric_limits<double>::epsilon()
                                                     : double(std::numeric_limits<float>::epsilon());
  return row_norm<false>(input, normalized_shape, weight, std::nullopt, eps.value_or(spacing));
}

}  // namespace lamina
