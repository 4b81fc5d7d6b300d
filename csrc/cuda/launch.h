// The host side of a kernel: how a launcher in csrc/cuda/*.cu chooses by dtype, launches, and gets scratch memory. The
// same launchers run under nvcc and, with -DLM_EMULATE, in the emulator. Next: copy.cu, an example.
#pragma once
#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "core/device.h"
#include "core/dtype.h"
#include "cuda/device.cuh"
#include "cuda/memory.h"

#ifdef LM_EMULATE
#include "cuda/emulate/launch.h"
#else
#include "cuda/runtime.h"
#endif

namespace lamina::cuda {

// kernel<<<grid, block, shared_bytes, stream>>>(args...); nothing if the grid is empty.
template <class... P>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, Stream stream,
            const std::type_identity_t<P>&... args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
#ifdef LM_EMULATE
  emulate::launch(kernel, grid, block, shared_bytes, stream.handle, args...);
#else
  void* arguments[] = {const_cast<void*>(static_cast<const void*>(&args))..., nullptr};
  launch_kernel(reinterpret_cast<const void*>(kernel), grid, block, shared_bytes, stream, arguments);
#endif
}

// How many multiprocessors there are, for grids that stay. The emulator has three.
inline int multiprocessors([[maybe_unused]] Stream stream) {
#ifdef LM_EMULATE
  return 3;
#else
  static int counts[128] = {};  // written more than once with the same value at worst
  int& count = counts[stream.device.index & 127];
  if (count == 0) cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, stream.device.index);
  return std::max(count, 1);
#endif
}

// Blocks for n items, `per_block` each; at most `limit`, beyond which threads take several in a stride of the grid.
inline unsigned blocks_for(int64_t n, int64_t per_block, int64_t limit = INT32_MAX) {
  return unsigned(std::min((n + per_block - 1) / per_block, limit));
}

// The switch over element types with the types of the device: f(float()), f(bf16()), ... as a template lambda
// `[&]<class T>() {...}`.
template <class F>
void dispatch_types(DType dtype, F&& f) {
  lamina::dispatch_all(dtype, [&]<class T>() {
    if constexpr (std::is_same_v<T, lamina::f16>)
      f.template operator()<f16>();
    else if constexpr (std::is_same_v<T, lamina::bf16>)
      f.template operator()<bf16>();
    else
      f.template operator()<T>();
  });
}
// f16, bf16, f32 and f64 only.
template <class F>
void dispatch_floating(DType dtype, const char* op, F&& f) {
  switch (dtype) {
    case DType::F16:
      return f.template operator()<f16>();
    case DType::BF16:
      return f.template operator()<bf16>();
    case DType::F32:
      return f.template operator()<float>();
    case DType::F64:
      return f.template operator()<double>();
    default:
      fail<TypeError>(op, ": not defined for ", dtype, "; need a floating-point tensor");
  }
}
// By size alone, for kernels that only move: f.operator()<uint8_t | uint16_t | uint32_t | uint64_t>().
template <class F>
void dispatch_size(int64_t itemsize, F&& f) {
  switch (itemsize) {
    case 1:
      return f.template operator()<uint8_t>();
    case 2:
      return f.template operator()<uint16_t>();
    case 4:
      return f.template operator()<uint32_t>();
    case 8:
      return f.template operator()<uint64_t>();
    default:
      fail<RuntimeError>("cuda: elements of ", itemsize, " bytes; need 1, 2, 4 or 8");
  }
}

}  // namespace lamina::cuda
