// What launchers ask of the runtime (runtime.cpp): scratch memory, and a value of the device.
#pragma once
#include <cstddef>

#include "core/device.h"

namespace lamina::cuda {

void* allocate_workspace(Stream stream, size_t bytes);
void free_workspace(Stream stream, void* data) noexcept;
// Waits for the stream, as nothing else in a launcher does: only where the host cannot go on without the value.
void read_back(Stream stream, void* to, const void* from, size_t bytes);

}  // namespace lamina::cuda
