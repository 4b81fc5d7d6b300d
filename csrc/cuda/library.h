// What the CUDA library hands to the engine. See Note [The CUDA library] in core/backend.h.
#pragma once
#include "core/backend.h"

extern "C" [[gnu::visibility("default")]] const lamina::CudaLibrary* lamina_cuda_library();

namespace lamina::cuda {
extern const Backend backend_table;  // cuda/runtime.cpp, or the emulator's
}  // namespace lamina::cuda
