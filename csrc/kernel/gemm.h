// C = alpha * A @ B + beta * C, then the epilogue: the one function between the operators and whoever multiplies.
// Any strides, batches, no copies of transposed operands. Work is cut in tiles chosen from the problem size only, so
// the result is bitwise the same for any number of threads. Next: cpu/gemm.cpp, cuda/gemm.cu.
#pragma once
#include "core/dtype.h"
#include "kernel/kernel.h"

namespace lamina {

// (batch, m, k) @ (batch, k, n) -> (batch, m, n), of dtype F32 or F64; on CUDA also F16 and BF16, summed in float.
// Strides count elements; of C one of c_row and c_col is 1 (or m or n is). A batch stride of 0 repeats an operand.
// Where one stride cannot say where each matrix lies, a_offsets and b_offsets (on the host) do.
struct GemmProblem {
  DType dtype = DType::F32;
  int64_t batch = 1, m = 0, n = 0, k = 0;
  const void* a = nullptr;
  int64_t a_row = 0, a_col = 1, a_batch = 0;
  const void* b = nullptr;
  int64_t b_row = 0, b_col = 1, b_batch = 0;
  void* c = nullptr;
  int64_t c_row = 0, c_col = 1, c_batch = 0;
  const int64_t* a_offsets = nullptr;
  const int64_t* b_offsets = nullptr;
  double alpha = 1, beta = 0;  // beta == 0 never reads C
};

// What happens to a tile of C while it is hot.
struct GemmEpilogue {
  const void* bias = nullptr;  // (n), or (m) with bias_per_row
  bool bias_per_row = false;
  bool relu = false;
};

LM_JOB(void, gemm, (const GemmProblem& problem, const GemmEpilogue& epilogue))
// Integers: C (m, n) = A @ B with wrap-around.
LM_KERNEL(void, gemm_int,
          (DType dtype, int64_t m, int64_t n, int64_t k, const void* a, int64_t a_row, int64_t a_col, const void* b,
           int64_t b_row, int64_t b_col, void* c, int64_t c_row))

}  // namespace lamina
