// Moving elements. Elements of 1, 2, 4 or 8 bytes are moved as unsigned integers of that size.
#pragma once
#include "cuda/device.cuh"

namespace lamina::cuda {

// dst[i * dst_stride] = src[i * src_stride] for i < n; a stride of the whole grid per round.
template <class T>
__global__ void __launch_bounds__(256) copy_elements_kernel(int64_t n, const T* __restrict__ src, int64_t src_stride,
                                                            T* __restrict__ dst, int64_t dst_stride) {
  const int64_t step = int64_t(gridDim.x) * blockDim.x;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step)
    dst[i * dst_stride] = src[i * src_stride];
}

constexpr int kTile = 32, kTileRows = 8;

// dst[i][j] = src[j][i] for i < rows, j < columns. A tile is read along the rows of src and written along those of
// dst, so both are coalesced; the extra column keeps a column of the tile in 32 different banks.
template <class T>
__global__ void __launch_bounds__(kTile* kTileRows)
    transpose_kernel(int64_t rows, int64_t columns, const T* __restrict__ src, int64_t src_stride, T* __restrict__ dst,
                     int64_t dst_stride) {
  LM_SHARED(T, tile, [kTile][kTile + 1]);
  const int64_t i0 = int64_t(blockIdx.x) * kTile, j0 = int64_t(blockIdx.y) * kTile;
  const int x = threadIdx.x;
  for (int y = threadIdx.y; y < kTile; y += kTileRows)
    if (i0 + x < rows && j0 + y < columns) tile[y][x] = src[(j0 + y) * src_stride + i0 + x];
  __syncthreads();
  for (int y = threadIdx.y; y < kTile; y += kTileRows)
    if (i0 + y < rows && j0 + x < columns) dst[(i0 + y) * dst_stride + j0 + x] = tile[x][y];
}

}  // namespace lamina::cuda
