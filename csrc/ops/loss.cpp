// Elementwise losses. The formulas are in math/loss.h: the kernels run them on registers, and the differentiable
// gradient here runs the very same lines on tensors. Next: cross_entropy.cpp.
#include "math/loss.h"

#include "autograd/apply.h"
#include "kernel/loss.h"
#include "ops/check.h"
#include "ops/ops.h"
#include "ops/reduction.h"

namespace lamina {

Reduction parse_reduction(const std::string& reduction, const char* op) {
  if (reduction == "mean") return Reduction::Mean;
  if (reduction == "sum") return Reduction::Sum;
  LM_CHECK(reduction == "none", ValueError, op, ": reduction is '", reduction, "'; need 'none', 'mean' or 'sum'");
  return Reduction::None;
}

Tensor reduce_loss(const Tensor& losses, Reduction reduction, double divisor) {
  if (reduction == Reduction::None) return losses;
  const Tensor total = sum(losses, std::nullopt, false, std::nullopt);
  return reduction == Reduction::Sum ? total : total / Tensor(divisor);
}

namespace {

constexpr const char* kLossNames[] = {
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "kl_div",   "kl_div"};

// x and target: equal shapes and dtypes, row-major.
template <LossKind kind>
struct ElementwiseLoss {
  static constexpr const char* kName = kLossNames[int(kind)];
  double c;  // beta or delta
  Reduction reduction;
  double divisor;

  Loss call(const Tensor& x, const Tensor& target) const {
    return {x.itemsize(), x.numel(), kind, c, x.data(), target.data(), divisor};
  }
  Tensor forward(Ctx& ctx, const Tensor& input, const Tensor& goal) const {
    ctx.save(input);
    ctx.save(goal);
    // A reduced loss never stores the losses.
    const Tensor x = contiguous(input), target = contiguous(goal);
    const Stream stream = stream_of(x.device());
    if (reduction == Reduction::None) {
      Tensor losses = empty_tensor(x.sizes(), x.dtype(), x.device());
      kernel::loss_forward(stream, call(x, target), losses.data(), nullptr);
      return losses;
    }
    Tensor total = empty_tensor({}, x.dtype(), x.device());
    kernel::loss_total(stream, call(x, target), total.data());
    return total;
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const {
    const Tensor x = ctx.saved(0), target = ctx.saved(1);
    // The second derivative: the formula's derivative evaluated on tensors, which records itself.
    if (!grad_enabled()) return fused(ctx, contiguous(x), contiguous(target), grad);
    return math::visit_loss(kind, c, [&](auto formula) -> Grads {
      const Tensor g = divisor == 1 ? grad : grad / Tensor(divisor);
      return {ctx.needs(0) ? g * formula.dx(x, target) : Tensor(), ctx.needs(1) ? g * formula.dt(x, target) : Tensor()};
    });
  }

 private:
  Grads fused(Ctx& ctx, const Tensor& x, const Tensor& target, const Tensor& grad) const {
    // One scale for all elements, or one each.
    const bool each = reduction == Reduction::None;
    const Tensor scale = contiguous(grad);
    const Tensor grad_x = ctx.needs(0) ? empty_tensor(x.sizes(), x.dtype(), x.device()) : Tensor();
    const Tensor grad_target = ctx.needs(1) ? empty_tensor(x.sizes(), x.dtype(), x.device()) : Tensor();
    kernel::loss_backward(stream_of(x.device()), call(x, target), scale.data(), each,
                          grad_x.defined() ? grad_x.data() : nullptr,
                          grad_target.defined() ? grad_target.data() : nullptr);
    return {grad_x, grad_target};
  }
};

template <LossKind kind>
Tensor elementwise_loss(const Tensor& input, const Tensor& target, const std::string& reduction, double c = 1,
                        double mean_divisor = 0) {
  const char* name = kLossNames[int(kind)];
  const Reduction how = parse_reduction(reduction, name);
  const DType type = result_type({&input, &target});
  LM_CHECK(is_floating(type), TypeError, name, ": input is ", input.dtype(), ", target is ", target.dtype(),
           "; need floating-point tensors");
  const Shape sizes = broadcast(input.sizes(), target.sizes(), name);
  const DType compute = compute_type(type);
  // Broadcast and promoted before the door: un-broadcasting of the gradients is the business of expand and cast.
  const auto ready = [&](const Tensor& x) {
    const Tensor y = cast(x, compute);
    return y.sizes() == sizes ? y : expand(y, Sizes(sizes));
  };
  const double divisor = how != Reduction::Mean ? 1 : mean_divisor ? mean_divisor : double(sizes.numel());
  return cast(apply(ElementwiseLoss<kind>{c, how, divisor}, ready(input), ready(target)), type);
}

// Weighted losses are rare: the weight is applied in differentiable operators. PyTorch's mean divides by the number of
// elements, not by the sum of the weights.
// weight * loss, then reduced.
Tensor weighted(const Tensor& losses, const OptTensor& weight, const std::string& reduction, const char* op) {
  const Tensor y = weight ? losses * *weight : losses;
  return reduce_loss(y, parse_reduction(reduction, op), double(y.numel()));
}

}  // namespace

Tensor mse_loss(const Tensor& input, const Tensor& target, const std::string& reduction) {
  return elementwise_loss<LossKind::Mse>(input, target, reduction);
}
Tensor l1_loss(const Tensor& input, const Tensor& target, const std::string& reduction) {
  return elementwise_loss<LossKind::L1>(input, target, reduction);
}
Tensor smooth_l1_loss(const Tensor& input, const Tensor& target, const std::string& reduction, double beta) {
  LM_CHECK(beta >= 0, ValueError, "smooth_l1_loss: beta is ", beta, "; need beta >= 0");
  if (beta == 0) return l1_loss(input, target, reduction);
  return elementwise_loss<LossKind::SmoothL1>(input, target, reduction, beta);
}
Tensor huber_loss(const Tensor& input, const Tensor& target, const std::string& reduction, double delta) {
  LM_CHECK(delta > 0, ValueError, "huber_loss: delta is ", delta, "; need delta > 0");
  return elementwise_loss<LossKind::Huber>(input, target, reduction, delta);
}

Tensor binary_cross_entropy(const Tensor& input, const Tensor& target, const OptTensor& weight,
                            const std::string& reduction) {
  const char* name = "binary_cross_entropy";
  LM_CHECK(input.sizes() == target.sizes(), ValueError, name, ": input has shape ", input.sizes(),
           ", target has shape ", target.sizes(), "; need equal shapes");
  LM_CHECK(input.is_floating(), TypeError, name, ": input is ", input.dtype(), "; need a floating-point tensor");
  // NaN passes: it is not out of range, and it will show in the loss.
  const char* text = "input #@ is not a probability; need 0 <= input <= 1, or binary_cross_entropy_with_logits";
  check_values(input, 0, 1, NaN::Allowed, {Complaint::Value, name, text, {}}, at_element);
  if (!weight) return elementwise_loss<LossKind::Bce>(input, target, reduction);
  return weighted(elementwise_loss<LossKind::Bce>(input, target, "none"), weight, reduction, name);
}

Tensor binary_cross_entropy_with_logits(const Tensor& input, const Tensor& target, const OptTensor& weight,
                                        const std::string& reduction, const OptTensor& pos_weight) {
  const char* name = "binary_cross_entropy_with_logits";
  LM_CHECK(input.sizes() == target.sizes(), ValueError, name, ": input has shape ", input.sizes(),
           ", target has shape ", target.sizes(), "; need equal shapes");
  if (!weight && !pos_weight) return elementwise_loss<LossKind::BceLogits>(input, target, reduction);
  Tensor losses = elementwise_loss<LossKind::BceLogits>(input, target, "none");
  // pos_weight multiplies the term of the positive class: (pos_weight - 1) t softplus(-x) more.
  if (pos_weight) {
    const Tensor ones = ones_tensor(input.sizes(), input.dtype(), input.device());
    losses = losses + (*pos_weight - Tensor(1.0)) * target * elementwise_loss<LossKind::BceLogits>(input, ones, "none");
  }
  return weighted(losses, weight, reduction, name);
}

Tensor kl_div(const Tensor& input, const Tensor& target, const std::string& reduction, bool log_target) {
  const bool batch = reduction == "batchmean";
  LM_CHECK(!batch || input.dim() > 0, ValueError, "kl_div: input has shape ", input.sizes(),
           "; need a batch dimension for reduction='batchmean'");
  LM_CHECK(batch || reduction == "none" || reduction == "mean" || reduction == "sum", ValueError,
           "kl_div: reduction is '", reduction, "'; need 'none', 'batchmean', 'mean' or 'sum'");
  // Only the divisor differs: 0 stands for the number of elements.
  const std::string how = batch ? "mean" : reduction;
  const double divisor = batch ? double(input.size(0)) : 0;
  return log_target ? elementwise_loss<LossKind::KlDivLog>(input, target, how, 1, divisor)
                    : elementwise_loss<LossKind::KlDiv>(input, target, how, 1, divisor);
}

}  // namespace lamina
