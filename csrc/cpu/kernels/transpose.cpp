// A transpose in registers. The one idea: log2(n) rounds in which row i is interleaved with row i + n / 2 rotate the
// bits of (row, column) until the two have changed places, for elements of any size.
#include "cpu/copy_loops.h"

namespace lamina::cpu::LM_ISA {
namespace {

// A square of 16-byte rows: 2 x 2 elements of 8 bytes, ..., 16 x 16 bytes.
template <class U>
struct Square {
  static constexpr int kRows = 16 / sizeof(U);
  typedef U Row __attribute__((vector_size(16)));
  typedef U Index __attribute__((vector_size(16)));

  static constexpr Index indices(int start) {
    Index index{};
    for (int i = 0; i < kRows; ++i) index[i] = U(start + i / 2 + (i % 2 ? kRows : 0));
    return index;
  }
  [[gnu::always_inline]] static void transpose(const U* src, int64_t src_stride, U* dst, int64_t dst_stride) {
    const Index low = indices(0), high = indices(kRows / 2);
    Row rows[kRows], next[kRows];
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) __builtin_memcpy(&rows[i], src + i * src_stride, 16);
#pragma GCC unroll 4
    for (int round = 1; round < kRows; round *= 2) {
#pragma GCC unroll 8
      for (int i = 0; i < kRows / 2; ++i) {
        next[2 * i] = __builtin_shuffle(rows[i], rows[i + kRows / 2], low);
        next[2 * i + 1] = __builtin_shuffle(rows[i], rows[i + kRows / 2], high);
      }
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) rows[i] = next[i];
    }
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) __builtin_memcpy(dst + i * dst_stride, &rows[i], 16);
  }
};

template <class U>
void transpose(int64_t rows, int64_t columns, const U* src, int64_t src_stride, U* dst, int64_t dst_stride) {
  constexpr int kStep = Square<U>::kRows;
  int64_t whole_rows = rows / kStep * kStep, whole_columns = columns / kStep * kStep;
  for (int64_t j = 0; j < whole_columns; j += kStep)
    for (int64_t i = 0; i < whole_rows; i += kStep)
      Square<U>::transpose(src + j * src_stride + i, src_stride, dst + i * dst_stride + j, dst_stride);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = i < whole_rows ? whole_columns : 0; j < columns; ++j)
      dst[i * dst_stride + j] = src[j * src_stride + i];
}

}  // namespace

void transpose_tile(int64_t itemsize, int64_t rows, int64_t columns, const void* src, int64_t src_stride, void* dst,
                    int64_t dst_stride) {
  auto run = [=]<class U>(U) {
    transpose(rows, columns, static_cast<const U*>(src), src_stride, static_cast<U*>(dst), dst_stride);
  };
  switch (itemsize) {
    case 1:
      return run(uint8_t());
    case 2:
      return run(uint16_t());
    case 4:
      return run(uint32_t());
    default:
      return run(uint64_t());
  }
}

}  // namespace lamina::cpu::LM_ISA
