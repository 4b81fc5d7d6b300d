// The loop under cpu/index.cpp that computes. Next: kernels/index.cpp.
#pragma once
#include "core/dtype.h"
#include "kernel/isa.h"

namespace lamina {

// y[i] += x[i] for float32 and float64.
LM_LOOP(void, add_run, (DType dtype, const void* x, void* y, int64_t n))

}  // namespace lamina
