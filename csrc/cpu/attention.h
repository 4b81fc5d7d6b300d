// Scaled dot-product attention with any number of heads to a key. item is 4 (float) or 8 (double). Dao et al.,
// "FlashAttention: fast and memory-efficient exact attention with IO-awareness", 2022. Next: attention.cpp (tiles),
// kernels/attention.cpp (rows of scores).
#pragma once
#include "core/dtype.h"
#include "cpu/kernel.h"

namespace lamina {

struct ScoreTile {
  int64_t item, rows, columns;  // row-major, columns apart
  int64_t first_row;            // causal: row i sees columns 0 ... first_row + i
  bool causal;
  const void* mask;   // (rows, columns) to add, or null
  int64_t mask_step;  // from one row of the mask to the next
};
// scores become softmax(scores + mask); lse (rows,): log sum exp. A row that sees nothing becomes zeros, lse infinite.
LM_KERNEL(void, attention_softmax, (const ScoreTile& tile, void* scores, void* lse))
// The same from lse.
LM_KERNEL(void, attention_probabilities, (const ScoreTile& tile, void* scores, const void* lse))
// grad = p * (grad - sum(out * grad_out)); out and grad_out have n columns, rows out_step and grad_step apart.
LM_KERNEL(void, attention_scores_gradient,
          (const ScoreTile& tile, const void* p, void* grad, const void* out, int64_t out_step, const void* grad_out,
           int64_t grad_step, int64_t n))

namespace cpu {
// (batch, heads, rows, n) in memory: steps count elements, those of a row are adjacent.
struct Heads {
  void* data = nullptr;
  int64_t batch_step = 0, head_step = 0, row_step = 0;
  void* at(int64_t item, int64_t b, int64_t h, int64_t row) const {
    return static_cast<char*>(data) + (b * batch_step + h * head_step + row * row_step) * item;
  }
};
// query (B,H,L,E), key (B,G,S,E), value (B,G,S,V), mask (B,H,L,S) with any steps; G divides H.
struct AttentionProblem {
  DType dtype = DType::F32;
  int64_t batch = 0, heads = 0, key_heads = 0, rows = 0, keys = 0, depth = 0, width = 0;
  double scale = 1;
  bool causal = false;
  Heads query, key, value;
  Heads mask;  // without data: none
};
}  // namespace cpu

#ifndef LM_ISA
// out (B,H,L,V) = softmax(scale query key^T + mask) value; lse (B,H,L), dense, is what backward needs of the scores.
LM_JOB(void, attention_forward, (const cpu::AttentionProblem& p, const cpu::Heads& out, void* lse))
// The gradients are dense.
LM_JOB(void, attention_backward,
       (const cpu::AttentionProblem& p, const cpu::Heads& out, const void* lse, const cpu::Heads& grad,
        void* grad_query, void* grad_key, void* grad_value))
#endif

}  // namespace lamina
