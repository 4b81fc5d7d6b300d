// Attention by products of all heads at once (gemm.cu) with kernels for the rows of scores between them. The scores are
// stored, for as many heads at a time as kScoreBytes allows. See kernel/attention.h.
#include "kernel/attention.h"

#include <utility>

#include "cuda/kernels/attention.cuh"
#include "cuda/launch.h"
#include "kernel/gemm.h"

namespace lamina::cuda {
namespace {

constexpr int64_t kScoreBytes = 512 << 20;

// A (rows, n) matrix for each of some heads, `step` apart; turned: its transpose.
struct Matrices {
  const void* data;
  int64_t step, row_step;
  bool turned = false;
};

// Heads h0 ... of one batch, or of all batches when `merged`: those that are multiplied together. Heads that share a
// key are `group` apart, and each of them has a turn of its own.
struct Turn {
  int64_t batch, key_head, count, member;
};

struct Run {
  Stream stream;
  const AttentionProblem& p;
  int64_t item, group;

  Run(Stream stream, const AttentionProblem& p)
      : stream(stream), p(p), item(item_size(p.dtype)), group(p.heads / std::max<int64_t>(p.key_heads, 1)) {}

  bool one_stride(const Heads& x, int64_t heads) const { return p.batch == 1 || x.batch_step == heads * x.head_step; }
  // fn(turn) in the order that sums over the heads of a key need. The heads of several batches go together where every
  // one of `views` walks from batch to batch as from head to head.
  template <class F>
  void turns(std::initializer_list<std::pair<const Heads*, int64_t>> views, int64_t copies, F fn) const {
    bool merged = true;
    for (const auto& [view, heads] : views) merged &= one_stride(*view, heads);
    const int64_t together = merged ? p.batch * p.key_heads : p.key_heads;
    const int64_t most = std::max<int64_t>(1, kScoreBytes / std::max<int64_t>(1, copies * p.rows * p.keys * item));
    for (int64_t b = 0; b < (merged ? 1 : p.batch); ++b)
      for (int64_t first = 0; first < together; first += most)
        for (int64_t member = 0; member < group; ++member) fn(Turn{b, first, std::min(most, together - first), member});
  }
  int64_t most_heads(int64_t copies) const {
    return std::min(std::max<int64_t>(1, kScoreBytes / std::max<int64_t>(1, copies * p.rows * p.keys * item)),
                    p.batch * p.key_heads);
  }
  // Views of query heads, and of key heads.
  Matrices queries(const Turn& t, const Heads& x, bool turned = false) const {
    return {x.at(item, t.batch, t.key_head * group + t.member, 0), group * x.head_step, x.row_step, turned};
  }
  Matrices keys(const Turn& t, const Heads& x, bool turned = false) const {
    return {x.at(item, t.batch, t.key_head, 0), x.head_step, x.row_step, turned};
  }
  Matrices scores(const void* data, bool turned = false) const { return {data, p.rows * p.keys, p.keys, turned}; }

  // C (m, n) = alpha A (m, k) B (k, n) + beta C for every head of the turn.
  void product(const Turn& t, int64_t m, int64_t n, int64_t k, const Matrices& a, const Matrices& b, const Matrices& c,
               double alpha, double beta) const {
    GemmProblem g;
    g.dtype = p.dtype, g.batch = t.count, g.m = m, g.n = n, g.k = k, g.alpha = alpha, g.beta = beta;
    g.a = a.data, g.a_batch = a.step, g.a_row = a.turned ? 1 : a.row_step, g.a_col = a.turned ? a.row_step : 1;
    g.b = b.data, g.b_batch = b.step, g.b_row = b.turned ? 1 : b.row_step, g.b_col = b.turned ? b.row_step : 1;
    g.c = const_cast<void*>(c.data), g.c_batch = c.step, g.c_row = c.row_step;
    gemm(stream, g, {});
  }
  template <class T>
  ScoreRows<T> rows(const Turn& t) const {
    // Key head i of a merged list is head i % key_heads of batch i / key_heads.
    ScoreRows<T> r{};
    r.matrices = t.count, r.rows = p.rows, r.columns = p.keys, r.causal = p.causal;
    r.first_key_head = t.batch * p.key_heads + t.key_head, r.key_heads = p.key_heads;
    r.group = group, r.member = t.member;
    r.mask = static_cast<const T*>(p.mask.data);
    r.mask_batch = p.mask.batch_step, r.mask_head = p.mask.head_step, r.mask_row = p.mask.row_step;
    return r;
  }
  template <class... P, class... A>
  void row_kernel(void (*kernel)(P...), const Turn& t, const A&... args) const {
    launch(kernel, blocks_for(t.count * p.rows, 8), 256, 0, stream, args...);
  }
};

Heads dense(void* data, int64_t heads, int64_t rows, int64_t n) { return {data, heads * rows * n, rows * n, n}; }

template <class F>
void by_float(DType dtype, F f) {
  if (dtype == DType::F32)
    f.template operator()<float>();
  else
    f.template operator()<double>();
}

}  // namespace

void attention_forward(Stream stream, const AttentionProblem& p, const Heads& out, void* lse) {
  const Run run(stream, p);
  const Workspace scores(stream, size_t(run.most_heads(1) * p.rows * p.keys * run.item) + 1);
  run.turns({{&p.query, p.heads}, {&p.key, p.key_heads}, {&p.value, p.key_heads}, {&out, p.heads}}, 1,
            [&](const Turn& t) {
              const Matrices s = run.scores(scores.as<void>());
              run.product(t, p.rows, p.keys, p.depth, run.queries(t, p.query), run.keys(t, p.key, true), s, p.scale, 0);
              by_float(p.dtype, [&]<class T>() {
                run.row_kernel(attention_softmax_kernel<T>, t, run.rows<T>(t), scores.as<T>(), static_cast<T*>(lse));
              });
              run.product(t, p.rows, p.width, p.keys, s, run.keys(t, p.value), run.queries(t, out), 1, 0);
            });
}

void attention_backward(Stream stream, const AttentionProblem& p, const Heads& out, const void* lse, const Heads& grad,
                        void* grad_query, void* grad_key, void* grad_value) {
  const Run run(stream, p);
  const Heads gq = dense(grad_query, p.heads, p.rows, p.depth), gk = dense(grad_key, p.key_heads, p.keys, p.depth),
              gv = dense(grad_value, p.key_heads, p.keys, p.width);
  const size_t bytes = size_t(run.most_heads(2) * p.rows * p.keys * run.item) + 1;
  const Workspace prob(stream, bytes), grad_p(stream, bytes);
  run.turns({{&p.query, p.heads}, {&p.key, p.key_heads}, {&p.value, p.key_heads}, {&grad, p.heads}}, 2,
            [&](const Turn& t) {
              const Matrices s = run.scores(prob.as<void>()), s_turned = run.scores(prob.as<void>(), true);
              const Matrices d = run.scores(grad_p.as<void>()), d_turned = run.scores(grad_p.as<void>(), true);
              const double sum = t.member > 0;  // onto the heads that share the key and came before
              run.product(t, p.rows, p.keys, p.depth, run.queries(t, p.query), run.keys(t, p.key, true), s, p.scale, 0);
              by_float(p.dtype, [&]<class T>() {
                run.row_kernel(attention_probabilities_kernel<T>, t, run.rows<T>(t), prob.as<T>(),
                               static_cast<const T*>(lse));
              });
              run.product(t, p.keys, p.width, p.rows, s_turned, run.queries(t, grad), run.keys(t, gv), 1, sum);
              run.product(t, p.rows, p.keys, p.width, run.queries(t, grad), run.keys(t, p.value, true), d, 1, 0);
              by_float(p.dtype, [&]<class T>() {
                auto view = [](const Heads& x) {
                  return HeadRows<T>{static_cast<const T*>(x.data), x.batch_step, x.head_step, x.row_step};
                };
                run.row_kernel(attention_scores_gradient_kernel<T>, t, run.rows<T>(t), prob.as<const T>(),
                               grad_p.as<T>(), view(out), view(grad), p.width);
              });
              run.product(t, p.rows, p.depth, p.keys, d, run.keys(t, p.key), run.queries(t, gq), p.scale, 0);
              run.product(t, p.keys, p.depth, p.rows, d_turned, run.queries(t, p.query), run.keys(t, gk), p.scale, sum);
            });
}

}  // namespace lamina::cuda
