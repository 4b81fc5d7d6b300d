// Matrix products in all ranks. Two operators carry the family: Affine, rows of any rank times one matrix plus a bias,
// and BatchProduct, matrices over broadcast batches; both read transposed operands where they lie. Next: kernel/gemm.h.
#include <vector>

#include "autograd/apply.h"
#include "cpu/gemm_loops.h"
#include "kernel/gemm.h"
#include "ops/ops.h"

namespace lamina {
namespace {

void check_pair(const Tensor& a, const Tensor& b, const char* op) {
  LM_CHECK(a.dtype() == b.dtype(), TypeError, op, ": a is ", a.dtype(), ", b is ", b.dtype(), "; need one dtype");
  LM_CHECK(a.device() == b.device(), RuntimeError, op, ": a is on ", a.device(), ", b is on ", b.device(),
           "; need one device");
  LM_CHECK(a.dtype() != DType::Bool, TypeError, op, ": not defined for bool; need numbers");
}
void check_inner(const Tensor& a, const Tensor& b, const char* op) {
  LM_CHECK(a.size(-1) == b.size(b.dim() == 1 ? 0 : -2), ValueError, op, ": inner dimensions differ: a is ", a.sizes(),
           ", b is ", b.sizes(), "; need a.shape[-1] == b.shape[", b.dim() == 1 ? 0 : -2, "]");
}
void check_rank(const Tensor& x, int rank, const char* op, const char* name) {
  LM_CHECK(x.dim() == rank, ValueError, op, ": ", name, " has ", x.dim(), " dimensions, shape ", x.sizes(), "; need ",
           rank);
}

// The one stride that walks over dimensions [0, n) in row-major order, or -1 if there is none.
int64_t merged_stride(const Shape& sizes, const Shape& strides, int n) {
  int64_t step = 0, count = 1;
  for (int i = n - 1; i >= 0; --i) {
    if (sizes[i] == 1) continue;
    if (count == 1)
      step = strides[i];
    else if (strides[i] != step * count)
      return -1;
    count *= sizes[i];
  }
  return step;
}

// The offset of every matrix of a batch, in row-major order of `batch`.
std::vector<int64_t> batch_offsets(const Shape& batch, const Shape& strides) {
  std::vector<int64_t> offsets{0};
  for (int i = 0; i < batch.size(); ++i) {
    std::vector<int64_t> next;
    next.reserve(offsets.size() * size_t(batch[i]));
    for (int64_t at : offsets)
      for (int64_t j = 0; j < batch[i]; ++j) next.push_back(at + j * strides[i]);
    offsets = std::move(next);
  }
  return offsets;
}

// The CPU multiplies halves as floats; CUDA takes them as they are and sums in float.
bool widens(const Tensor& x) { return is_half(x.dtype()) && x.device().is_cpu(); }

// One product on the tensor's device, in its type.
void run(const Tensor& out, GemmProblem p, const GemmEpilogue& epilogue = {}) {
  const Stream stream = stream_of(out.device());
  p.dtype = out.dtype();
  p.c = out.data();
  if (is_floating(p.dtype)) return kernel::gemm(stream, p, epilogue);
  const int64_t item = out.itemsize();
  for (int64_t i = 0; i < p.batch; ++i) {
    auto at = [&](const void* data, const int64_t* offsets, int64_t stride) {
      return static_cast<const char*>(data) + (offsets ? offsets[i] : i * stride) * item;
    };
    kernel::gemm_int(stream, p.dtype, p.m, p.n, p.k, at(p.a, p.a_offsets, p.a_batch), p.a_row, p.a_col,
                     at(p.b, p.b_offsets, p.b_batch), p.b_row, p.b_col, static_cast<char*>(p.c) + i * p.c_batch * item,
                     p.c_row);
  }
}

// x (..., k) @ w (k, n), or w (n, k) when transposed, + bias (n) -> (..., n)
struct Affine {
  static constexpr const char* kName = "linear";
  bool transposed;

  Tensor forward(Ctx& ctx, const Tensor& input, const Tensor& weight, const OptTensor& bias) const {
    ctx.save(input);
    ctx.save(weight);
    if (widens(input)) {
      OptTensor b;
      if (bias) b = cast(*bias, DType::F32);
      return cast(Affine{transposed}.compute(cast(input, DType::F32), cast(weight, DType::F32), b), input.dtype());
    }
    return compute(input, weight, bias);
  }
  Tensor compute(Tensor x, const Tensor& w, OptTensor bias) const {
    Shape sizes = x.sizes();
    sizes.back() = w.size(transposed ? 0 : 1);
    Tensor out = empty_tensor(sizes, x.dtype(), x.device());
    int64_t row = x.dim() > 1 ? x.stride(-2) : 0;
    if (x.dim() > 2) {
      row = merged_stride(x.sizes(), x.strides(), x.dim() - 1);
      if (row < 0) x = contiguous(x), row = x.size(-1);
    }
    GemmProblem p;
    p.k = x.size(-1);
    p.n = sizes.back();
    p.m = 1;
    for (int i = 0; i < x.dim() - 1; ++i) p.m *= x.size(i);
    p.a = x.data();
    p.a_row = row;
    p.a_col = x.stride(-1);
    p.b = w.data();
    p.b_row = w.stride(transposed ? 1 : 0);
    p.b_col = w.stride(transposed ? 0 : 1);
    p.c_row = p.n;
    if (bias && !bias->is_contiguous()) bias = contiguous(*bias);
    run(out, p, {bias ? bias->data() : nullptr});
    return out;
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const {
    Grads out(3);
    const Tensor x = ctx.saved(0), w = ctx.saved(1);
    if (ctx.needs(0)) out[0] = apply(Affine{!transposed}, grad, w, OptTensor());
    if (ctx.needs(1)) {
      int64_t m = 1;
      for (int i = 0; i < x.dim() - 1; ++i) m *= x.size(i);
      const Tensor rows = x.dim() == 2 ? x : reshape(x, Shape{m, x.size(-1)});
      const Tensor g = grad.dim() == 2 ? grad : reshape(grad, Shape{m, grad.size(-1)});
      out[1] = transposed ? apply(Affine{false}, t(g), rows, OptTensor())   // (n,m) @ (m,k) -> (n,k)
                          : apply(Affine{false}, t(rows), g, OptTensor());  // (k,m) @ (m,n) -> (k,n)
    }
    if (ctx.needs(2)) out[2] = sum_to(grad, Shape{grad.size(-1)});
    return out;
  }
};

// out = beta * start + alpha * a (..., m, k) @ b (..., k, n); `start`, if given, broadcasts to the result.
struct BatchProduct {
  static constexpr const char* kName = "matmul";
  double alpha = 1, beta = 0;

  Tensor forward(Ctx& ctx, const Tensor& a, const Tensor& b, const OptTensor& start) const {
    ctx.save(a);
    ctx.save(b);
    if (start) ctx.save(*start);
    if (!widens(a)) return compute(a, b, start);
    OptTensor from;
    if (start) from = cast(*start, DType::F32);
    return cast(compute(cast(a, DType::F32), cast(b, DType::F32), from), a.dtype());
  }
  Tensor compute(const Tensor& a, const Tensor& b, const OptTensor& start) const {
    const int na = a.dim() - 2, nb = b.dim() - 2;
    auto leading = [](const Shape& s, int n) { return Shape(std::span<const int64_t>(s.data(), size_t(n))); };
    const Shape a_batch = leading(a.sizes(), na), b_batch = leading(b.sizes(), nb);
    const Shape batch = broadcast(a_batch, b_batch, kName);
    Shape sizes = batch;
    sizes.push_back(a.size(-2));
    sizes.push_back(b.size(-1));
    Tensor out = empty_tensor(sizes, a.dtype(), a.device());
    GemmProblem p;
    p.batch = batch.numel();
    p.m = a.size(-2), p.n = b.size(-1), p.k = a.size(-1);
    p.a = a.data(), p.a_row = a.stride(-2), p.a_col = a.stride(-1);
    p.b = b.data(), p.b_row = b.stride(-2), p.b_col = b.stride(-1);
    p.c_row = p.n, p.c_batch = p.m * p.n;
    p.alpha = alpha;
    if (start && beta != 0) {
      copy_into(out, *start);
      p.beta = beta;
    }
    const Shape a_strides = broadcast_strides(a_batch, leading(a.strides(), na), batch);
    const Shape b_strides = broadcast_strides(b_batch, leading(b.strides(), nb), batch);
    p.a_batch = merged_stride(batch, a_strides, batch.size());
    p.b_batch = merged_stride(batch, b_strides, batch.size());
    std::vector<int64_t> a_offsets, b_offsets;
    if (p.a_batch < 0) a_offsets = batch_offsets(batch, a_strides), p.a_offsets = a_offsets.data();
    if (p.b_batch < 0) b_offsets = batch_offsets(batch, b_strides), p.b_offsets = b_offsets.data();
    run(out, p);
    return out;
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const {
    Grads out(3);
    const Tensor a = ctx.saved(0), b = ctx.saved(1);
    const BatchProduct scaled{alpha, 0};
    if (ctx.needs(0)) out[0] = sum_to(apply(scaled, grad, transpose(b, -2, -1), OptTensor()), a.sizes());
    if (ctx.needs(1)) out[1] = sum_to(apply(scaled, transpose(a, -2, -1), grad, OptTensor()), b.sizes());
    if (ctx.needs(2)) {
      const Tensor g = sum_to(grad, ctx.saved(2).sizes());
      out[2] = beta == 1 ? g : mul(g, Tensor(beta));
    }
    return out;
  }
};

Tensor add_product(const Tensor& input, const Tensor& a, const Tensor& b, const Scalar& beta, const Scalar& alpha,
                   const char* op) {
  check_pair(a, b, op);
  LM_CHECK(input.dtype() == a.dtype(), TypeError, op, ": input is ", input.dtype(), ", the matrices are ", a.dtype(),
           "; need one dtype");
  check_inner(a, b, op);
  if (!a.is_floating()) {
    LM_CHECK(alpha.kind != Scalar::kFloat && beta.kind != Scalar::kFloat, TypeError, op, ": the matrices are ",
             a.dtype(), ", alpha or beta is a float; need integers");
    const Tensor product = mul(apply(BatchProduct{}, a, b, OptTensor()), alpha.tensor());
    return add(mul(input, beta.tensor()), product);
  }
  Shape sizes = a.sizes();
  sizes.back() = b.size(-1);
  LM_CHECK(broadcast(input.sizes(), sizes, op) == sizes, ValueError, op, ": input is ", input.sizes(),
           ", the product is ", sizes, "; need an input that broadcasts to the product");
  // The common case, a bias under the product, is one kernel.
  if (alpha.to_double() == 1 && beta.to_double() == 1 && a.dim() == 2 && input.dim() == 1 && input.size(0) == sizes[1])
    return apply(Affine{false}, a, b, OptTensor(input));
  return apply(BatchProduct{alpha.to_double(), beta.to_double()}, a, b, OptTensor(input));
}

// Both at least vectors, checked.
Tensor product(const Tensor& a, const Tensor& b, const char* op) {
  check_pair(a, b, op);
  LM_CHECK(a.dim() > 0 && b.dim() > 0, ValueError, op, ": a is ", a.sizes(), ", b is ", b.sizes(),
           "; need at least one dimension each");
  check_inner(a, b, op);
  if (b.dim() == 2) return apply(Affine{false}, a, b, OptTensor());
  if (b.dim() == 1) {  // (..., m, k) @ (k) -> (..., m)
    if (a.dim() == 1) return squeeze(apply(Affine{false}, a, unsqueeze(b, 1), OptTensor()), Shape{0});
    return squeeze(apply(Affine{false}, a, unsqueeze(b, 1), OptTensor()), Shape{-1});
  }
  if (a.dim() == 1)  // (k) @ (..., k, n) -> (..., n)
    return squeeze(apply(BatchProduct{}, unsqueeze(a, 0), b, OptTensor()), Shape{-2});
  auto batch = [](const Tensor& x) { return Shape(std::span<const int64_t>(x.sizes().data(), size_t(x.dim() - 2))); };
  broadcast(batch(a), batch(b), op);  // the error names the operator
  return apply(BatchProduct{}, a, b, OptTensor());
}

}  // namespace

Tensor matmul(const Tensor& input, const Tensor& other) { return product(input, other, "matmul"); }

Tensor mm(const Tensor& input, const Tensor& mat2) {
  check_rank(input, 2, "mm", "input");
  check_rank(mat2, 2, "mm", "mat2");
  return product(input, mat2, "mm");
}

Tensor bmm(const Tensor& input, const Tensor& mat2) {
  check_rank(input, 3, "bmm", "input");
  check_rank(mat2, 3, "bmm", "mat2");
  LM_CHECK(input.size(0) == mat2.size(0), ValueError, "bmm: batch sizes differ: input is ", input.sizes(), ", mat2 is ",
           mat2.sizes(), "; need input.shape[0] == mat2.shape[0]");
  return product(input, mat2, "bmm");
}

Tensor mv(const Tensor& input, const Tensor& vec) {
  check_rank(input, 2, "mv", "input");
  check_rank(vec, 1, "mv", "vec");
  return product(input, vec, "mv");
}

Tensor dot(const Tensor& input, const Tensor& tensor) {
  check_rank(input, 1, "dot", "input");
  check_rank(tensor, 1, "dot", "tensor");
  return product(input, tensor, "dot");
}

Tensor outer(const Tensor& input, const Tensor& vec2) {
  check_rank(input, 1, "outer", "input");
  check_rank(vec2, 1, "outer", "vec2");
  return mul(unsqueeze(input, 1), unsqueeze(vec2, 0));  // (n,1) * (1,m) -> (n,m)
}

Tensor inner(const Tensor& input, const Tensor& other) {
  if (input.dim() == 0 || other.dim() == 0) return mul(input, other);
  LM_CHECK(input.size(-1) == other.size(-1), ValueError, "inner: last dimensions differ: input is ", input.sizes(),
           ", other is ", other.sizes(), "; need input.shape[-1] == other.shape[-1]");
  return tensordot(input, other, ShapePair{Shape{-1}, Shape{-1}});
}

Tensor addmm(const Tensor& input, const Tensor& mat1, const Tensor& mat2, const Scalar& beta, const Scalar& alpha) {
  check_rank(mat1, 2, "addmm", "mat1");
  check_rank(mat2, 2, "addmm", "mat2");
  return add_product(input, mat1, mat2, beta, alpha, "addmm");
}

Tensor addmv(const Tensor& input, const Tensor& mat, const Tensor& vec, const Scalar& beta, const Scalar& alpha) {
  check_rank(mat, 2, "addmv", "mat");
  check_rank(vec, 1, "addmv", "vec");
  check_inner(mat, vec, "addmv");
  const Tensor column = input.dim() == 0 ? input : unsqueeze(input, -1);
  return squeeze(add_product(column, mat, unsqueeze(vec, 1), beta, alpha, "addmv"), Shape{-1});
}

Tensor baddbmm(const Tensor& input, const Tensor& batch1, const Tensor& batch2, const Scalar& beta,
               const Scalar& alpha) {
  check_rank(batch1, 3, "baddbmm", "batch1");
  check_rank(batch2, 3, "baddbmm", "batch2");
  LM_CHECK(batch1.size(0) == batch2.size(0), ValueError, "baddbmm: batch sizes differ: batch1 is ", batch1.sizes(),
           ", batch2 is ", batch2.sizes(), "; need batch1.shape[0] == batch2.shape[0]");
  return add_product(input, batch1, batch2, beta, alpha, "baddbmm");
}

Tensor linear(const Tensor& input, const Tensor& weight, const OptTensor& bias) {
  LM_CHECK(weight.dim() == 2, ValueError, "linear: weight has ", weight.dim(), " dimensions, shape ", weight.sizes(),
           "; need (out_features, in_features)");
  LM_CHECK(input.dim() > 0 && input.size(-1) == weight.size(1), ValueError, "linear: input is ", input.sizes(),
           ", weight is ", weight.sizes(), "; need input.shape[-1] == weight.shape[1]");
  check_pair(input, weight, "linear");
  if (bias) {
    LM_CHECK(bias->dim() == 1 && bias->size(0) == weight.size(0), ValueError, "linear: bias is ", bias->sizes(),
             ", weight is ", weight.sizes(), "; need bias.shape == (weight.shape[0],)");
    check_pair(input, *bias, "linear");
    if (!input.is_floating()) return add(apply(Affine{true}, input, weight, OptTensor()), *bias);
  }
  return apply(Affine{true}, input, weight, bias);
}

// Kronecker product: out[i * p + r, j * q + s] = a[i, j] * b[r, s], in any number of dimensions.
Tensor kron(const Tensor& input, const Tensor& other) {
  const int n = std::max(input.dim(), other.dim());
  Shape a, b, out;
  for (int i = 0; i < n; ++i) {
    const int from_a = i - (n - input.dim()), from_b = i - (n - other.dim());
    const int64_t size_a = from_a < 0 ? 1 : input.size(from_a), size_b = from_b < 0 ? 1 : other.size(from_b);
    a.push_back(size_a), a.push_back(1);
    b.push_back(1), b.push_back(size_b);
    out.push_back(size_a * size_b);
  }
  return reshape(mul(reshape(input, a), reshape(other, b)), out);
}

}  // namespace lamina
