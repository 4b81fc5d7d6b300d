// Calls of the CUDA runtime, with their errors as exceptions. runtime.cpp fills in the Backend table (core/backend.h)
// with them: devices, memory, the calling thread's streams, captured graphs. The one idea: nothing there touches the
// driver until a CUDA device is asked for, so that a library built with CUDA loads on a machine without a driver. Next:
// launch.h (kernels), caching.h (memory).
#pragma once
#include <cuda_runtime.h>

#include "core/device.h"

namespace lamina::cuda {

[[noreturn]] void throw_error(cudaError_t status, const char* call, const char* file, int line);

#ifndef LM_EMULATE
// `arguments`: the address of each, as the kernel's parameters have them.
void launch_kernel(const void* kernel, dim3 grid, dim3 block, size_t shared_bytes, Stream stream, void** arguments);
#endif

// LM_CUDA_CHECK(cudaMemcpyAsync(...)): a DeviceError with the call, the reason, the file and the line, unless it
// succeeds.
#define LM_CUDA_CHECK(CALL)                                              \
  do {                                                                   \
    if (const cudaError_t lm_status = (CALL); lm_status != cudaSuccess)  \
      ::lamina::cuda::throw_error(lm_status, #CALL, __FILE__, __LINE__); \
  } while (false)

// Makes `device` the calling thread's for a scope: the default stream is that of the thread's device.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device) {
    LM_CUDA_CHECK(cudaGetDevice(&before_));
    if (device != before_) LM_CUDA_CHECK(cudaSetDevice(device));
    changed_ = device != before_;
  }
  ~DeviceGuard() {
    if (changed_) cudaSetDevice(before_);
  }
  DeviceGuard(const DeviceGuard&) = delete;

 private:
  int before_ = 0;
  bool changed_ = false;
};

inline cudaStream_t handle(Stream stream) { return static_cast<cudaStream_t>(stream.handle); }

}  // namespace lamina::cuda
