// cross_entropy and nll_loss. Both gradients are operators of their own: nll_loss is linear in x, so the gradient of
// its gradient is itself; that of cross_entropy is the Jacobian of softmax. Probabilities are never stored: forward
// keeps one number a row, the logarithm of its sum of exponentials. Next: loss.cpp.
#include "autograd/apply.h"
#include "kernel/loss.h"
#include "kernel/softmax.h"
#include "ops/check.h"
#include "ops/ops.h"
#include "ops/reduction.h"

namespace lamina {
namespace {

const void* data_or_null(const OptTensor& x) { return x ? x->data() : nullptr; }
const double* divisor_or_null(const OptTensor& x) { return x ? x->data<double>() : nullptr; }

// What both losses know about a call.
struct ClassLoss {
  int64_t ignore, classes;
  Reduction reduction;
  bool weighted;
  double smooth = 0;

  // backward saves the target first, then the weight and the divisor, if any.
  void save(Ctx& ctx, const Tensor& target, const OptTensor& weight, const OptTensor& divisor) const {
    ctx.save(target);
    if (weight) ctx.save(*weight);
    if (divisor) ctx.save(*divisor);
  }
  bool has_divisor() const { return reduction == Reduction::Mean; }
  Tensor target(Ctx& ctx) const { return ctx.saved(0); }
  OptTensor weight(Ctx& ctx) const { return weighted ? OptTensor(ctx.saved(1)) : std::nullopt; }
  // Of reduction="mean": the weights of the targets that count, added up; a float64 number where the target lives.
  OptTensor divisor(Ctx& ctx) const { return has_divisor() ? OptTensor(ctx.saved(1 + weighted)) : std::nullopt; }
  // What else an operator saved, after these.
  Tensor extra(Ctx& ctx, int i) const { return ctx.saved(1 + weighted + has_divisor() + i); }

  // target (outer, inner), or (rows,)
  Nll call(const Tensor& target, const OptTensor& weight, const OptTensor& divisor, int64_t item) const {
    return {item,
            target.size(0),
            classes,
            target.dim() > 1 ? target.size(1) : 1,
            target.data<int64_t>(),
            data_or_null(weight),
            ignore,
            divisor_or_null(divisor)};
  }
  // Outside the tape, in a fixed order. Writes the divisor.
  Tensor reduce(const Tensor& losses, const Tensor& target, const OptTensor& weight, OptTensor& divisor) const {
    if (reduction == Reduction::None) return losses;
    if (has_divisor()) divisor = empty_tensor({}, DType::F64, losses.device());
    const Tensor total = empty_tensor({}, losses.dtype(), losses.device());
    kernel::class_loss_total(stream_of(losses.device()), call(target, weight, std::nullopt, losses.itemsize()),
                             losses.data(), divisor ? divisor->data<double>() : nullptr, total.data());
    return total;
  }
};

struct NllGrad;
// x (outer, classes, inner), target (outer, inner)
struct NllLoss : ClassLoss {
  static constexpr const char* kName = "nll_loss";
  Tensor forward(Ctx& ctx, const Tensor& x, const Tensor& target, const OptTensor& weight) const {
    const Tensor dense = contiguous(x);
    Tensor losses = empty_tensor(target.sizes(), x.dtype(), x.device());
    kernel::nll_gather(stream_of(x.device()), call(target, weight, std::nullopt, x.itemsize()), dense.data(),
                       losses.data());
    OptTensor divisor;
    Tensor loss = reduce(losses, target, weight, divisor);
    save(ctx, target, weight, divisor);
    return loss;
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const;
};

// The adjoint of NllLoss: from the gradient of the loss to that of x.
struct NllGrad : NllLoss {
  static constexpr const char* kName = "nll_loss_backward";
  Tensor forward(Ctx& ctx, const Tensor& grad, const Tensor& target, const OptTensor& weight,
                 const OptTensor& divisor) const {
    save(ctx, target, weight, divisor);
    const Tensor scale = contiguous(grad);
    Tensor grad_x = empty_tensor({target.size(0), classes, target.size(1)}, grad.dtype(), grad.device());
    kernel::nll_scatter(stream_of(grad.device()), call(target, weight, divisor, grad.itemsize()), scale.data(),
                        reduction == Reduction::None, grad_x.data());
    return grad_x;
  }
  Grads backward(Ctx& ctx, const Tensor& v) const {
    return {apply(NllLoss{*this}, v, target(ctx), weight(ctx)), Tensor(), Tensor(), Tensor()};
  }
};
Grads NllLoss::backward(Ctx& ctx, const Tensor& grad) const {
  return {apply(NllGrad{*this}, grad, target(ctx), weight(ctx), divisor(ctx)), Tensor(), Tensor()};
}

CrossEntropy cross_entropy_call(const ClassLoss& op, const Tensor& x, const Tensor& target, const OptTensor& weight,
                                const Tensor& lse, const OptTensor& divisor) {
  return {x.itemsize(),         x.size(0), x.size(1), x.data(),   target.data<int64_t>(),
          data_or_null(weight), op.ignore, op.smooth, lse.data(), divisor_or_null(divisor)};
}

// x (rows, classes), target (rows,), lse (rows,)
struct CrossEntropyGrad : ClassLoss {
  static constexpr const char* kName = "cross_entropy_backward";

  Tensor forward(Ctx& ctx, const Tensor& x, const Tensor& grad, const Tensor& target, const OptTensor& weight,
                 const OptTensor& divisor, const Tensor& lse) const {
    save(ctx, target, weight, divisor);
    ctx.save(x);
    ctx.save(grad);
    ctx.save(lse);
    const Tensor dense = contiguous(x), scale = contiguous(grad);
    Tensor grad_x = empty_tensor(x.sizes(), x.dtype(), x.device());
    kernel::cross_entropy_backward(stream_of(x.device()),
                                   cross_entropy_call(*this, dense, target, weight, lse, divisor), scale.data(),
                                   reduction == Reduction::None, grad_x.data());
    return grad_x;
  }
  // Products with v: d/dx = k Q (diag(p) - p p^T) v, and d/dk = v . (grad_x for k = 1), which is this operator again
  // with a gradient of ones, so that it can be differentiated once more. grad_x[i] = k[i] (Q[i] softmax(x[i]) - q[i]),
  // where k = grad / divisor, q sums to Q, and neither depends on x.
  Grads backward(Ctx& ctx, const Tensor& v) const {
    const Tensor x = extra(ctx, 0), grad = extra(ctx, 1), lse = extra(ctx, 2);
    const OptTensor d = divisor(ctx);
    const auto divided = [&](const Tensor& t) { return d ? t / cast(*d, t.dtype()) : t; };
    const Tensor ones = ones_tensor({x.size(0)}, x.dtype(), x.device());
    const ClassLoss per_row{ignore, classes, Reduction::None, weighted, smooth};
    const Tensor unit =
        apply(CrossEntropyGrad{per_row}, x, ones, target(ctx), weight(ctx), OptTensor(std::nullopt), lse);
    const Tensor along = divided(sum(v * unit, Shape{1}, false, std::nullopt));
    const Tensor k = reshape(divided(grad), Sizes(Shape{-1, 1})) * row_mass(x, target(ctx), weight(ctx), lse);
    const Tensor p = softmax(x, 1, std::nullopt), vp = v * p;
    return {k * (vp - p * sum(vp, Shape{1}, true, std::nullopt)),
            reduction == Reduction::None ? along : sum(along, std::nullopt, false, std::nullopt),
            Tensor(),
            Tensor(),
            Tensor(),
            Tensor()};
  }

 private:
  // Q (rows, 1). Used by second derivatives only; the other kernels have it in registers.
  Tensor row_mass(const Tensor& x, const Tensor& target, const OptTensor& weight, const Tensor& lse) const {
    Tensor mass = empty_tensor({target.size(0), 1}, x.dtype(), x.device());
    kernel::cross_entropy_mass(stream_of(x.device()), cross_entropy_call(*this, x, target, weight, lse, std::nullopt),
                               mass.data());
    return mass;
  }
};

struct CrossEntropyLoss : ClassLoss {
  static constexpr const char* kName = "cross_entropy";

  Tensor forward(Ctx& ctx, const Tensor& x, const Tensor& target, const OptTensor& weight) const {
    const Tensor dense = contiguous(x);
    const Tensor lse = empty_tensor(target.sizes(), x.dtype(), x.device());
    Tensor losses = empty_tensor(target.sizes(), x.dtype(), x.device());
    kernel::cross_entropy_forward(stream_of(x.device()),
                                  cross_entropy_call(*this, dense, target, weight, lse, std::nullopt), losses.data());
    OptTensor divisor;
    Tensor loss = reduce(losses, target, weight, divisor);
    save(ctx, target, weight, divisor);
    ctx.save(x);
    ctx.save(lse);
    return loss;
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const {
    const Tensor grad_x =
        apply(CrossEntropyGrad{*this}, extra(ctx, 0), grad, target(ctx), weight(ctx), divisor(ctx), extra(ctx, 1));
    return {grad_x, Tensor(), Tensor()};
  }
};

// --- arguments ---

int class_dim(const Tensor& input) { return input.dim() == 1 ? 0 : 1; }

OptTensor check_weight(const OptTensor& weight, const Tensor& input, const char* op) {
  if (!weight) return std::nullopt;
  const int64_t classes = input.size(class_dim(input));
  LM_CHECK(weight->dim() == 1 && weight->size(0) == classes, ValueError, op, ": weight has shape ", weight->sizes(),
           ", input has shape ", input.sizes(), "; need one weight for each of the ", classes, " classes");
  LM_CHECK(weight->is_floating(), TypeError, op, ": weight is ", weight->dtype(), "; need a floating-point tensor");
  LM_CHECK(!weight->requires_grad(), RuntimeError, op, ": weight requires a gradient, which is not defined; detach it");
  return contiguous(cast(*weight, compute_type(input.dtype())));
}

// Class indices as int64, each a valid one or the ignored one. On a GPU the kernels see to that (kernel/loss.h).
Tensor check_target(const Tensor& input, const Tensor& target, int64_t ignore, const char* op) {
  LM_CHECK(is_integral(target.dtype()), TypeError, op, ": target is ", target.dtype(), "; need class indices (int64)");
  Shape expected = input.sizes();
  expected.erase(class_dim(input));
  LM_CHECK(target.sizes() == expected, ValueError, op, ": input has shape ", input.sizes(), ", target has shape ",
           target.sizes(), "; need a target of shape ", expected);
  const Tensor index = contiguous(cast(target, DType::I64));
  if (!index.device().is_cpu()) return index;
  const int64_t *t = index.data<int64_t>(), classes = input.size(class_dim(input));
  for (int64_t i = 0, n = index.numel(); i < n; ++i)
    if (!((t[i] >= 0 && t[i] < classes) || t[i] == ignore)) [[unlikely]]
      fail(target_complaint(op, classes, ignore), t[i], at_element(index, i).c_str());
  return index;
}

void check_input(const Tensor& input, const char* op) {
  LM_CHECK(input.is_floating(), TypeError, op, ": input is ", input.dtype(), "; need a floating-point tensor");
  LM_CHECK(input.dim() >= 1, ValueError, op, ": input has shape ", input.sizes(), "; need (C,) or (N, C, ...)");
}

ClassLoss class_loss(const Tensor& input, const OptTensor& weight, int64_t ignore, Reduction reduction) {
  return {ignore, input.size(class_dim(input)), reduction, bool(weight)};
}

// Targets that are themselves probabilities: -sum_c w[c] target[c] log_softmax(x)[c], differentiable in both.
Tensor soft_cross_entropy(const Tensor& input, const Tensor& target, const OptTensor& weight, Reduction reduction,
                          double smooth) {
  LM_CHECK(target.sizes() == input.sizes(), ValueError, "cross_entropy: input has shape ", input.sizes(),
           ", target has shape ", target.sizes(), "; need equal shapes for a target of class probabilities");
  const int dim = class_dim(input);
  const double classes = double(input.size(dim));
  // Smoothing mixes the target with the uniform distribution; weights apply to the mixture, as in PyTorch.
  Tensor q = cast(target, input.dtype());
  if (smooth > 0) q = q * Tensor(1 - smooth) + Tensor(smooth / classes);
  if (weight) {
    Shape along(input.dim(), 1);
    along[dim] = input.size(dim);
    q = q * reshape(*weight, Sizes(along));
  }
  const Tensor losses = neg(sum(log_softmax(input, dim, std::nullopt) * q, Shape{dim}, false, std::nullopt));
  return reduce_loss(losses, reduction, double(losses.numel()));
}

}  // namespace

Tensor cross_entropy(const Tensor& input, const Tensor& target, const OptTensor& weight, int64_t ignore_index,
                     const std::string& reduction, double label_smoothing) {
  const char* name = "cross_entropy";
  check_input(input, name);
  LM_CHECK(label_smoothing >= 0 && label_smoothing <= 1, ValueError, name, ": label_smoothing is ", label_smoothing,
           "; need 0 <= label_smoothing <= 1");
  const Reduction how = parse_reduction(reduction, name);
  if (is_half(input.dtype()))
    return cast(cross_entropy(cast(input, DType::F32), target.is_floating() ? cast(target, DType::F32) : target, weight,
                              ignore_index, reduction, label_smoothing),
                input.dtype());
  const OptTensor w = check_weight(weight, input, name);
  if (target.is_floating()) return soft_cross_entropy(input, target, w, how, label_smoothing);
  const Tensor index = check_target(input, target, ignore_index, name);
  ClassLoss op = class_loss(input, w, ignore_index, how);
  op.smooth = label_smoothing;
  // (N, C, d...) -> (N, d..., C) -> (N * d..., C); without a copy where memory is channels-last.
  Tensor x = input;
  if (input.dim() > 2) x = movedim(input, Shape{1}, Shape{-1});
  if (input.dim() != 2) x = reshape(x, Sizes(Shape{index.numel(), op.classes}));
  const Tensor loss = apply(CrossEntropyLoss{op}, x, reshape(index, Sizes(Shape{-1})), w);
  return how == Reduction::None && input.dim() != 2 ? reshape(loss, Sizes(target.sizes())) : loss;
}

Tensor nll_loss(const Tensor& input, const Tensor& target, const OptTensor& weight, int64_t ignore_index,
                const std::string& reduction) {
  const char* name = "nll_loss";
  check_input(input, name);
  const Reduction how = parse_reduction(reduction, name);
  if (is_half(input.dtype()))
    return cast(nll_loss(cast(input, DType::F32), target, weight, ignore_index, reduction), input.dtype());
  const OptTensor w = check_weight(weight, input, name);
  const Tensor index = check_target(input, target, ignore_index, name);
  const NllLoss op{class_loss(input, w, ignore_index, how)};
  // (N, C, d...) as (outer, C, inner): classes stay where they are, the gather jumps `inner` elements a class.
  const int64_t outer = input.dim() == 1 ? 1 : input.size(0), inner = outer ? index.numel() / outer : 1;
  const Tensor x = reshape(input, Sizes(Shape{outer, op.classes, inner}));
  const Tensor loss = apply(op, x, reshape(index, Sizes(Shape{outer, inner})), w);
  return how == Reduction::None ? reshape(loss, Sizes(target.sizes())) : loss;
}

}  // namespace lamina
