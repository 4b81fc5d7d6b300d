// Moving elements: between layouts, between element types, or both. Used by every operator that makes a tensor
// contiguous, broadcasts into memory, joins or casts. Next: cpu/copy.cpp, cuda/copy.cu.
#pragma once
#include <cstdint>

#include "core/dtype.h"
#include "kernel/kernel.h"

namespace lamina {

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

}  // namespace lamina
