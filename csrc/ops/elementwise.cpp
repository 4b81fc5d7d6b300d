// Elementwise operators, all from two templates: Unary and Binary take the formula and the name of its derivative says
// what the tape keeps. Broadcasting, promotion and un-broadcasting of gradients happen here, once.
#include "cpu/elementwise_loops.h"

#include "autograd/apply.h"
#include "math/binary.h"
#include "math/unary.h"
#include "ops/check.h"
#include "ops/elementwise.h"
#include "ops/ops.h"

namespace lamina {

namespace {

const char* const kUnaryNames[] = {
#define UNARY(name, ...) #name,
#define UNARY_ATTRS(name, ...) #name,
#include "ops.def"
};
const char* const kBinaryNames[] = {
#define BINARY(name, ...) #name,
#include "ops.def"
};

// Memory order of the result: that of the first operand of full shape that is dense, so that channels-last and
// transposed tensors keep their order; row-major otherwise.
Tensor allocate_result(const Shape& sizes, DType dtype, Device device, std::initializer_list<const Tensor*> inputs) {
  for (const Tensor* x : inputs) {
    if (x->sizes() != sizes || x->device() != device) continue;
    if (x->is_contiguous()) break;
    if (is_dense(sizes, x->strides())) return empty_strided_tensor(sizes, x->strides(), dtype, device);
  }
  return empty_tensor(sizes, dtype, device);
}

bool same_layout(const Tensor& a, const Tensor& b) {
  return a.sizes() == b.sizes() && (a.is_contiguous() ? b.is_contiguous() : a.strides() == b.strides());
}

}  // namespace

Device common_device(std::initializer_list<const Tensor*> operands, const char* op) {
  const Tensor* first = *operands.begin();
  for (const Tensor* x : operands)
    if (first->dim() == 0 && first->device().is_cpu()) first = x;
  for (const Tensor* x : operands)
    LM_CHECK(x->device() == first->device() || (x->dim() == 0 && x->device().is_cpu()), RuntimeError, op,
             ": tensors are on ", first->device(), " and ", x->device(), "; need one device");
  return first->device();
}

void run_loop(const LoopCall& call, const Tensor& out, std::initializer_list<const Tensor*> inputs) {
  const void* data[3];
  int64_t sizes[3];
  ElementwiseArg args[3];
  Shape strides[3];
  int n = 0;
  bool flat = out.dtype() == call.result && (out.is_contiguous() || is_dense(out.sizes(), out.strides()));
  for (const Tensor* x : inputs) {
    DType compute = n == 0 && call.first != call.compute ? call.first : call.compute;
    flat = flat && x->dtype() == compute && same_layout(*x, out);
    data[n] = x->data();
    sizes[n] = item_size(compute);
    args[n] = {data[n], x->dtype(), compute, nullptr, x->device().is_cpu()};
    ++n;
  }
  if (flat && out.device().is_cpu())
    return cpu::elementwise_flat(call.loop, call.functor, out.numel(), out.data(), item_size(call.result), data, sizes,
                                 n);
  int i = 0;
  for (const Tensor* x : inputs) {
    strides[i] = broadcast_strides(x->sizes(), x->strides(), out.sizes());
    args[i].strides = strides[i].data();
    ++i;
  }
  ElementwiseArg target{out.data(), out.dtype(), call.result, out.strides().data()};
  kernel::elementwise(stream_of(out.device()),
                      {call.formula, call.loop, call.functor, out.dim(), out.sizes().data(), target, args, n});
}

namespace {

using math::Domain;

template <class F>
inline constexpr bool has_df = requires(F f) { f.df(); };
template <class F>
inline constexpr bool has_df_y = requires(F f, double y) { f.df_y(y); };
template <class F>
inline constexpr bool has_df_x = requires(F f, double x) { f.df_x(x); };

// The dtype a formula computes in, for operands promoted to `dtype`.
template <class F>
DType compute_dtype(DType dtype, const char* op) {
  if (F::kDomain == Domain::kFloat && !is_floating(dtype))
    return default_dtype() == DType::F64 ? DType::F64 : DType::F32;
  LM_CHECK(F::kDomain != Domain::kIntegral || !is_floating(dtype), TypeError, op, ": not defined for ", dtype,
           "; need an integer or bool tensor");
  return dtype;
}

// grad * factor, where the factor is known when the program is compiled.
Tensor scaled(const Tensor& grad, double factor) {
  if (factor == 1) return grad;
  if (factor == -1) return neg(grad);
  if (factor == 0) return zeros_like(grad, std::nullopt, std::nullopt);  // of an infinite gradient too
  return mul(grad, Tensor(factor));
}

// What attributes must satisfy; most may be anything.
template <class F>
void check_attributes(const F&) {}
void check_attributes(const math::Hardtanh& f) {
  LM_CHECK(f.min_val <= f.max_val, ValueError, "hardtanh: min_val is ", f.min_val, ", max_val is ", f.max_val,
           "; need min_val <= max_val");
}
void check_attributes(const math::Celu& f) {
  LM_CHECK(f.alpha != 0, ValueError, "celu: alpha is 0; need a number other than 0");
}
void check_attributes(const math::Softshrink& f) {
  LM_CHECK(f.lambd >= 0, ValueError, "softshrink: lambd is ", f.lambd, "; need a number >= 0");
}

// Arithmetic on bool is logic, as in PyTorch.
UnaryId on_bool(UnaryId id) { return id == UnaryId::bitwise_not ? UnaryId::logical_not : id; }
BinaryId on_bool(BinaryId id, const char* op) {
  switch (id) {
    case BinaryId::add:
      return BinaryId::logical_or;
    case BinaryId::mul:
      return BinaryId::logical_and;
    case BinaryId::sub:
      fail<TypeError>(op, ": not defined for bool; use logical_xor or ^");
    case BinaryId::bitwise_left_shift:
    case BinaryId::bitwise_right_shift:
      fail<TypeError>(op, ": not defined for bool; need integer tensors");
    default:
      return id;
  }
}

double largest_half(DType dtype) { return dtype == DType::F16 ? 0x1.ffcp15 : 0x1.fep127; }

template <class F, UnaryId kId>
struct Unary {
  static constexpr const char* kName = "";
  [[no_unique_address]] F f;

  static const char* name() { return kUnaryNames[int(kId)]; }

  Tensor forward(Ctx& ctx, const Tensor& x) const {
    DType dtype = compute_dtype<F>(x.dtype(), name()), compute = compute_type(dtype);
    if (dtype == DType::Bool && !F::kPredicate && kId == UnaryId::neg)
      fail<TypeError>("neg: not defined for bool; use logical_not or ~");
    Formula formula{Formula::Unary, int(dtype == DType::Bool ? on_bool(kId) : kId)};
    Loop loop = find_loop(formula, compute);
    LM_CHECK(loop, TypeError, name(), ": not defined for ", x.dtype());
    Tensor out = allocate_result(x.sizes(), F::kPredicate ? DType::Bool : dtype, x.device(), {&x});
    F functor = f;
    if constexpr (requires { functor.limit(1.0); })  // halves are computed in float, but have their own largest number
      if (is_half(dtype)) functor.limit(largest_half(dtype));
    run_loop({formula, loop, &functor, compute, F::kPredicate ? DType::Bool : compute}, out, {&x});
    if constexpr (has_df_y<F>)
      ctx.save_output(out);
    else if constexpr (has_df_x<F>)
      ctx.save(x);
    return out;
  }

  Grads backward(Ctx& ctx, const Tensor& grad) const
    requires(has_df<F> || has_df_y<F> || has_df_x<F>)
  {
    if constexpr (has_df<F>) {
      return {scaled(grad, f.df())};
    } else {
      Tensor s = ctx.saved(0);
      if (grad_enabled()) {  // the formula itself, on tensors: differentiable again
        if constexpr (has_df_y<F>)
          return {mul(grad, f.df_y(s))};
        else
          return {mul(grad, f.df_x(s))};
      }
      DType compute = compute_type(grad.dtype());
      Tensor out = allocate_result(grad.sizes(), grad.dtype(), grad.device(), {&s, &grad});
      Formula formula{Formula::UnaryGrad, int(kId)};
      run_loop({formula, find_loop(formula, compute), &f, compute, compute}, out, {&grad, &s});
      return {out};
    }
  }
};

// --- binary ---

// Which derivatives a formula has; `da()` is a number, the others functions of the operands they name.
template <class F>
inline constexpr bool da_constant = requires(F f) { f.da(); };
template <class F>
inline constexpr bool db_constant = requires(F f) { f.db(); };
template <class F>
inline constexpr bool da_of_b = requires(F f, double v) { f.da_b(v); };
template <class F>
inline constexpr bool db_of_a = requires(F f, double v) { f.db_a(v); };
template <class F>
inline constexpr bool da_of_both = requires(F f, double v) { f.da(v, v); };
template <class F>
inline constexpr bool db_of_both = requires(F f, double v) { f.db(v, v); };
template <class F>
inline constexpr bool has_da = da_constant<F> || da_of_b<F> || da_of_both<F>;

void check_no_zero(const Tensor& b, const char* op) {
  check_values(ne(b, Tensor(0)), 1, 1, NaN::Refused, {Complaint::Runtime, op, "integer division by zero", {}}, nullptr);
}

template <class F, BinaryId kId>
struct Binary {
  static constexpr const char* kName = "";
  // What the tape would otherwise have to keep the operands for.
  Shape a_sizes, b_sizes;
  DType a_dtype{}, b_dtype{};
  Device a_device, b_device;

  static const char* name() { return kBinaryNames[int(kId)]; }

  Tensor forward(Ctx& ctx, const Tensor& a, const Tensor& b) {
    const Device device = a.device() == b.device() ? a.device() : common_device({&a, &b}, name());
    DType dtype = a.dtype() == b.dtype() && !a->wrapped && !b->wrapped ? a.dtype() : result_type({&a, &b});
    dtype = compute_dtype<F>(dtype, name());
    DType compute = compute_type(dtype);
    if (!is_floating(compute) && (kId == BinaryId::floor_divide || kId == BinaryId::remainder || kId == BinaryId::fmod))
      check_no_zero(b, name());
    Formula formula{Formula::Binary, int(compute == DType::Bool ? on_bool(kId, name()) : kId)};
    Loop loop = find_loop(formula, compute);
    LM_CHECK(loop, TypeError, name(), ": not defined for ", dtype);
    bool same = a.sizes() == b.sizes();
    Tensor out = allocate_result(same ? a.sizes() : broadcast(a.sizes(), b.sizes(), name()),
                                 F::kPredicate ? DType::Bool : dtype, device, {&a, &b});
    run_loop({formula, loop, nullptr, compute, F::kPredicate ? DType::Bool : compute}, out, {&a, &b});
    if (ctx.recording()) {
      a_sizes = a.sizes();
      b_sizes = b.sizes();
      a_dtype = a.dtype();
      b_dtype = b.dtype();
      a_device = a.device();
      b_device = b.device();
      ctx.save(reads(ctx, 0) ? a : Tensor());
      ctx.save(reads(ctx, 1) ? b : Tensor());
    }
    return out;
  }

  // Does any wanted derivative read operand `side`?
  static bool reads(const Ctx& ctx, int side) {
    bool for_a = ctx.needs(0) && (da_of_both<F> || (da_of_b<F> && side == 1));
    bool for_b = ctx.needs(1) && (db_of_both<F> || (db_of_a<F> && side == 0));
    return for_a || for_b;
  }

  Grads backward(Ctx& ctx, const Tensor& grad) const
    requires(has_da<F>)
  {
    Grads out(2);
    Tensor a = ctx.saved(0), b = ctx.saved(1);
    if (ctx.needs(0)) out[0] = fit(gradient<0>(grad, a, b), a_sizes, a_dtype, a_device);
    if (ctx.needs(1)) out[1] = fit(gradient<1>(grad, a, b), b_sizes, b_dtype, b_device);
    return out;
  }

  static Tensor fit(const Tensor& grad, const Shape& sizes, DType dtype, Device device) {
    return to_device(cast(grad.sizes() == sizes ? grad : sum_to(grad, sizes), dtype), device);
  }

  template <int kSide>
  static Tensor gradient(const Tensor& grad, const Tensor& a, const Tensor& b) {
    constexpr F f{};
    if constexpr (kSide == 0 && da_constant<F>)
      return scaled(grad, f.da());
    else if constexpr (kSide == 1 && db_constant<F>)
      return scaled(grad, f.db());
    else if (grad_enabled())
      return mul(grad, factor<kSide>(f, cast_to(a, grad), cast_to(b, grad)));
    else {
      DType compute = compute_type(grad.dtype());
      const Tensor &x = a.defined() ? a : b, &y = b.defined() ? b : a;  // an operand that is not read may be missing
      Tensor out = allocate_result(grad.sizes(), grad.dtype(), grad.device(), {&grad, &x, &y});
      Formula formula{kSide ? Formula::BinaryGradB : Formula::BinaryGradA, int(kId)};
      run_loop({formula, find_loop(formula, compute), nullptr, compute, compute}, out, {&grad, &x, &y});
      return out;
    }
  }
  static Tensor cast_to(const Tensor& x, const Tensor& grad) { return x.defined() ? cast(x, grad.dtype()) : x; }
  template <int kSide>
  static Tensor factor(const F& f, const Tensor& a, const Tensor& b) {
    if constexpr (kSide == 0) {
      if constexpr (da_of_b<F>)
        return f.da_b(b);
      else
        return f.da(a, b);
    } else {
      if constexpr (db_of_a<F>)
        return f.db_a(a);
      else
        return f.db(a, b);
    }
  }
};

}  // namespace

#define UNARY(name, Functor, ...) \
  Tensor name(const Tensor& x) { return apply(Unary<math::Functor, UnaryId::name>{}, x); }
#define UNARY_ATTRS(name, Functor, PARAMS, ...)              \
  Tensor name(const Tensor& x, LM_PARAMS PARAMS) {           \
    const math::Functor f{LM_NAMES PARAMS};                  \
    check_attributes(f);                                     \
    return apply(Unary<math::Functor, UnaryId::name>{f}, x); \
  }
#define BINARY(name, Functor, ...) \
  Tensor name(const Tensor& a, const Tensor& b) { return apply(Binary<math::Functor, BinaryId::name>{}, a, b); }
#include "ops.def"

}  // namespace lamina
