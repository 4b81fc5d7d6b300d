// Sums, maxima and the like over a warp or a block, for any associative and commutative f(a, b). The order of the
// combination depends on the number of threads only, so results are the same in every run.
#pragma once
#include "cuda/device.cuh"

namespace lamina::cuda {

// Shuffles of any type whose size is a multiple of 4 bytes, word by word.
template <class T>
LM_DEVICE T shuffle_xor(T value, int lane_mask) {
  static_assert(sizeof(T) % 4 == 0, "shuffle whole words");
  union Words {
    T value;
    unsigned word[sizeof(T) / 4];
    LM_DEVICE Words() {}
  } words;
  words.value = value;
#pragma unroll
  for (int i = 0; i < int(sizeof(T) / 4); ++i) words.word[i] = __shfl_xor_sync(kFullWarp, words.word[i], lane_mask);
  return words.value;
}

// Every lane gets the result. Whole warps only.
template <class T, class F>
LM_DEVICE T warp_reduce(T value, F f) {
#pragma unroll
  for (int lane_mask = 16; lane_mask > 0; lane_mask /= 2) value = f(value, shuffle_xor(value, lane_mask));
  return value;
}

// Every thread of a block of whole warps gets the result; `scratch` has 32 elements. Begins and ends with a barrier
// between its own accesses and any others, so one scratch serves several calls.
template <class T, class F>
LM_DEVICE T block_reduce(T value, T identity, F f, Shared<T> scratch) {
  const int thread = int(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
  const int warps = int(blockDim.x * blockDim.y * blockDim.z) / 32, lane = thread % 32;
  value = warp_reduce(value, f);
  __syncthreads();
  if (lane == 0) scratch[thread / 32] = value;
  __syncthreads();
  T other = identity;
  if (lane < warps) other = scratch[lane];
  return warp_reduce(other, f);
}

struct Add {
  template <class T>
  LM_DEVICE T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {  // NaN wins, as in PyTorch
  template <class T>
  LM_DEVICE T operator()(T a, T b) const {
    return a > b || a != a ? a : b;
  }
};
struct Min {
  template <class T>
  LM_DEVICE T operator()(T a, T b) const {
    return a < b || a != a ? a : b;
  }
};

}  // namespace lamina::cuda
