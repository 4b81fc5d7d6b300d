// Running sums, products and extremes. The one idea: the gradient of a running sum is a running sum from the other end,
// and gradients of products are linear recurrences h[k] = a[k] h[k-1] + b[k]: no division, so zeros are exact, and the
// recurrence differentiates into itself, so every order works. Next: kernel/scan.h.
#include "ops/scan.h"

#include "autograd/apply.h"
#include "kernel/scan.h"

namespace lamina {
namespace {

// The tensor as (outer, n, inner) around dim; a 0-d tensor is one line of one element.
struct Lines {
  int64_t outer = 1, n = 1, inner = 1;
  Lines(const Shape& sizes, int dim) {
    for (int d = 0; d < sizes.size(); ++d) (d < dim ? outer : d > dim ? inner : n) *= sizes[d];
  }
};

Tensor row_major_of(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype && x.is_contiguous()) return x;
  Tensor out = empty_tensor(x.sizes(), dtype, x.device());
  copy_into(out, x);
  return out;
}

Tensor run_scan(Scan kind, const Tensor& input, int dim, bool reverse, const Tensor& positions = {}) {
  const DType compute = compute_type(input.dtype());
  const Tensor x = row_major_of(input, compute);
  const Lines lines(x.sizes(), dim);
  Tensor out = empty_tensor(x.sizes(), compute, x.device());
  int64_t* at = positions.defined() ? positions.data<int64_t>() : nullptr;
  kernel::scan(stream_of(x.device()),
               {kind, compute, reverse, x.data(), out.data(), at, lines.outer, lines.n, lines.inner});
  return cast(out, input.dtype());
}

struct CumsumOp {
  static constexpr const char* kName = "cumsum";
  int dim;
  bool reverse;
  Tensor forward(Ctx&, const Tensor& x) const { return run_scan(Scan::Sum, x, dim, reverse); }
  Grads backward(Ctx&, const Tensor& grad) const { return {apply(CumsumOp{dim, !reverse}, grad)}; }
};

// x moved by one along dim: y[k] = x[k - by], 0 at the open end.
struct ShiftOp {
  static constexpr const char* kName = "shift";
  int dim;
  int by;  // 1 or -1
  Tensor forward(Ctx&, const Tensor& x) const {
    Tensor y = full_tensor(x.sizes(), 0, x.dtype(), x.device());
    if (x.dim() == 0 || x.size(dim) < 2) return y;
    Shape sizes = x.sizes();
    sizes[dim] -= 1;
    auto part = [&](const Tensor& t, bool late) {
      return t.with_layout(sizes, t.strides(), t->offset + (late ? t.stride(dim) : 0));
    };
    copy_into(part(y, by > 0), part(x, by < 0));
    return y;
  }
  Grads backward(Ctx&, const Tensor& grad) const { return {apply(ShiftOp{dim, -by}, grad)}; }
};

struct LinearScanOp {
  static constexpr const char* kName = "linear_scan";
  int dim;
  bool reverse;
  int offset;

  Tensor forward(Ctx& ctx, const Tensor& a, const Tensor& b) const {
    const DType compute = compute_type(b.dtype());
    const Tensor fa = row_major_of(a, compute), fb = row_major_of(b, compute);
    const Lines lines(b.sizes(), dim);
    Tensor h = empty_tensor(b.sizes(), compute, b.device());
    kernel::linear_scan(stream_of(b.device()),
                        {compute, reverse, offset, fa.data(), fb.data(), h.data(), lines.outer, lines.n, lines.inner});
    h = cast(h, b.dtype());
    ctx.save(a);
    ctx.save_output(h);
    return h;
  }
  // With g the gradient of h: l[k] = g[k] + a[k + 1 - offset] l[k + 1], grad b = l, and a[k] met h[k - 1 + offset] on
  // its way to h[k + offset]. In the reverse direction +1 and -1 change places.
  Grads backward(Ctx& ctx, const Tensor& grad) const {
    const Tensor a = ctx.saved(0), h = ctx.saved(1), l = linear_scan(a, grad, dim, !reverse, 1 - offset);
    Grads out(2);
    if (ctx.needs(0)) {
      const int before = reverse ? -1 : 1;
      out[0] = offset ? mul(apply(ShiftOp{dim, -before}, l), h) : mul(l, apply(ShiftOp{dim, before}, h));
    }
    out[1] = l;
    return out;
  }
};

struct CumprodOp {
  static constexpr const char* kName = "cumprod";
  int dim;
  Tensor forward(Ctx& ctx, const Tensor& x) const {
    ctx.save(x);
    return run_scan(Scan::Product, x, dim, false);
  }
  // What lies before x[k], times the sum over later results of what lies between: s[k] = g[k] + x[k + 1] s[k + 1].
  Grads backward(Ctx& ctx, const Tensor& grad) const {
    const Tensor x = ctx.saved(0);
    return {mul(exclusive_cumprod(x, dim, false), linear_scan(x, grad, dim, true, 1))};
  }
};

struct ExtremeScanOp {
  static constexpr const char* kName = "cummax";
  Scan kind;
  int dim;
  TensorPair forward(Ctx& ctx, const Tensor& x) const {
    Tensor positions = empty_tensor(x.sizes(), DType::I64, x.device());
    Tensor y = run_scan(kind, x, dim, false, positions);
    ctx.save(positions);
    return {y, positions};
  }
  Grads backward(Ctx& ctx, const Tensor* grads) const {
    if (grads[0].dim() == 0) return {grads[0]};
    const Tensor zeros = full_tensor(grads[0].sizes(), 0, grads[0].dtype(), grads[0].device());
    return {scatter_add(zeros, dim, ctx.saved(0), grads[0])};
  }
};

struct LogCumsumExpOp {
  static constexpr const char* kName = "logcumsumexp";
  int dim;
  Tensor forward(Ctx& ctx, const Tensor& x) const {
    Tensor y = run_scan(Scan::LogSumExp, x, dim, false);
    ctx.save(x);
    ctx.save_output(y);
    return y;
  }
  // grad x[k] = sum over i >= k of g[i] exp(x[k] - y[i]) = exp(x[k] - y[k]) s[k] with
  // s[k] = g[k] + exp(y[k] - y[k + 1]) s[k + 1]: y grows, so every factor is at most 1.
  Grads backward(Ctx& ctx, const Tensor& grad) const {
    const Tensor x = ctx.saved(0), y = ctx.saved(1);
    // After the last element the shift put a 0; that factor is not used, but must be finite.
    const Tensor step = sub(apply(ShiftOp{dim, -1}, y), y);
    const Tensor decay = exp(neg(where(gt(step, Tensor(0.0)), step, Tensor(0.0))));
    return {mul(exp(sub(x, y)), linear_scan(decay, grad, dim, true, 0))};
  }
};

Tensor integers_as_int64(const Tensor& input, std::optional<DType> dtype) {
  if (dtype) return cast(input, *dtype);
  return input.is_floating() ? input : cast(input, DType::I64);
}

}  // namespace

Tensor linear_scan(const Tensor& a, const Tensor& b, int64_t dim, bool reverse, int offset) {
  return apply(LinearScanOp{int(dim), reverse, offset}, a, b);
}

Tensor exclusive_cumprod(const Tensor& x, int64_t dim, bool reverse) {
  Tensor one = full_tensor(x.sizes(), 0, x.dtype(), x.device());
  if (x.dim() == 0) return full_tensor({}, 1, x.dtype(), x.device());
  if (x.numel() > 0) {  // 1 before the first element
    Shape sizes = x.sizes();
    sizes[int(dim)] = 1;
    const int64_t at = reverse ? x.size(int(dim)) - 1 : 0;
    copy_into(one.with_layout(sizes, one.strides(), one->offset + at * one.stride(int(dim))),
              full_tensor({}, 1, x.dtype(), x.device()));
  }
  return linear_scan(x, one, dim, reverse, 1);
}

Tensor cumsum(const Tensor& input, int64_t dim, std::optional<DType> dtype) {
  return apply(CumsumOp{wrap_dim(dim, input.dim(), "cumsum"), false}, integers_as_int64(input, dtype));
}
Tensor cumprod(const Tensor& input, int64_t dim, std::optional<DType> dtype) {
  return apply(CumprodOp{wrap_dim(dim, input.dim(), "cumprod")}, integers_as_int64(input, dtype));
}
TensorPair cummax(const Tensor& input, int64_t dim) {
  return apply(ExtremeScanOp{Scan::Max, wrap_dim(dim, input.dim(), "cummax")}, input);
}
TensorPair cummin(const Tensor& input, int64_t dim) {
  return apply(ExtremeScanOp{Scan::Min, wrap_dim(dim, input.dim(), "cummin")}, input);
}
Tensor logcumsumexp(const Tensor& input, int64_t dim) {
  LM_CHECK(input.is_floating(), TypeError, "logcumsumexp: got ", input.dtype(), "; need a floating-point tensor");
  return apply(LogCumsumExpOp{wrap_dim(dim, input.dim(), "logcumsumexp")}, input);
}

Tensor diff(const Tensor& input, int64_t n, int64_t dim) {
  LM_CHECK(n >= 0, ValueError, "diff: n is ", n, "; need n >= 0");
  LM_CHECK(input.dim() > 0, ValueError, "diff: got a 0-d tensor; need at least one dimension");
  const int d = wrap_dim(dim, input.dim(), "diff");
  Tensor x = input;
  for (int64_t i = 0; i < n && x.size(d) > 0; ++i) {
    const int64_t size = x.size(d);
    const Tensor a = slice(x, d, 1, size), b = slice(x, d, 0, size - 1);
    x = x.dtype() == DType::Bool ? ne(a, b) : sub(a, b);
  }
  return n == 0 ? reshape(x, x.sizes()) : x;
}

}  // namespace lamina
