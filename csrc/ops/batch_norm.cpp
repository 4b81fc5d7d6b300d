// batch_norm. Statistics are taken before the door, outside the tape: the operator gets them as constants, and its
// backward rule knows that in training they came from x. Next: group_norm.cpp.
#include "autograd/apply.h"
#include "ops/channel_norm.h"
#include "ops/ops.h"

namespace lamina {
namespace {

Tensor view_channels(const Tensor& p, int dim) {  // (C) -> (1, C, 1, ...)
  Shape sizes(dim, 1);
  sizes[1] = p.size(0);
  return reshape(p, Sizes(sizes));
}
// What a channel's statistics, and its parameters' gradients, sum over: N and the spatial dimensions.
Shape all_but_channels(int dim) {
  Shape dims;
  for (int i = 0; i < dim; ++i)
    if (i != 1) dims.push_back(i);
  return dims;
}

// mean, rstd (C): of this batch when training, else the running ones; constants for the tape either way.
struct BatchNorm {
  static constexpr const char* kName = "batch_norm";
  bool training;
  double eps;
  bool has_weight, has_bias;

  Tensor forward(Ctx& ctx, const Tensor& input, const OptTensor& weight, const OptTensor& bias, const Tensor& mean,
                 const Tensor& rstd) const {
    ctx.save(input);
    ctx.save(mean);
    ctx.save(rstd);
    if (weight) ctx.save(*weight);
    // y = (x - mean) * scale + shift: the subtraction first, so that a mean that is large against the deviation does
    // not cancel two large products.
    const Tensor x = channels_dense(input), scale = weight ? rstd * *weight : rstd;
    const Channels l = channel_layout(x, false);
    const Tensor shift = bias ? *bias : full_tensor({l.channels}, 0, x.dtype(), x.device());
    Tensor y = empty_as(x);
    if (x.numel())
      kernel::channel_affine(stream_of(x.device()), l, x.data(), mean.data(), scale.data(), shift.data(), y.data());
    return y;
  }

  Grads backward(Ctx& ctx, const Tensor& grad) const {
    const Tensor x = ctx.saved(0), mean = ctx.saved(1), rstd = ctx.saved(2);
    const OptTensor weight = has_weight ? OptTensor(ctx.saved(3)) : std::nullopt;
    return grad_enabled() ? differentiable(x, grad, weight, mean, rstd)
                          : fused(ctx, channels_dense(x), grad, weight, mean, rstd);
  }

 private:
  // grad_x = r w (g - [sum(g) + (x - m) r^2 sum(g (x - m))] / n), the bracket only in training.
  Grads fused(Ctx& ctx, const Tensor& x, const Tensor& grad, const OptTensor& weight, const Tensor& mean,
              const Tensor& rstd) const {
    const Tensor g = in_order_of(grad, x);
    const Channels l = channel_layout(x, false);
    const Stream stream = stream_of(x.device());
    const int64_t c = l.channels;
    // sum(g) and sum(g (x - m)) per channel give all three gradients. In evaluation x needs neither.
    Pieces sums;
    if (training || (has_weight && ctx.needs(1)) || (has_bias && ctx.needs(2)))
      sums = channel_pieces(l, x, g, mean.data());
    const bool summed = sums.values.defined();
    const auto make = [&](const Shape& sizes) { return empty_tensor(sizes, x.dtype(), x.device()); };
    const Tensor coefficients = make({3, c}), grad_weight = make({c}), grad_bias = make({c}),
                 grad_x = ctx.needs(0) ? empty_as(x) : Tensor();
    kernel::batch_norm_grad(stream, l, summed ? sums.first() : nullptr, summed ? sums.second() : nullptr, rstd.data(),
                            data_or_null(weight), training, coefficients.data(), grad_weight.data(), grad_bias.data());
    if (grad_x.defined() && x.numel())
      kernel::channel_grad(stream, l, x.data(), g.data(), mean.data(), part(coefficients, 0), part(coefficients, 1),
                           part(coefficients, 2), grad_x.data());
    return {grad_x, has_weight ? grad_weight : Tensor(), has_bias ? grad_bias : Tensor(), Tensor(), Tensor()};
  }

  Grads differentiable(const Tensor& x, const Tensor& grad, const OptTensor& weight, const Tensor& mean,
                       const Tensor& rstd) const {
    const Shape dims = all_but_channels(x.dim());
    OptTensor w;
    if (weight) w = view_channels(*weight, x.dim());
    NormGradient g;
    // In evaluation mean and rstd are constants, and the rule is that of an affine map.
    if (training) {
      g = norm_gradient(x, grad, w, dims, eps, true);
    } else {
      const Tensor r = view_channels(rstd, x.dim());
      g = {(w ? grad * *w : grad) * r, (x - view_channels(mean, x.dim())) * r};
    }
    const auto total = [&](const Tensor& t) { return sum(t, dims, false, std::nullopt); };
    return {g.x, has_weight ? total(grad * g.h) : Tensor(), has_bias ? total(grad) : Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

// Ioffe, Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate shift", 2015.
Tensor batch_norm(const Tensor& input, const OptTensor& running_mean, const OptTensor& running_var,
                  const OptTensor& weight, const OptTensor& bias, bool training, double momentum, double eps) {
  const char* name = BatchNorm::kName;
  check_channels_input(input, name);
  const int64_t c = input.size(1);
  check_running(running_mean, c, name, "running_mean");
  check_running(running_var, c, name, "running_var");
  LM_CHECK(training || (running_mean && running_var), ValueError, name,
           ": running_mean or running_var is None and training is False; need both, or training=True");
  const DType type = compute_type(input.dtype());
  const OptTensor w = norm_parameter(weight, {c}, type, name, "weight");
  const OptTensor b = norm_parameter(bias, {c}, type, name, "bias");
  const Tensor x = cast(input, type);

  const Tensor mean = empty_tensor({c}, type, x.device()), rstd = empty_tensor({c}, type, x.device());
  const Stream stream = stream_of(x.device());
  if (training) {
    // The tape sees the statistics as constants: BatchNorm's rule contains their dependence on x.
    NoGrad guard;
    const Tensor values = channels_dense(x);
    const Channels l = channel_layout(values, false);
    LM_CHECK(l.rows > 1, ValueError, name, ": input has shape ", input.sizes(), ", ", l.rows,
             " values per channel; need more than one to train");
    const Pieces pieces = channel_pieces(l, values);
    // PyTorch's convention: normalise by the biased variance, remember the unbiased one.
    const Tensor total = empty_tensor({2, c}, DType::F64, x.device());
    kernel::batch_norm_statistics(stream, l, pieces.first(), pieces.second(), eps, total.data<double>(), mean.data(),
                                  rstd.data());
    update_running(running_mean, total.data<double>(), momentum);
    update_running(running_var, total.data<double>() + c, momentum);
  } else {
    // Copied, not saved: a later training step changes the running statistics in place, and this call's backward must
    // still see what it used.
    const Tensor m = contiguous(cast(running_mean->alias(), DType::F64)),
                 v = contiguous(cast(running_var->alias(), DType::F64));
    kernel::batch_norm_constants(stream, x.itemsize(), c, m.data<double>(), v.data<double>(), eps, mean.data(),
                                 rstd.data());
  }
  return cast(apply(BatchNorm{training, eps, bool(w), bool(b)}, x, w, b, mean, rstd), input.dtype());
}

}  // namespace lamina
