// Variance, standard deviation, log-sum-exp and norms. The one idea: one pass over memory
// (cpu/kernels/reduce_states.h); backward rules are formulas in differentiable operators over the saved input and
// result. Next: reduce.h.
#include "autograd/apply.h"
#include "ops/reduce.h"

namespace lamina {
namespace {

// Variance or, with `root`, the standard deviation; with `with_mean` the mean is a second output.
struct VarOp {
  static constexpr const char* kName = "var";
  ReduceDims dims;
  double correction;
  bool root, with_mean;

  TensorList forward(Ctx& ctx, const Tensor& input) const {
    ReduceJob job;
    job.kind = Reduce::Var;
    job.p = correction;
    job.root = root;
    const bool half = is_half(input.dtype());
    const Tensor x = half ? cast(input, DType::F32) : input;
    const Shape shape = dims.result(x.sizes());
    TensorList out{empty_tensor(shape, x.dtype(), x.device())};
    if (with_mean) out.push_back(empty_tensor(shape, x.dtype(), x.device()));
    run_reduce(job, x, dims, out[0], with_mean ? out[1] : Tensor());
    if (half)
      for (Tensor& y : out) y = cast(y, input.dtype());
    ctx.save(input);
    ctx.save_output(out[0]);
    return out;
  }
  // d var / dx = 2 (x - mean) / (n - correction), d std / dx = d var / dx / (2 std), d mean / dx = 1 / n
  Grads backward(Ctx& ctx, const Tensor* grads) const {
    const Tensor x = ctx.saved(0);
    const double n = double(dims.count(x.sizes())), left = n - correction > 0 ? n - correction : 0;
    Tensor grad_x;
    if (grads[0].defined()) {
      Tensor scale = mul(grads[0], Tensor((root ? 1 : 2) / left));
      if (root) {  // a constant row has deviation 0: no direction, gradient 0
        const Tensor y = ctx.saved(1), flat = eq(y, Tensor(0.0));
        scale = where(flat, Tensor(0.0), div(scale, where(flat, Tensor(1.0), y)));
      }
      const Tensor center = sub(x, spread(sum_over(x, dims, n), dims, x.sizes()));
      grad_x = mul(center, spread(scale, dims, x.sizes()));
    }
    if (with_mean && grads[1].defined()) {
      const Tensor part = spread(div(grads[1], Tensor(n)), dims, x.sizes());
      grad_x = grad_x.defined() ? add(grad_x, part) : part;
    }
    return {grad_x};
  }
};

TensorList moments(const Tensor& x, const std::optional<Shape>& dim, double correction, bool keepdim, bool root,
                   bool with_mean, const char* op) {
  check_floating(x, op);
  return apply(VarOp{reduce_dims(x, dim, keepdim, op), correction, root, with_mean}, x);
}
double correction_of(bool unbiased) { return unbiased ? 1 : 0; }

struct LogSumExpOp {
  static constexpr const char* kName = "logsumexp";
  ReduceDims dims;

  Tensor forward(Ctx& ctx, const Tensor& x) const {
    ReduceJob job;
    job.kind = Reduce::LogSumExp;
    Tensor y = reduced(job, x, dims, x.dtype());
    ctx.save(x);
    ctx.save_output(y);
    return y;
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const {
    const Tensor x = ctx.saved(0), y = ctx.saved(1);
    // All -inf: y is -inf, and x - y would be NaN; every share is 0.
    const Tensor finite = where(eq(y, Tensor(-HUGE_VAL)), Tensor(0.0), y);
    return {mul(spread(grad, dims, x.sizes()), exp(sub(x, spread(finite, dims, x.sizes()))))};
  }
};

// (sum |x|^p)^(1/p), and its limits for 0 and +-inf.
struct NormOp {
  static constexpr const char* kName = "norm";
  ReduceDims dims;
  double p;

  Tensor forward(Ctx& ctx, const Tensor& x) const {
    ReduceJob job;
    job.p = p;
    job.root = p != 0 && p != 1;
    job.kind = p == 2 ? Reduce::SumSquare : p == 1 ? Reduce::SumAbs : p == 0 ? Reduce::CountNonzero : Reduce::SumPow;
    if (std::isinf(p)) job.kind = p > 0 ? Reduce::MaxAbs : Reduce::MinAbs, job.root = false;
    Tensor y = p == 0 ? cast(count_nonzero_over(job, x), x.dtype()) : reduced(job, x, dims, x.dtype());
    ctx.save(x);
    ctx.save_output(y);
    return y;
  }
  Tensor count_nonzero_over(const ReduceJob& job, const Tensor& x) const {
    return reduced(job, is_half(x.dtype()) ? cast(x, DType::F32) : x, dims, DType::I64);
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const {
    const Tensor x = ctx.saved(0), y = ctx.saved(1), zero(0.0), one(1.0);
    const Shape& sizes = x.sizes();
    if (p == 0) return {mul(x, zero)};
    if (p == 1) return {mul(sign(x), spread(grad, dims, sizes))};
    if (std::isinf(p)) {  // shared evenly among the elements that reach it
      const Tensor ties = cast(eq(abs(x), spread(y, dims, sizes)), x.dtype());
      return {mul(mul(sign(x), ties), spread(div(grad, sum_over(ties, dims)), dims, sizes))};
    }
    // x |x|^(p-2) y^(1-p) grad; where the norm is 0 there is no direction, and the gradient is 0.
    const Tensor none = eq(y, zero), safe = where(none, one, y);
    if (p == 2) return {mul(x, spread(where(none, zero, div(grad, safe)), dims, sizes))};
    const Tensor scale = where(none, zero, mul(grad, pow(safe, Tensor(1 - p))));
    const Tensor at_zero = eq(x, zero), size = where(at_zero, one, abs(x));
    const Tensor slope = where(at_zero, zero, mul(sign(x), pow(size, Tensor(p - 1))));
    return {mul(slope, spread(scale, dims, sizes))};
  }
};

Tensor norm_over(const Tensor& input, double p, const std::optional<Shape>& dim, bool keepdim,
                 std::optional<DType> dtype, const char* op) {
  const Tensor x = dtype ? cast(input, *dtype) : input;
  check_floating(x, op);
  const ReduceDims dims = reduce_dims(x, dim, keepdim, op);
  if (p < 0) check_not_empty(x, dims, op);
  return apply(NormOp{dims, p}, x);
}

}  // namespace

Tensor var(const Tensor& input, const std::optional<Shape>& dim, double correction, bool keepdim) {
  return moments(input, dim, correction, keepdim, false, false, "var")[0];
}
Tensor var(const Tensor& input, const std::optional<Shape>& dim, bool unbiased, bool keepdim) {
  return var(input, dim, correction_of(unbiased), keepdim);
}
Tensor std(const Tensor& input, const std::optional<Shape>& dim, double correction, bool keepdim) {
  return moments(input, dim, correction, keepdim, true, false, "std")[0];
}
Tensor std(const Tensor& input, const std::optional<Shape>& dim, bool unbiased, bool keepdim) {
  return std(input, dim, correction_of(unbiased), keepdim);
}
std::array<Tensor, 2> var_mean(const Tensor& input, const std::optional<Shape>& dim, double correction, bool keepdim) {
  TensorList out = moments(input, dim, correction, keepdim, false, true, "var_mean");
  return {out[0], out[1]};
}
std::array<Tensor, 2> std_mean(const Tensor& input, const std::optional<Shape>& dim, double correction, bool keepdim) {
  TensorList out = moments(input, dim, correction, keepdim, true, true, "std_mean");
  return {out[0], out[1]};
}

Tensor logsumexp(const Tensor& input, const std::optional<Shape>& dim, bool keepdim) {
  const Tensor x = input.is_floating() ? input : cast(input, default_dtype());
  return apply(LogSumExpOp{reduce_dims(x, dim, keepdim, "logsumexp")}, x);
}

Tensor norm(const Tensor& input, double p, const std::optional<Shape>& dim, bool keepdim, std::optional<DType> dtype) {
  return norm_over(input, p, dim, keepdim, dtype, "norm");
}
Tensor norm(const Tensor& input, const std::string& p, const std::optional<Shape>& dim, bool keepdim,
            std::optional<DType> dtype) {
  LM_CHECK(p != "nuc", NotImplementedError,
           "norm: p is 'nuc', the sum of singular values; there is no singular value decomposition here");
  LM_CHECK(p == "fro", ValueError, "norm: p is '", p, "'; need a number or 'fro'");
  return norm_over(input, 2, dim, keepdim, dtype, "norm");
}
Tensor vector_norm(const Tensor& x, double ord, const std::optional<Shape>& dim, bool keepdim,
                   std::optional<DType> dtype) {
  return norm_over(x, ord, dim, keepdim, dtype, "vector_norm");
}

}  // namespace lamina
