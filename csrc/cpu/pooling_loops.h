// Pieces of a pool for one thread, under cpu/pooling.cpp. Next: kernels/pooling.cpp.
#pragma once
#include "kernel/pooling.h"

namespace lamina {

// Rows [first, last) of y. `index`, if wanted, is the position of the maximum among the pixels of its image.
LM_LOOP(void, max_pool_forward,
        (DType dtype, const PoolBoxes& boxes, int64_t first, int64_t last, const void* x, void* y, int64_t* index))
LM_LOOP(void, avg_pool_forward,
        (DType dtype, const PoolBoxes& boxes, int64_t first, int64_t last, const void* x, void* y))
// Channels [first, last) of image `n`; they are cleared first, as boxes overlap.
LM_LOOP(void, max_pool_backward,
        (DType dtype, const PoolBoxes& boxes, int64_t n, int64_t first, int64_t last, const void* grad,
         const int64_t* index, void* grad_x))
LM_LOOP(void, avg_pool_backward,
        (DType dtype, const PoolBoxes& boxes, int64_t n, int64_t first, int64_t last, const void* grad, void* grad_x))
// y = the elements of x at `index`: the adjoint of max_pool_backward. Image `n`.
LM_LOOP(void, max_pool_gather,
        (DType dtype, const PoolBoxes& boxes, int64_t n, const void* x, const int64_t* index, void* y))

}  // namespace lamina
