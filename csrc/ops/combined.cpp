// Elementwise operators of more than two operands, and those composed of others: selection, clamping, interpolation,
// scaled sums, comparison within a tolerance.
#include "autograd/apply.h"
#include "ops/elementwise.h"
#include "ops/ops.h"

namespace lamina {

namespace {

Tensor fit(const Tensor& grad, const Shape& sizes, DType dtype, Device device) {
  return to_device(cast(sum_to(grad, sizes), dtype), device);
}

struct Where {  // condition ? a : b
  static constexpr const char* kName = "where";
  Shape a_sizes, b_sizes;
  DType a_dtype{}, b_dtype{};
  Device a_device, b_device;

  Tensor forward(Ctx& ctx, const Tensor& condition, const Tensor& a, const Tensor& b) {
    LM_CHECK(condition.dtype() == DType::Bool, TypeError, "where: the condition has dtype ", condition.dtype(),
             "; need bool");
    const Device device = common_device({&condition, &a, &b}, "where");
    DType dtype = result_type({&a, &b});
    Shape sizes = broadcast(broadcast(condition.sizes(), a.sizes(), "where"), b.sizes(), "where");
    Tensor out = empty_tensor(sizes, dtype, device);
    Formula formula{Formula::Select, 0};
    LoopCall call{formula, find_loop(formula, dtype), nullptr, dtype, dtype, DType::Bool};
    run_loop(call, out, {&condition, &a, &b});
    if (ctx.recording()) {
      ctx.save(condition);
      a_sizes = a.sizes();
      b_sizes = b.sizes();
      a_dtype = a.dtype();
      b_dtype = b.dtype();
      a_device = a.device();
      b_device = b.device();
    }
    return out;
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const {
    Tensor condition = ctx.saved(0), zero = scalar_tensor(int64_t(0), grad.dtype());
    Grads out(3);
    if (ctx.needs(1)) out[1] = fit(where(condition, grad, zero), a_sizes, a_dtype, a_device);
    if (ctx.needs(2)) out[2] = fit(where(condition, zero, grad), b_sizes, b_dtype, b_device);
    return out;
  }
};

}  // namespace

Tensor where(const Tensor& condition, const Operand& input, const Operand& other) {
  return apply(Where{}, condition, input, other);
}

Tensor add(const Tensor& input, const Operand& other, const Scalar& alpha) {
  return add(input, mul(other, alpha.tensor()));
}
Tensor sub(const Tensor& input, const Operand& other, const Scalar& alpha) {
  return sub(input, mul(other, alpha.tensor()));
}

Tensor div(const Tensor& input, const Operand& other, const std::string& rounding_mode) {
  if (rounding_mode == "floor") return floor_divide(input, other);
  LM_CHECK(rounding_mode == "trunc", ValueError, "div: rounding_mode is '", rounding_mode,
           "'; need None, 'trunc' or 'floor'");
  Tensor quotient = trunc(div(input, other));
  return cast(quotient, result_type({&input, &other}));
}

Tensor gelu(const Tensor& input, const std::string& approximate) {
  LM_CHECK(approximate == "none" || approximate == "tanh", ValueError, "gelu: approximate is '", approximate,
           "'; need 'none' or 'tanh'");
  return approximate == "none" ? gelu(input) : gelu_tanh(input);
}

Tensor lerp(const Tensor& input, const Tensor& end, const Operand& weight) {
  return add(input, mul(weight, sub(end, input)));
}
Tensor addcmul(const Tensor& input, const Operand& tensor1, const Operand& tensor2, const Scalar& value) {
  return add(input, mul(mul(tensor1, tensor2), value.tensor()));
}
Tensor addcdiv(const Tensor& input, const Operand& tensor1, const Operand& tensor2, const Scalar& value) {
  return add(input, mul(div(tensor1, tensor2), value.tensor()));
}

// The gradient passes where the bounds do not bind; at a bound itself too, as in PyTorch.
Tensor clamp(const Tensor& input, const OptTensor& min, const OptTensor& max) {
  LM_CHECK(min || max, ValueError, "clamp: neither min nor max is given; need at least one");
  Tensor out = input;
  if (min) out = where(lt(out, *min), *min, out);
  if (max) out = where(gt(out, *max), *max, out);
  return out;
}
Tensor clamp(const Tensor& input, const std::optional<Scalar>& min, const std::optional<Scalar>& max) {
  OptTensor low, high;
  if (min) low = min->tensor();
  if (max) high = max->tensor();
  return clamp(input, low, high);
}

Tensor isclose(const Tensor& input, const Operand& other, double rtol, double atol, bool equal_nan) {
  Tensor close =
      logical_and(le(abs(sub(input, other)), add(Tensor(atol), mul(Tensor(rtol), abs(other)))), isfinite(other));
  close = logical_or(close, eq(input, other));
  return equal_nan ? logical_or(close, logical_and(isnan(input), isnan(other))) : close;
}

bool allclose(const Tensor& input, const Tensor& other, double rtol, double atol, bool equal_nan) {
  return all(isclose(input, other, rtol, atol, equal_nan), std::nullopt, false).item_int() != 0;
}

bool equal(const Tensor& input, const Tensor& other) {
  return input.sizes() == other.sizes() && all(eq(input, other), std::nullopt, false).item_int() != 0;
}

bool has_nan(const Tensor& x) {
  NoGrad guard;
  return x.is_floating() && any(isnan(x), std::nullopt, false).item_int() != 0;
}

Tensor add_into(Tensor a, const Tensor& b) {
  NoGrad guard;
  DType compute = compute_type(a.dtype());
  Formula formula{Formula::Binary, int(BinaryId::add)};
  run_loop({formula, find_loop(formula, compute), nullptr, compute, compute}, a, {&a, &b});
  return a;
}

}  // namespace lamina
