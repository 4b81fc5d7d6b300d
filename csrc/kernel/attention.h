// Scaled dot-product attention with any number of heads to a key. Dao et al., "FlashAttention: fast and
// memory-efficient exact attention with IO-awareness", 2022. Next: cpu/attention.cpp, cuda/attention.cu.
#pragma once
#include "core/dtype.h"
#include "kernel/kernel.h"

namespace lamina {

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

// out (B,H,L,V) = softmax(scale query key^T + mask) value; lse (B,H,L), dense, is what backward needs of the scores.
LM_JOB(void, attention_forward, (const AttentionProblem& p, const Heads& out, void* lse))
// The gradients are dense.
LM_JOB(void, attention_backward,
       (const AttentionProblem& p, const Heads& out, const void* lse, const Heads& grad, void* grad_query,
        void* grad_key, void* grad_value))

}  // namespace lamina
