// One step over float or double arrays, for cpu/optim.cpp. Next: kernels/optim.cpp.
#pragma once
#include "kernel/optim.h"

namespace lamina {

// data: OptimArray's.
LM_LOOP(void, sgd_step, (DType dtype, const SgdStep& step, int64_t n, void* const* data))
LM_LOOP(void, adam_step, (DType dtype, const AdamStep& step, int64_t n, void* const* data))
LM_LOOP(void, rmsprop_step, (DType dtype, const RmspropStep& step, int64_t n, void* const* data))

}  // namespace lamina
