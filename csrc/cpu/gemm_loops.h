// The inner loops under kernel/gemm.h, one build per instruction set. The one idea: A is read where it lies, through a
// table of row offsets and a table of segment offsets along k, so that a convolution is a product without im2col:
//   A(i, s * k + t) = a[row(i) + segment(s) + t * a_col],   row(i) = a_rows ? a_rows[i] : i * a_row
// B is packed in panels as wide as the register block, or row-major. Next: gemm.cpp.
#pragma once
#include "core/dtype.h"
#include "kernel/isa.h"

namespace lamina::cpu {

// C (m, n) = alpha * A (m, segments * k) @ B (segments * k, n) + (C, or bias (n), or nothing), then relu. C's columns
// are adjacent.
struct GemmTile {
  int64_t m = 0, n = 0, k = 0, segments = 1;
  const void* a = nullptr;
  int64_t a_row = 0, a_col = 1;
  const int64_t* a_rows = nullptr;      // offset of each row, in elements; null: i * a_row
  const int64_t* a_segments = nullptr;  // offset of each segment; null: one segment at 0
  const void* b = nullptr;
  int64_t b_row = 0;  // elements from one k to the next; 0: b was made by gemm_pack. Unpacked n is whole vectors
  int64_t b_first = 0, b_rows = 0;  // packed: the rows of b to use start here, of so many (0: of segments * k)
  void* c = nullptr;
  int64_t c_row = 0;
  const int64_t* c_rows = nullptr;  // offset of each row; null: i * c_row
  double alpha = 1;
  bool accumulate = false;  // not together with a bias
  const void* bias = nullptr;
  bool relu = false;
};

#ifndef LM_ISA
// Elements of one vector, and columns of one packed panel (32 registers hold four vectors of it, 16 hold two).
inline int64_t gemm_lanes(DType dtype) {
  return (isa() == Isa::avx512 ? 64 : isa() == Isa::avx2 ? 32 : 16) / item_size(dtype);
}
inline int64_t gemm_panel(DType dtype) { return gemm_lanes(dtype) * (isa() == Isa::avx512 ? 4 : 2); }
#endif

}  // namespace lamina::cpu

namespace lamina {
LM_LOOP(void, gemm_tile, (DType dtype, const cpu::GemmTile& tile))
// B (k, n) with any strides into panels of gemm_panel columns, each row-major; the last is padded with zeros to whole
// vectors. The panels have `rows` rows, of which `first` ... `first + k` are written; `out` holds rows * round_up(n,
// lanes).
LM_LOOP(void, gemm_pack,
        (DType dtype, const void* b, int64_t b_row, int64_t b_col, int64_t k, int64_t n, void* out, int64_t first,
         int64_t rows))
// One row: y (n) = alpha * x (k) . w (n, k) + start (n, may be y or null), rows of w `w_row` apart: w is read once.
LM_LOOP(void, gemm_dot,
        (DType dtype, int64_t n, int64_t k, const void* x, const void* w, int64_t w_row, void* y, double alpha,
         const void* start, bool relu))
}  // namespace lamina
