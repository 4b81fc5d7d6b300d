// What cuda/device.cuh includes when kernels are compiled by the host compiler (-DLM_EMULATE): CUDA's keywords,
// built-in variables and functions. Next: block.h, the machine below.
#pragma once
#include "cuda/emulate/atomics.h"
#include "cuda/emulate/intrinsics.h"
#include "cuda/emulate/shared.h"
#include "cuda/emulate/warp.h"

#define __global__ __attribute__((noinline))
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __shared__ _Pragma("GCC error \"declare shared memory with LM_SHARED or LM_SHARED_DYNAMIC\"")
#define __grid_constant__
#define __align__(n) alignas(n)
#define __builtin_assume(condition)

#define threadIdx (::lamina::emulate::block.current->index)
#define blockIdx (::lamina::emulate::block.index)
#define blockDim (::lamina::emulate::block.dim)
#define gridDim (::lamina::emulate::block.grid)
inline constexpr int warpSize = 32;

#define LM_SHARED(T, NAME, ...)                                                                 \
  static constinit ::lamina::emulate::SharedSite NAME##_declaration{#NAME, __FILE__, __LINE__}; \
  auto NAME = ::lamina::emulate::declare_shared<T __VA_ARGS__>(NAME##_declaration)
#define LM_SHARED_DYNAMIC(T, NAME) auto NAME = ::lamina::emulate::declare_dynamic<T>()

namespace lamina::cuda {

template <class T>
using Shared = emulate::Shared<T>;

// The same bytes as elements of another type.
template <class U, class T>
Shared<U> shared_cast(Shared<T> s) {
  return {reinterpret_cast<U*>(s.p), reinterpret_cast<U*>(s.begin), reinterpret_cast<U*>(s.end)};
}
// `count` elements from s + offset on, with bounds of their own.
template <class T>
Shared<T> shared_slice(Shared<T> s, int offset, int count) {
  if (s.p + offset + count > s.end)
    emulate::fault(str("out of bounds: shared_slice of ", count, " elements at ", offset, " of ", s.end - s.p));
  return {s.p + offset, s.p + offset, s.p + offset + count};
}

}  // namespace lamina::cuda
