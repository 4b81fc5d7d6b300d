// The one header of every kernel (csrc/cuda/kernels/*.cuh): CUDA's own under nvcc, the emulator's with -DLM_EMULATE,
// and the few words that both share. Shared memory is declared with LM_SHARED(float, tile, [32][33]) or, sized by the
// launch, LM_SHARED_DYNAMIC(float, tile), and passed to functions as Shared<T>: T* under nvcc, checked in the emulator.
// Next: ptx.cuh (tensor cores, asynchronous copies), README.md (the rules).
#pragma once
#ifdef LM_EMULATE
#include "cuda/emulate/device.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

#define LM_SHARED(T, NAME, ...) __shared__ __align__(16) T NAME __VA_ARGS__
#define LM_SHARED_DYNAMIC(T, NAME)                   \
  extern __shared__ __align__(16) char lm_dynamic[]; \
  T* const NAME = reinterpret_cast<T*>(&lm_dynamic[0])

namespace lamina::cuda {

template <class T>
using Shared = T*;

template <class U, class T>
__device__ __forceinline__ U* shared_cast(T* s) {
  return reinterpret_cast<U*>(s);
}
template <class T>
__device__ __forceinline__ T* shared_slice(T* s, int offset, int) {
  return s + offset;
}

}  // namespace lamina::cuda
#endif

#define LM_DEVICE __device__ __forceinline__

namespace lamina::cuda {

using f16 = __half;
using bf16 = __nv_bfloat16;

// What a kernel computes in: float for f16 and bf16, T itself for the rest. float(x) loads, T(y) stores.
template <class T>
struct ComputeOf {
  using type = T;
};
template <>
struct ComputeOf<f16> {
  using type = float;
};
template <>
struct ComputeOf<bf16> {
  using type = float;
};
template <class T>
using Compute = typename ComputeOf<T>::type;

// N elements that travel in one instruction; the address must be a multiple of sizeof(Pack).
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T value[N];
  LM_DEVICE T& operator[](int i) { return value[i]; }
  LM_DEVICE const T& operator[](int i) const { return value[i]; }
};
template <class T>
inline constexpr int kPack = 16 / sizeof(T);  // elements in 16 bytes

template <int N, class T>
LM_DEVICE Pack<T, N> load_pack(const T* p) {
  return *reinterpret_cast<const Pack<T, N>*>(p);
}
template <int N, class T>
LM_DEVICE void store_pack(T* p, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(p) = pack;
}

inline constexpr unsigned kFullWarp = 0xffffffffu;

}  // namespace lamina::cuda
