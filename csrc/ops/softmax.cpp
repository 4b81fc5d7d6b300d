// softmax, log_softmax, softmin. The gradient is an operator itself (SoftmaxGrad), so that a first and a higher order
// run the same fused kernel; only the rule of the second derivative is written out. Next: loss.cpp.
#include "kernel/softmax.h"
#include "autograd/apply.h"
#include "ops/ops.h"

namespace lamina {
namespace {

// A row-major tensor as (outer, n, inner) around dimension `dim`.
struct Around {
  int64_t outer = 1, n = 1, inner = 1;
  Around(const Tensor& x, int dim) {
    for (int i = 0; i < x.dim(); ++i) (i < dim ? outer : i == dim ? n : inner) *= x.size(i);
  }
};

// Kept as size 1, so that it broadcasts back against x.
Tensor sum_keep(const Tensor& x, int dim) { return sum(x, Shape{dim}, true, std::nullopt); }

// From y and the gradient of y to that of x. It keeps y and not x: the Jacobian of softmax is a function of the
// probabilities, diag(y) - y y^T, and that of log_softmax of their logarithms.
template <bool log>
struct SoftmaxGrad {
  static constexpr const char* kName = log ? "log_softmax_backward" : "softmax_backward";
  int dim;

  Tensor forward(Ctx& ctx, const Tensor& y, const Tensor& grad) const {
    ctx.save(y);
    ctx.save(grad);
    const Tensor dense_y = contiguous(y), g = contiguous(grad);
    Tensor grad_x = empty_tensor(y.sizes(), y.dtype(), y.device());
    const Around a(y, dim);
    if (y.numel())
      kernel::softmax_backward(stream_of(y.device()), y.itemsize(), dense_y.data(), g.data(), grad_x.data(), a.outer,
                               a.n, a.inner, log);
    return grad_x;
  }
  // softmax: grad_x = y (g - s), s = sum(g y).   log_softmax: grad_x = g - e^y sum(g).
  Grads backward(Ctx& ctx, const Tensor& v) const {
    const Tensor y = ctx.saved(0), g = ctx.saved(1);
    // d/dy and d/dg of v . grad_x. The Jacobian is symmetric for softmax, so the rule for g is the operator itself.
    if constexpr (log) {
      const Tensor ve = v * exp(y);
      return {-(ve * sum_keep(g, dim)), v - sum_keep(ve, dim)};
    } else {
      const Tensor vy = sum_keep(v * y, dim);
      return {v * (g - sum_keep(g * y, dim)) - g * vy, (v - vy) * y};
    }
  }
};

// Bridle, "Training stochastic model recognition algorithms as networks can lead to maximum mutual information", 1989.
template <bool log>
struct Softmax {
  static constexpr const char* kName = log ? "log_softmax" : "softmax";
  int dim;

  Tensor forward(Ctx& ctx, const Tensor& input) const {
    const Tensor x = contiguous(input);
    Tensor y = empty_tensor(x.sizes(), x.dtype(), x.device());
    const Around a(x, dim);
    if (x.numel())
      kernel::softmax_forward(stream_of(x.device()), x.itemsize(), x.data(), y.data(), a.outer, a.n, a.inner, log);
    ctx.save_output(y);
    return y;
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const { return {apply(SoftmaxGrad<log>{dim}, ctx.saved(0), grad)}; }
};

template <bool log>
Tensor softmax_along(const Tensor& input, int64_t dim, std::optional<DType> dtype) {
  const char* name = Softmax<log>::kName;
  const Tensor x = dtype ? cast(input, *dtype) : input;
  LM_CHECK(x.is_floating(), TypeError, name, ": input is ", x.dtype(), "; need a floating-point tensor, or dtype=");
  const Softmax<log> op{wrap_dim(dim, x.dim(), name)};
  // Half precision: computed and differentiated in float between two casts, which have rules of their own.
  if (is_half(x.dtype())) return cast(apply(op, cast(x, DType::F32)), x.dtype());
  return apply(op, x);
}

}  // namespace

Tensor softmax(const Tensor& input, int64_t dim, std::optional<DType> dtype) {
  return softmax_along<false>(input, dim, dtype);
}
Tensor log_softmax(const Tensor& input, int64_t dim, std::optional<DType> dtype) {
  return softmax_along<true>(input, dim, dtype);
}
Tensor softmin(const Tensor& input, int64_t dim, std::optional<DType> dtype) {
  return softmax_along<false>(neg(input), dim, dtype);
}

}  // namespace lamina
