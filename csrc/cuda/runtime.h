// The CUDA runtime as the engine sees it: errors as exceptions, the devices, the calling thread's streams, and the
// Backend table (core/backend.h) filled in. The one idea: nothing here touches the driver until a CUDA device is asked
// for, so that a library built with CUDA loads on a machine without a driver. Next: launch.h (kernels), caching.h
// (memory).
#pragma once
#include <cuda_runtime.h>

#include "core/backend.h"
#include "core/errors.h"

namespace lamina::cuda {

[[noreturn]] void throw_error(cudaError_t status, const char* call, const char* file, int line);

// LM_CUDA_CHECK(cudaMemcpyAsync(...)): a RuntimeError with the call, the reason, the file and the line, unless it
// succeeds.
#define LM_CUDA_CHECK(CALL)                                              \
  do {                                                                   \
    if (const cudaError_t lm_status = (CALL); lm_status != cudaSuccess)  \
      ::lamina::cuda::throw_error(lm_status, #CALL, __FILE__, __LINE__); \
  } while (false)

// Makes `device` the calling thread's for a scope.
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
