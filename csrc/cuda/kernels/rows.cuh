// Rows shared by the threads of a warp or of a block. The one idea: a row that fits is read once into registers
// (RowCache), everything a formula needs is reduced over the group, and the row is written once. Used by softmax.cuh
// and norm.cuh.
#pragma once
#include "cuda/device.cuh"
#include "cuda/kernels/block.cuh"

namespace lamina::cuda {

// kThreads threads to a row. A warp's block holds four rows; larger groups are blocks of their own.
template <int kThreads>
inline constexpr int kRowsPerBlock = kThreads == 32 ? 4 : 1;
template <int kThreads>
inline constexpr int kRowBlock = kThreads * kRowsPerBlock<kThreads>;

// Blocks that a multiprocessor must have room for: few, as a row lives in registers. Without a number ptxas spills to
// make room for more.
template <int kThreads>
inline constexpr int kMinBlocks = kThreads <= 128 ? 2 : 1;

// The row of this thread; whole warps may lie behind the last one.
template <int kThreads>
LM_DEVICE int64_t row_of_thread() {
  return int64_t(blockIdx.x) * kRowsPerBlock<kThreads> + int(threadIdx.x) / kThreads;
}

template <int kThreads, class T, class F>
LM_DEVICE T row_reduce(T value, T identity, F f, Shared<T> scratch) {
  if constexpr (kThreads == 32)
    return warp_reduce(value, f);
  else
    return block_reduce(value, identity, f, scratch);
}

// kPacks packs of V elements per thread. V > 1 needs n to be a multiple of V and the row to be aligned.
template <class T, int V, int kThreads, int kPacks>
struct RowCache {
  Pack<T, V> pack[kPacks];

  LM_DEVICE static int at(int i) { return (i * kThreads + int(threadIdx.x) % kThreads) * V; }

  // Elements behind the end are `fill`.
  LM_DEVICE void load(const T* row, int n, T fill) {
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
      if (at(i) < n) {
        pack[i] = load_pack<V>(row + at(i));
      } else {
#pragma unroll
        for (int v = 0; v < V; ++v) pack[i][v] = fill;
      }
    }
  }
  LM_DEVICE void store(T* row, int n) const {
#pragma unroll
    for (int i = 0; i < kPacks; ++i)
      if (at(i) < n) store_pack(row + at(i), pack[i]);
  }
  // f(i, v) for every element pack[i][v], also those behind the end.
  template <class F>
  LM_DEVICE static void each(F f) {
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
#pragma unroll
      for (int v = 0; v < V; ++v) f(i, v);
    }
  }
};

// Rows of any length: f(pack, index) for every pack of this thread, kBatch loads in flight.
template <int V, int kThreads, int kBatch = 4, class T, class F>
LM_DEVICE void for_packs(const T* row, int64_t n, F f) {
  for (int64_t first = int64_t(int(threadIdx.x) % kThreads) * V; first < n; first += kThreads * V * kBatch) {
    Pack<T, V> pack[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i)
      if (first + i * kThreads * V < n) pack[i] = load_pack<V>(row + first + i * kThreads * V);
#pragma unroll
    for (int i = 0; i < kBatch; ++i)
      if (first + i * kThreads * V < n) f(pack[i], first + i * kThreads * V);
  }
}

// Columns: blocks of 32 x kSlices threads, of which those with one threadIdx.x share a column. The slices of a column
// combined in order, for every thread.
constexpr int kSlices = 8;

template <class T, class F>
LM_DEVICE T slices_reduce(T value, F f, Shared<T> scratch) {
  scratch[int(threadIdx.y * 32 + threadIdx.x)] = value;
  __syncthreads();
  T total = scratch[int(threadIdx.x)];
  for (int slice = 1; slice < kSlices; ++slice) {
    const T other = scratch[int(slice * 32 + threadIdx.x)];
    total = f(total, other);
  }
  return total;
}

}  // namespace lamina::cuda
