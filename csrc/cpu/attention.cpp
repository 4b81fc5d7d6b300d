// Attention by tiles of query rows: a tile of scores is multiplied, turned into probabilities and used while it is in
// cache; backward computes it again from one number a row, the log of its sum of exponentials. See attention.h.
#include "kernel/attention.h"

#include <algorithm>
#include <cstring>

#include "core/pool.h"
#include "cpu/attention_loops.h"
#include "cpu/scratch.h"
#include "kernel/gemm.h"

namespace lamina::cpu {
namespace {

constexpr int64_t kTileRows = 64;  // of the query: with S = 1024 keys, 256 KiB of scores

// C = alpha A B + beta C with (m, k) and (k, n); A or B may be turned: stored as its transpose.
void product(DType dtype, int64_t m, int64_t n, int64_t k, const void* a, int64_t a_step, bool a_turned, const void* b,
             int64_t b_step, bool b_turned, void* c, int64_t c_step, double alpha, double beta) {
  GemmProblem p;
  p.dtype = dtype, p.m = m, p.n = n, p.k = k;
  p.a = a, p.a_row = a_turned ? 1 : a_step, p.a_col = a_turned ? a_step : 1;
  p.b = b, p.b_row = b_turned ? 1 : b_step, p.b_col = b_turned ? b_step : 1;
  p.c = c, p.c_row = c_step, p.alpha = alpha, p.beta = beta;
  gemm(p, {});
}

// Rows first ... first + rows of head h. Causal rows see no key beyond their own position, so the tile ends there and
// half of the products are never computed.
ScoreTile score_tile(const AttentionProblem& p, int64_t b, int64_t h, int64_t first) {
  const int64_t rows = std::min(kTileRows, p.rows - first), item = item_size(p.dtype);
  ScoreTile tile{item, rows, p.causal ? std::min(p.keys, first + rows) : p.keys, first, p.causal, nullptr, 0};
  if (p.mask.data) tile.mask = p.mask.at(item, b, h, first), tile.mask_step = p.mask.row_step;
  return tile;
}

Heads dense(void* data, int64_t heads, int64_t rows, int64_t n) { return {data, heads * rows * n, rows * n, n}; }

}  // namespace

// A chunk is one tile of one head; it writes rows of `out` that no other chunk touches.
void attention_forward(const AttentionProblem& p, const Heads& out, void* lse) {
  const int64_t item = item_size(p.dtype), tiles = chunk_count(p.rows, kTileRows),
                group = p.heads / std::max<int64_t>(p.key_heads, 1);
  const Heads sums = dense(lse, p.heads, p.rows, 1);
  parallel_for(p.batch * p.heads * tiles, [&](int64_t chunk) {
    const int64_t b = chunk / tiles / p.heads, h = chunk / tiles % p.heads, first = chunk % tiles * kTileRows;
    const ScoreTile tile = score_tile(p, b, h, first);
    Scratch scores(tile.rows * tile.columns * item);
    product(p.dtype, tile.rows, tile.columns, p.depth, p.query.at(item, b, h, first), p.query.row_step, false,
            p.key.at(item, b, h / group, 0), p.key.row_step, true, scores.data(), tile.columns, p.scale, 0);
    loop::attention_softmax(tile, scores.data(), sums.at(item, b, h, first));
    product(p.dtype, tile.rows, p.width, tile.columns, scores.data(), tile.columns, false,
            p.value.at(item, b, h / group, 0), p.value.row_step, false, out.at(item, b, h, first), out.row_step, 1, 0);
  });
}

// A key's gradient sums over all queries, so one chunk does all heads that share it, tile after tile.
void attention_backward(const AttentionProblem& p, const Heads& out, const void* lse, const Heads& grad,
                        void* grad_query, void* grad_key, void* grad_value) {
  const int64_t item = item_size(p.dtype), group = p.heads / std::max<int64_t>(p.key_heads, 1);
  const Heads sums = dense(const_cast<void*>(lse), p.heads, p.rows, 1),
              gq = dense(grad_query, p.heads, p.rows, p.depth), gk = dense(grad_key, p.key_heads, p.keys, p.depth),
              gv = dense(grad_value, p.key_heads, p.keys, p.width);
  parallel_for(p.batch * p.key_heads, [&](int64_t chunk) {
    const int64_t b = chunk / p.key_heads, g = chunk % p.key_heads, bytes = kTileRows * p.keys * item;
    std::memset(gk.at(item, b, g, 0), 0, size_t(gk.head_step * item));
    std::memset(gv.at(item, b, g, 0), 0, size_t(gv.head_step * item));
    Scratch prob(bytes), grad_p(bytes);
    const void *key = p.key.at(item, b, g, 0), *value = p.value.at(item, b, g, 0);
    for (int64_t h = g * group; h < (g + 1) * group; ++h) {
      for (int64_t first = 0; first < p.rows; first += kTileRows) {
        const ScoreTile tile = score_tile(p, b, h, first);
        const int64_t m = tile.rows, n = tile.columns;
        const void *query = p.query.at(item, b, h, first), *upstream = grad.at(item, b, h, first);
        product(p.dtype, m, n, p.depth, query, p.query.row_step, false, key, p.key.row_step, true, prob.data(), n,
                p.scale, 0);
        loop::attention_probabilities(tile, prob.data(), sums.at(item, b, h, first));
        // grad_v += p^T g;  grad_p = g v^T;  grad_s = p (grad_p - rowsum(out g));  grad_q = grad_s k;
        // grad_k += grad_s^T q
        product(p.dtype, n, p.width, m, prob.data(), n, true, upstream, grad.row_step, false, gv.at(item, b, g, 0),
                p.width, 1, 1);
        product(p.dtype, m, n, p.width, upstream, grad.row_step, false, value, p.value.row_step, true, grad_p.data(), n,
                1, 0);
        loop::attention_scores_gradient(tile, prob.data(), grad_p.data(), out.at(item, b, h, first), out.row_step,
                                        upstream, grad.row_step, p.width);
        product(p.dtype, m, p.depth, n, grad_p.data(), n, false, key, p.key.row_step, false, gq.at(item, b, h, first),
                p.depth, p.scale, 0);
        product(p.dtype, n, p.depth, m, grad_p.data(), n, true, query, p.query.row_step, false, gk.at(item, b, g, 0),
                p.depth, p.scale, 1);
      }
    }
  });
}

}  // namespace lamina::cpu
