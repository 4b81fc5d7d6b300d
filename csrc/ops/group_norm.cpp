// group_norm, and instance_norm as its case of one channel a group. Next: batch_norm.cpp.
#include "autograd/apply.h"
#include "ops/channel_norm.h"
#include "ops/ops.h"

namespace lamina {
namespace {

// mean (N, C), spread from the groups to their channels, and rstd (N, G) are kept for backward.
struct GroupNorm {
  static constexpr const char* kName = "group_norm";
  int64_t groups;
  double eps;
  bool has_weight, has_bias;

  // Every (batch, channel) piece gets coefficients of its own: the statistics of its group, the parameters of its
  // channel.
  Tensor forward(Ctx& ctx, const Tensor& input, const OptTensor& weight, const OptTensor& bias) const {
    const Tensor x = channels_dense(input);
    const Channels l = channel_layout(x, true);
    const Pieces moments = channel_pieces(l, x);
    const Tensor rstd = empty_tensor({l.batches, groups}, x.dtype(), x.device()),
                 mean = empty_tensor({l.batches, l.channels}, x.dtype(), x.device()),
                 coefficients = empty_tensor({2, l.batches, l.channels}, x.dtype(), x.device());
    Tensor y = empty_as(x);
    const Stream stream = stream_of(x.device());
    kernel::group_norm_statistics(stream, l, groups, moments.first(), moments.second(), eps, data_or_null(weight),
                                  data_or_null(bias), rstd.data(), mean.data(), coefficients.data());
    if (x.numel())
      kernel::channel_affine(stream, l, x.data(), mean.data(), part(coefficients, 0), part(coefficients, 1), y.data());
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
    const Tensor x = channels_dense(input), g = in_order_of(grad, x), mean = ctx.saved(1), rstd = ctx.saved(2);
    const Channels l = channel_layout(x, true);
    const int64_t c = l.channels;
    const Stream stream = stream_of(x.device());
    const auto make = [&](const Shape& sizes) { return empty_tensor(sizes, x.dtype(), x.device()); };
    const Tensor coefficients = make({3, l.batches, c}), grad_weight = make({c}), grad_bias = make({c});
    Tensor grad_x = ctx.needs(0) ? empty_as(x) : Tensor();
    // The sums of every piece, and of those the group's.
    const Pieces sums = channel_pieces(l, x, g, mean.data());
    kernel::group_norm_grad(stream, l, groups, sums.first(), sums.second(), rstd.data(), data_or_null(weight),
                            coefficients.data(), grad_weight.data(), grad_bias.data());
    if (grad_x.defined() && x.numel())
      kernel::channel_grad(stream, l, x.data(), g.data(), mean.data(), part(coefficients, 0), part(coefficients, 1),
                           part(coefficients, 2), grad_x.data());
    return {grad_x, has_weight ? grad_weight : Tensor(), has_bias ? grad_bias : Tensor()};
  }

 private:
  // x (N, C, ...) -> (N, G, C / G, inner): statistics over the last two dimensions.
  Grads differentiable(const Tensor& x, const Tensor& grad, const OptTensor& weight) const {
    const int64_t c = x.size(1), each = c / groups;
    const Sizes split(Shape{x.size(0), groups, each, x.numel() ? x.numel() / (x.size(0) * c) : 0});
    OptTensor w;
    if (weight) w = reshape(*weight, Sizes(Shape{1, groups, each, 1}));
    const Tensor g = reshape(grad, split);
    const NormGradient n = norm_gradient(reshape(x, split), g, w, {2, 3}, eps, true);
    const auto total = [&](const Tensor& t) {
      return reshape(sum(t, Shape{0, 3}, false, std::nullopt), Sizes(Shape{c}));
    };
    return {reshape(n.x, Sizes(x.sizes())), has_weight ? total(g * n.h) : Tensor(), has_bias ? total(g) : Tensor()};
  }
};

}  // namespace

// Wu, He, "Group normalization", 2018.
Tensor group_norm(const Tensor& input, int64_t num_groups, const OptTensor& weight, const OptTensor& bias, double eps) {
  const char* name = GroupNorm::kName;
  check_channels_input(input, name);
  const int64_t c = input.size(1);
  LM_CHECK(num_groups > 0 && c % num_groups == 0, ValueError, name, ": num_groups is ", num_groups,
           ", input has shape ", input.sizes(), "; need a divisor of the ", c, " channels");
  const DType type = compute_type(input.dtype());
  const OptTensor w = norm_parameter(weight, {c}, type, name, "weight");
  const OptTensor b = norm_parameter(bias, {c}, type, name, "bias");
  return cast(apply(GroupNorm{num_groups, eps, bool(w), bool(b)}, cast(input, type), w, b), input.dtype());
}

// Ulyanov, Vedaldi, Lempitsky, "Instance normalization: the missing ingredient for fast stylization", 2016: a group for
// every channel. The running statistics average those of the instances, as in PyTorch.
Tensor instance_norm(const Tensor& input, const OptTensor& running_mean, const OptTensor& running_var,
                     const OptTensor& weight, const OptTensor& bias, bool use_input_stats, double momentum,
                     double eps) {
  const char* name = "instance_norm";
  check_channels_input(input, name);
  const int64_t n = input.size(0), c = input.size(1);
  if (!use_input_stats) return batch_norm(input, running_mean, running_var, weight, bias, false, momentum, eps);
  check_running(running_mean, c, name, "running_mean");
  check_running(running_var, c, name, "running_var");
  const int64_t count = n && c ? input.numel() / (n * c) : 0;
  LM_CHECK(count > 1, ValueError, name, ": input has shape ", input.sizes(), ", ", count,
           " values per channel; need more than one");
  if (running_mean || running_var) {
    NoGrad guard;
    const Tensor x = channels_dense(cast(input, compute_type(input.dtype())));
    const Channels l = channel_layout(x, true);
    const Pieces moments = channel_pieces(l, x);
    // The average over instances; PyTorch does the same by viewing (N, C) as channels of one batch.
    const Tensor total = empty_tensor({2, c}, DType::F64, x.device());
    kernel::instance_norm_statistics(stream_of(x.device()), l, moments.first(), moments.second(), total.data<double>());
    update_running(running_mean, total.data<double>(), momentum);
    update_running(running_var, total.data<double>() + c, momentum);
  }
  return group_norm(input, c, weight, bias, eps);
}

}  // namespace lamina
