// How the elements of one array of gradients change, for cpu/clip.cpp. F32 and F64 only. Next: kernels/clip.cpp.
#pragma once
#include <cstdint>

#include "core/dtype.h"
#include "kernel/isa.h"

namespace lamina {

LM_LOOP(void, scale_array, (DType dtype, double factor, int64_t n, void* x))
LM_LOOP(void, clamp_array, (DType dtype, double low, double high, int64_t n, void* x))

}  // namespace lamina
