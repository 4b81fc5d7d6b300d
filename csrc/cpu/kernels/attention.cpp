// Rows of attention scores; see attention.h. The sum of p * grad_p over a row is the dot product of output and its
// gradient (Dao et al., "FlashAttention", 2022), which is shorter and needs no pass over the scores.
#include "cpu/attention_loops.h"

#include "cpu/softmax_rows.h"

namespace lamina::cpu::LM_ISA {
namespace {

// fn(row, seen): the first `seen` columns take part; the mask is added to them, the others become zero.
template <class T, class Fn>
LM_FN void masked_rows(const ScoreTile& tile, T* scores, Fn fn) {
  for (int64_t i = 0; i < tile.rows; ++i) {
    T* x = scores + i * tile.columns;
    const int64_t last = tile.first_row + i + 1, seen = tile.causal && last < tile.columns ? last : tile.columns;
    if (tile.mask) {
      const T* mask = static_cast<const T*>(tile.mask) + i * tile.mask_step;
      lanes<T>(seen, [&](auto at, int) LM_INLINE { at.store(x, at.load(x) + at.load(mask)); });
    }
    T* rest = x + seen;
    lanes<T>(tile.columns - seen, [&](auto at, int) LM_INLINE { at.store(rest, T(0)); });
    fn(i, x, seen);
  }
}

}  // namespace

void attention_softmax(const ScoreTile& tile, void* scores, void* lse) {
  by_float(tile.item, [&]<class T>() {
    masked_rows(tile, static_cast<T*>(scores), [&](int64_t i, T* x, int64_t seen) LM_INLINE {
      const T top = row_max(x, seen);
      // A row that sees only -inf: x - top would be NaN. PyTorch gives zeros, and so do we.
      const bool blind = top == -math::inf<T>() && row_dot(x, x, seen) == math::inf<T>();  // all -inf, no NaN
      const T sum = row_exp(x, x, seen, blind ? math::inf<T>() : top);
      if (!blind) row_scale(x, seen, T(1) / sum);
      static_cast<T*>(lse)[i] = blind ? math::inf<T>() : top + math::log(sum);
    });
  });
}

void attention_probabilities(const ScoreTile& tile, void* scores, const void* lse) {
  by_float(tile.item, [&]<class T>() {
    masked_rows(tile, static_cast<T*>(scores),
                [&](int64_t i, T* x, int64_t seen) LM_INLINE { row_exp(x, x, seen, static_cast<const T*>(lse)[i]); });
  });
}

void attention_scores_gradient(const ScoreTile& tile, const void* p, void* grad, const void* out, int64_t out_step,
                               const void* grad_out, int64_t grad_step, int64_t n) {
  by_float(tile.item, [&]<class T>() {
    for (int64_t i = 0; i < tile.rows; ++i) {
      const Simd<T> dot(
          row_dot(static_cast<const T*>(out) + i * out_step, static_cast<const T*>(grad_out) + i * grad_step, n));
      const T* probability = static_cast<const T*>(p) + i * tile.columns;
      T* g = static_cast<T*>(grad) + i * tile.columns;
      lanes<T>(tile.columns, [&](auto at, int) LM_INLINE { at.store(g, at.load(probability) * (at.load(g) - dot)); });
    }
  });
}

}  // namespace lamina::cpu::LM_ISA
