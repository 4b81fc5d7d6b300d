// Loops over elements under cpu/copy.cpp, and what other CPU code uses of them. Next: kernels/convert.cpp,
// kernels/copy_elements.cpp, kernels/transpose.cpp.
#pragma once
#include "core/dtype.h"
#include "kernel/isa.h"

namespace lamina {

// Contiguous conversion with C++ semantics: float to integer truncates, anything to bool is `!= 0`.
LM_LOOP(void, convert, (DType from, DType to, int64_t n, const void* src, void* dst))

// dst[i * dst_stride] = src[i * src_stride] for elements of 1, 2, 4 or 8 bytes; src_stride 0 fills.
LM_LOOP(void, copy_elements,
        (int64_t itemsize, int64_t n, const void* src, int64_t src_stride, void* dst, int64_t dst_stride))

// dst[i][j] = src[j][i] for i < rows, j < columns; strides between rows, in elements.
LM_LOOP(void, transpose_tile,
        (int64_t itemsize, int64_t rows, int64_t columns, const void* src, int64_t src_stride, void* dst,
         int64_t dst_stride))

#ifndef LM_ISA
namespace cpu {

void convert(DType from, DType to, int64_t n, const void* src, void* dst);

inline void gather(int64_t itemsize, int64_t n, const void* src, int64_t stride, void* dst) {
  loop::copy_elements(itemsize, n, src, stride, dst, 1);
}
inline void scatter(int64_t itemsize, int64_t n, const void* src, void* dst, int64_t stride) {
  loop::copy_elements(itemsize, n, src, 1, dst, stride);
}

// dst[i * stride] = *value
inline void fill(int64_t itemsize, int64_t n, const void* value, void* dst, int64_t stride = 1) {
  loop::copy_elements(itemsize, n, value, 0, dst, stride);
}

}  // namespace cpu
#endif

}  // namespace lamina
