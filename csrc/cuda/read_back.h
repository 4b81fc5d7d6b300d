// A value of the device for the host: the one thing in a launcher that waits for the stream. Only where the caller
// cannot go on without the value: to throw at a bad index, to size a tensor.
#pragma once
#include "cuda/launch.h"
#include "cuda/library.h"

namespace lamina::cuda {

inline void read_back([[maybe_unused]] Stream stream, void* to, const void* from, size_t bytes) {
#ifdef LM_EMULATE
  const emulate::MemoryAccess access;
  std::memcpy(to, from, bytes);
#else
  backend_table.copy(stream, to, from, bytes, CopyKind::DeviceToHost);
#endif
}

}  // namespace lamina::cuda
