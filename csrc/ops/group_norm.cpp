// group_norm, and instance_norm as its case of one channel a group. Next: batch_norm.cpp.
#include <cmath>

#include "autograd/apply.h"
#include "ops/channel_norm.h"
#include "ops/ops.h"

namespace lamina {
namespace {

// mean, rstd (N, G) are kept for backward.
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
    const int64_t c = l.channels, each = c / groups;
    const Pieces moments = channel_pieces(l, x);
    const Tensor mean = empty_tensor({l.batches, groups}, x.dtype()),
                 rstd = empty_tensor({l.batches, groups}, x.dtype()),
                 coefficients = empty_tensor({3, l.batches, c}, x.dtype());
    Tensor y = empty_as(x);
    dispatch_float(x.dtype(), kName, [&]<class T>() {
      T *m = coefficients.data<T>(), *scale = m + l.batches * c, *shift = scale + l.batches * c;
      for (int64_t group = 0; group < l.batches * groups; ++group) {
        // Channels of a group lie next to each other: pieces first ... first + each - 1, all of the same size.
        Moments total;
        const int64_t first = group * each;
        for (int64_t i = first; i < first + each; ++i)
          total.merge(double(l.inner), moments.first[i], moments.second[i]);
        const double r = 1 / std::sqrt(total.m2 / total.count + eps);
        mean.data<T>()[group] = T(total.mean);
        rstd.data<T>()[group] = T(r);
        for (int64_t i = first; i < first + each; ++i) {
          m[i] = T(total.mean);
          scale[i] = T(r * (weight ? double(weight->data<T>()[i % c]) : 1));
          shift[i] = bias ? bias->data<T>()[i % c] : T(0);
        }
      }
      if (x.numel()) kernel::channel_affine(stream_of(x.device()), l, x.data(), m, scale, shift, y.data());
    });
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
    const int64_t c = l.channels, each = c / groups, all = l.batches * c;
    const Tensor coefficients = empty_tensor({4, l.batches, c}, x.dtype()),
                 grad_weight = full_tensor({c}, 0, x.dtype()), grad_bias = full_tensor({c}, 0, x.dtype());
    Tensor grad_x = ctx.needs(0) ? empty_as(x) : Tensor();
    dispatch_float(x.dtype(), kName, [&]<class T>() {
      // The statistics spread out to pieces again; then the sums of every piece, and of those the group's.
      T *m = coefficients.data<T>(), *a = m + all, *b = a + all, *d = b + all;
      for (int64_t i = 0; i < all; ++i) m[i] = mean.data<T>()[i / each];
      const Pieces sums = channel_pieces(l, x, g, m);
      std::vector<double> total_w(size_t(c), 0), total_b(size_t(c), 0);
      for (int64_t group = 0; group < l.batches * groups; ++group) {
        // With u = g w: grad_x = r (u - [sum(u) + (x - m) r^2 sum(u (x - m))] / n).
        const double r = double(rstd.data<T>()[group]), n = double(each * l.inner);
        double sum_u = 0, sum_ux = 0;
        for (int64_t i = group * each; i < (group + 1) * each; ++i) {
          const double w = weight ? double(weight->data<T>()[i % c]) : 1;
          sum_u += w * sums.first[i];
          sum_ux += w * sums.second[i];
          total_w[size_t(i % c)] += r * sums.second[i];
          total_b[size_t(i % c)] += sums.first[i];
          a[i] = T(r * w);
        }
        for (int64_t i = group * each; i < (group + 1) * each; ++i)
          b[i] = T(-r * r * r * sum_ux / n), d[i] = T(-r * sum_u / n);
      }
      for (int64_t i = 0; i < c; ++i)
        grad_weight.data<T>()[i] = T(total_w[size_t(i)]), grad_bias.data<T>()[i] = T(total_b[size_t(i)]);
      if (grad_x.defined() && x.numel())
        kernel::channel_grad(stream_of(x.device()), l, x.data(), g.data(), m, a, b, d, grad_x.data());
    });
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
    std::vector<double> mean(static_cast<size_t>(c), 0), var(static_cast<size_t>(c), 0);
    for (int64_t i = 0; i < n * c; ++i) {
      mean[i % c] += moments.first[i] / double(n);
      var[i % c] += moments.second[i] / double(count - 1) / double(n);
    }
    // The average over instances; PyTorch does the same by viewing (N, C) as channels of one batch.
    update_running(running_mean, mean, momentum);
    update_running(running_var, var, momentum);
  }
  return group_norm(input, c, weight, bias, eps);
}

}  // namespace lamina
