// Rows of scores under cpu/attention.cpp. item is 4 (float) or 8 (double). Next: kernels/attention.cpp.
#pragma once
#include "kernel/isa.h"

namespace lamina {

struct ScoreTile {
  int64_t item, rows, columns;  // row-major, columns apart
  int64_t first_row;            // causal: row i sees columns 0 ... first_row + i
  bool causal;
  const void* mask;   // (rows, columns) to add, or null
  int64_t mask_step;  // from one row of the mask to the next
};
// scores become softmax(scores + mask); lse (rows,): log sum exp. A row that sees nothing becomes zeros, lse infinite.
LM_LOOP(void, attention_softmax, (const ScoreTile& tile, void* scores, void* lse))
// The same from lse.
LM_LOOP(void, attention_probabilities, (const ScoreTile& tile, void* scores, const void* lse))
// grad = p * (grad - sum(out * grad_out)); out and grad_out have n columns, rows out_step and grad_step apart.
LM_LOOP(void, attention_scores_gradient,
        (const ScoreTile& tile, const void* p, void* grad, const void* out, int64_t out_step, const void* grad_out,
         int64_t grad_step, int64_t n))

}  // namespace lamina
