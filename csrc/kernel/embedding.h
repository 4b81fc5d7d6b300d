// Embedding and dropout kernels. item is the size of an element; embedding_gradient and dropout: 4 (float) or 8
// (double). Next: cpu/kernels/embedding.cpp, cuda/random.cu.
#pragma once
#include "core/philox.h"
#include "kernel/kernel.h"

namespace lamina {

// y[i] = table[index[i]], rows of row_bytes.
LM_KERNEL(void, embedding_rows, (const void* table, const int64_t* index, void* y, int64_t count, int64_t row_bytes))
// grad (rows, n) = sum over i of g[i] into row index[i], in order of i; index == padding adds nothing.
LM_KERNEL(void, embedding_gradient,
          (int64_t item, const void* g, const int64_t* index, void* grad, int64_t count, int64_t rows, int64_t n,
           int64_t padding))
// y[i] = bits(i) < threshold ? 0 : x[i] * scale with 32 random bits for each value; takes random_blocks(n, 4).
LM_KERNEL(void, dropout_apply,
          (int64_t item, const void* x, void* y, int64_t n, uint32_t threshold, double scale, Philox philox))

}  // namespace lamina
