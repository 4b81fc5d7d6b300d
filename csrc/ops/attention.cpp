// scaled_dot_product_attention: checks, shapes, and the two jobs that compute it and its gradient (kernel/attention.h).
// The same in differentiable operators serves masks that need a gradient, dropout and second derivatives.
#include "kernel/attention.h"

#include <cmath>
#include <limits>

#include "autograd/apply.h"
#include "ops/ops.h"

namespace lamina {
namespace {

Heads view_of(const Tensor& x) { return {x.data(), x.stride(0), x.stride(1), x.stride(2)}; }
Tensor rows_contiguous(const Tensor& x) { return x.stride(3) == 1 || x.size(3) == 1 ? x : contiguous(x); }

// query (B,H,L,E), key (B,G,S,E), value (B,G,S,V), mask (B,H,L,S) or broadcast -> (B,H,L,V); G divides H.
struct Attention {
  static constexpr const char* kName = "scaled_dot_product_attention";
  double scale;
  bool causal, masked;

  Tensor forward(Ctx& ctx, const Tensor& query, const Tensor& key, const Tensor& value, const OptTensor& mask) const {
    const Tensor q = rows_contiguous(query), k = rows_contiguous(key), v = rows_contiguous(value);
    const int64_t batch = q.size(0), heads = q.size(1), rows = q.size(2), width = v.size(3);
    // The memory order of the query: (B,L,H,V) when the heads of a position lie together.
    const bool heads_inside = q.stride(1) < q.stride(2);
    Tensor out = heads_inside
                     ? empty_strided_tensor({batch, heads, rows, width},
                                            {rows * heads * width, width, heads * width, 1}, q.dtype(), q.device())
                     : empty_tensor({batch, heads, rows, width}, q.dtype(), q.device());
    const Tensor lse = empty_tensor({batch, heads, rows}, q.dtype(), q.device());
    kernel::attention_forward(stream_of(q.device()), problem(q, k, v, mask), view_of(out), lse.data());
    for (const Tensor& x : {query, key, value}) ctx.save(x);
    ctx.save_output(out);
    ctx.save(lse);
    if (mask) ctx.save(*mask);
    return out;
  }

  Grads backward(Ctx& ctx, const Tensor& grad) const {
    const Tensor query = ctx.saved(0), key = ctx.saved(1), value = ctx.saved(2), out = ctx.saved(3);
    const OptTensor mask = masked ? OptTensor(ctx.saved(5)) : std::nullopt;
    return grad_enabled() ? differentiable(query, key, value, mask, grad)
                          : fused(query, key, value, mask, rows_contiguous(out), ctx.saved(4), rows_contiguous(grad));
  }

  // softmax(scale Q K^T + mask)
  Tensor probabilities(const Tensor& query, const Tensor& key, const OptTensor& mask) const {
    Tensor scores = matmul(query, transpose(key, -2, -1)) * Tensor(scale);
    if (mask) scores = scores + *mask;
    if (causal) {
      const Shape sizes{query.size(-2), key.size(-2)};
      scores = scores + triu(full_tensor(sizes, -HUGE_VAL, scores.dtype(), scores.device()), 1);
    }
    return softmax(scores, -1, std::nullopt);
  }

 private:
  AttentionProblem problem(const Tensor& q, const Tensor& k, const Tensor& v, const OptTensor& mask) const {
    AttentionProblem p;
    p.dtype = q.dtype(), p.scale = scale, p.causal = causal;
    p.batch = q.size(0), p.heads = q.size(1), p.rows = q.size(2), p.depth = q.size(3);
    p.key_heads = k.size(1), p.keys = k.size(2), p.width = v.size(3);
    p.query = view_of(q), p.key = view_of(k), p.value = view_of(v);
    if (mask) p.mask = view_of(*mask);
    return p;
  }
  Grads fused(const Tensor& query, const Tensor& key, const Tensor& value, const OptTensor& mask, const Tensor& out,
              const Tensor& lse, const Tensor& grad) const {
    const Tensor q = rows_contiguous(query), k = rows_contiguous(key), v = rows_contiguous(value);
    const Tensor grad_q = empty_tensor(q.sizes(), q.dtype(), q.device()),
                 grad_k = empty_tensor(k.sizes(), k.dtype(), k.device()),
                 grad_v = empty_tensor(v.sizes(), v.dtype(), v.device());
    kernel::attention_backward(stream_of(q.device()), problem(q, k, v, mask), view_of(out), lse.data(), view_of(grad),
                               grad_q.data(), grad_k.data(), grad_v.data());
    return {grad_q, grad_k, grad_v, Tensor()};
  }

  Grads differentiable(const Tensor& query, const Tensor& key, const Tensor& value, const OptTensor& mask,
                       const Tensor& grad) const {
    const Shape whole = query.sizes();
    const int64_t shared = key.size(1), group = whole[1] / shared;
    // Heads that share a key become rows of their own dimension: (B,H,L,E) -> (B,G,H/G,L,E), key (B,G,1,S,E).
    const auto split = [&](const Tensor& x) {
      return reshape(x, Sizes(Shape{x.size(0), shared, group, x.size(2), x.size(3)}));
    };
    const auto alone = [](const Tensor& x) { return unsqueeze(x, 2); };
    OptTensor m;
    if (mask) m = split(expand(*mask, Sizes(Shape{whole[0], whole[1], whole[2], key.size(2)})));
    const Tensor q = split(query), k = alone(key), v = alone(value), g = split(grad);
    const Tensor p = probabilities(q, k, m), grad_p = matmul(g, transpose(v, -2, -1));
    const Tensor grad_s = p * (grad_p - sum(p * grad_p, Shape{-1}, true, std::nullopt)) * Tensor(scale);
    const auto total = [](const Tensor& x) { return sum(x, Shape{2}, false, std::nullopt); };
    return {reshape(matmul(grad_s, k), Sizes(whole)), total(matmul(transpose(grad_s, -2, -1), q)),
            total(matmul(transpose(p, -2, -1), g)), Tensor()};
  }
};

// Any number of leading dimensions to the (B,H) of the operator.
Tensor to_four(const Tensor& x) {
  Shape sizes = x.sizes();
  while (sizes.size() < 4) sizes.insert(0, 1);
  while (sizes.size() > 4) {
    sizes[1] *= sizes[0];
    sizes.erase(0);
  }
  return sizes == x.sizes() ? x : reshape(x, Sizes(sizes));
}

// bool (True: takes part) or additive, as something to add whose last dimension is contiguous.
Tensor additive_mask(const Tensor& mask, const Tensor& query, const Tensor& key) {
  const char* name = Attention::kName;
  LM_CHECK(mask.dtype() == DType::Bool || mask.dtype() == query.dtype(), TypeError, name, ": attn_mask is ",
           mask.dtype(), ", query is ", query.dtype(), "; need bool or the dtype of query");
  Shape full = query.sizes();
  full.back() = key.size(-2);
  // Compared from the end, as broadcasting does.
  bool fits = mask.dim() <= full.size();
  for (int i = 1; fits && i <= mask.dim(); ++i) fits = mask.size(-i) == 1 || mask.size(-i) == full[full.size() - i];
  LM_CHECK(fits, ValueError, name, ": attn_mask has shape ", mask.sizes(), "; need one that broadcasts to ", full);
  const DType type = compute_type(query.dtype());
  Tensor add = mask.dtype() == DType::Bool ? where(mask, scalar_tensor(0.0, type),
                                                   scalar_tensor(-std::numeric_limits<double>::infinity(), type))
                                           : cast(mask, type);
  if (add.dim() > 4) add = expand(add, Sizes(full));
  add = to_four(add);
  if (add.size(3) != full.back()) add = expand(add, Sizes(Shape{add.size(0), add.size(1), add.size(2), full.back()}));
  return contiguous(add);
}

void check_attention(const Tensor& query, const Tensor& key, const Tensor& value, bool enable_gqa) {
  const char* name = Attention::kName;
  LM_CHECK(query.is_floating() && key.dtype() == query.dtype() && value.dtype() == query.dtype(), TypeError, name,
           ": query, key and value are ", query.dtype(), ", ", key.dtype(), " and ", value.dtype(),
           "; need one floating-point dtype");
  LM_CHECK(query.dim() >= 2 && key.dim() == query.dim() && value.dim() == query.dim(), ValueError, name,
           ": query, key and value have shapes ", query.sizes(), ", ", key.sizes(), " and ", value.sizes(),
           "; need (..., L, E), (..., S, E) and (..., S, V)");
  bool fits = key.size(-1) == query.size(-1) && key.size(-2) == value.size(-2);
  for (int i = 0; fits && i < query.dim() - 2; ++i) {
    const bool head = enable_gqa && i == query.dim() - 3;
    fits = key.size(i) == value.size(i) &&
           (head ? key.size(i) > 0 && query.size(i) % key.size(i) == 0 : key.size(i) == query.size(i));
  }
  LM_CHECK(fits, ValueError, name, ": query, key and value have shapes ", query.sizes(), ", ", key.sizes(), " and ",
           value.sizes(), "; need (..., L, E), (..., S, E) and (..., S, V) with equal leading dimensions",
           enable_gqa ? ", the heads of key a divisor of those of query" : "");
}

}  // namespace

// Vaswani et al., "Attention is all you need", 2017.
Tensor scaled_dot_product_attention(const Tensor& query, const Tensor& key, const Tensor& value,
                                    const OptTensor& attn_mask, double dropout_p, bool is_causal,
                                    std::optional<double> scale, bool enable_gqa) {
  const char* name = Attention::kName;
  check_attention(query, key, value, enable_gqa);
  LM_CHECK(!(attn_mask && is_causal), ValueError, name, ": attn_mask is given and is_causal is True; need at most one");
  LM_CHECK(dropout_p >= 0 && dropout_p <= 1, ValueError, name, ": dropout_p is ", dropout_p,
           "; need 0 <= dropout_p <= 1");
  const DType type = compute_type(query.dtype());
  const Tensor q = to_four(cast(query, type)), k = to_four(cast(key, type)), v = to_four(cast(value, type));
  OptTensor mask;
  if (attn_mask) mask = additive_mask(*attn_mask, query, key);
  const Attention op{scale.value_or(1 / std::sqrt(double(query.size(-1)))), is_causal, bool(mask)};
  Tensor out;
  // Dropout would have to draw its mask again per tile, and a mask's gradient is as large as the scores: both are
  // composed of operators.
  if (dropout_p > 0 || (mask && mask->requires_grad())) {
    const int64_t group = q.size(1) / k.size(1);
    const auto every = [&](const Tensor& x) { return group == 1 ? x : repeat_interleave(x, group, 1); };
    out = matmul(dropout(op.probabilities(q, every(k), mask), dropout_p, true), every(v));
  } else {
    if (mask) mask = expand(*mask, Sizes(Shape{q.size(0), q.size(1), q.size(2), k.size(2)}));
    out = apply(op, q, k, v, mask);
  }
  Shape sizes = query.sizes();
  sizes.back() = value.size(-1);
  return cast(sizes == out.sizes() ? out : reshape(out, Sizes(sizes)), query.dtype());
}

}  // namespace lamina
