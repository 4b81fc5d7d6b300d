// Prefixes over a warp or a block, for any associative f(left, right), in order.
#pragma once
#include "cuda/device.cuh"

namespace lamina::cuda {

// The value of the lane `delta` below, word by word; lanes below `delta` get their own.
template <class T>
LM_DEVICE T shuffle_up(T value, int delta) {
  static_assert(sizeof(T) % 4 == 0, "shuffle whole words");
  union Words {
    T value;
    unsigned word[sizeof(T) / 4];
    LM_DEVICE Words() {}
  } words;
  words.value = value;
#pragma unroll
  for (int i = 0; i < int(sizeof(T) / 4); ++i) words.word[i] = __shfl_up_sync(kFullWarp, words.word[i], delta);
  return words.value;
}

// Exclusive: what the threads before this one hold, joined in order; `total` is what all hold. One-dimensional blocks
// of whole warps; `scratch` has 32 elements and serves several calls.
template <class T, class F>
LM_DEVICE T block_scan(T value, T identity, F f, Shared<T> scratch, T& total) {
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32, warps = int(blockDim.x) / 32;
#pragma unroll
  for (int delta = 1; delta < 32; delta *= 2) {
    const T before = shuffle_up(value, delta);
    if (lane >= delta) value = f(before, value);
  }
  __syncthreads();
  if (lane == 31) scratch[warp] = value;
  __syncthreads();
  T start = identity;
  total = identity;
  for (int w = 0; w < warps; ++w) {
    if (w == warp) start = total;
    const T part = scratch[w];
    total = f(total, part);
  }
  const T before = shuffle_up(value, 1);
  return lane == 0 ? start : f(start, before);
}

}  // namespace lamina::cuda
