// Moving elements: between layouts, between element types, or both. Used by every operator that makes a tensor
// contiguous, broadcasts into memory, joins or casts. The one idea: dimensions are sorted by the destination's strides
// and merged, after which a copy is one of three loops: rows, fills, or tiles of a transpose.
#pragma once
#include <cstdint>

#include "core/dtype.h"
#include "cpu/kernel.h"

namespace lamina {

// Contiguous conversion with C++ semantics: float to integer truncates, anything to bool is `!= 0`.
LM_KERNEL(void, convert, (DType from, DType to, int64_t n, const void* src, void* dst))

// dst[i * dst_stride] = src[i * src_stride] for elements of 1, 2, 4 or 8 bytes; src_stride 0 fills.
LM_KERNEL(void, copy_elements,
          (int64_t itemsize, int64_t n, const void* src, int64_t src_stride, void* dst, int64_t dst_stride))

// dst[i][j] = src[j][i] for i < rows, j < columns; strides between rows, in elements.
LM_KERNEL(void, transpose_tile,
          (int64_t itemsize, int64_t rows, int64_t columns, const void* src, int64_t src_stride, void* dst,
           int64_t dst_stride))

#ifndef LM_ISA
namespace cpu {

void convert(DType from, DType to, int64_t n, const void* src, void* dst);

inline void gather(int64_t itemsize, int64_t n, const void* src, int64_t stride, void* dst) {
  kernel::copy_elements(Stream{}, itemsize, n, src, stride, dst, 1);
}
inline void scatter(int64_t itemsize, int64_t n, const void* src, void* dst, int64_t stride) {
  kernel::copy_elements(Stream{}, itemsize, n, src, 1, dst, stride);
}

// dst[i * stride] = *value
inline void fill(int64_t itemsize, int64_t n, const void* value, void* dst, int64_t stride = 1) {
  kernel::copy_elements(Stream{}, itemsize, n, value, 0, dst, stride);
}

}  // namespace cpu

// dst[i...] = src[i...] over `sizes`; strides in elements, 0 in `src_strides` repeats. The two may not overlap.
LM_JOB(void, copy_strided,
       (int ndim, const int64_t* sizes, void* dst, const int64_t* dst_strides, DType dst_dtype, const void* src,
        const int64_t* src_strides, DType src_dtype))
// dst[i...] = *value, which is an element of `dtype` in host memory.
LM_JOB(void, fill_strided,
       (int ndim, const int64_t* sizes, void* dst, const int64_t* dst_strides, DType dtype, const void* value))
// dst[i...] += src[i...] one element after the other, so that elements of dst may be reached more than once. dtype is
// F32 or F64.
LM_JOB(void, add_strided,
       (DType dtype, int ndim, const int64_t* sizes, void* dst, const int64_t* dst_strides, const void* src,
        const int64_t* src_strides))
// `count` rows of n elements, contiguous; row r keeps the columns c with c - r % rows >= diagonal (upper) or <=
// diagonal, and is zero elsewhere.
LM_JOB(void, copy_bands,
       (int64_t itemsize, int64_t count, int64_t rows, int64_t n, const void* src, void* dst, bool upper,
        int64_t diagonal))
#endif

}  // namespace lamina
