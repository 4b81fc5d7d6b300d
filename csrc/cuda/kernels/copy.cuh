// Copies that the elementwise kernel does not make: transposes, sums into views, bands of matrices.
#pragma once
#include "cuda/kernels/layout.cuh"

namespace lamina::cuda {

constexpr int kTile = 32, kTileRows = 8;

// dst[i][j] = src[j][i] for i < rows, j < columns, for every unit of `matrices`, whose operands are dst and src.
struct Transposition {
  Layout<2> matrices;
  int rows, columns, dst_stride, src_stride;
  Divider row_tiles, column_tiles;
};

// A tile is read along the rows of src and written along those of dst, so both are coalesced; the extra column keeps a
// column of the tile in 32 different banks. Four elements of a thread are in flight.
template <class T, Types kIn>
__global__ void __launch_bounds__(kTile* kTileRows) transpose_kernel(const __grid_constant__ Transposition p) {
  LM_SHARED(T, tile, [kTile][kTile + 1]);
  constexpr int kUnits = kTile / kTileRows;
  const uint32_t above = p.row_tiles.divide(blockIdx.x), matrix = p.column_tiles.divide(above);
  const int i0 = int(blockIdx.x - above * p.row_tiles.divisor) * kTile,
            j0 = int(above - matrix * p.column_tiles.divisor) * kTile;
  int base[2][1];
  find_offsets(p.matrices, int(matrix), 0, base);
  const int x = threadIdx.x, y = threadIdx.y;
  int offset[kUnits];
  bool exists[kUnits];
  T v[kUnits][1];
#pragma unroll
  for (int u = 0; u < kUnits; ++u) {
    const int j = j0 + y + u * kTileRows;
    offset[u] = base[1][0] + j * p.src_stride + i0 + x;
    exists[u] = j < p.columns && i0 + x < p.rows;
  }
  load_units<kIn>(p.matrices.operand[1], offset, exists, v);
#pragma unroll
  for (int u = 0; u < kUnits; ++u) tile[y + u * kTileRows][x] = v[u][0];
  __syncthreads();
#pragma unroll
  for (int u = 0; u < kUnits; ++u) {
    const int i = i0 + y + u * kTileRows;
    v[u][0] = tile[x][y + u * kTileRows];
    offset[u] = base[0][0] + i * p.dst_stride + j0 + x;
    exists[u] = i < p.rows && j0 + x < p.columns;
  }
  store_units(p.matrices.operand[0], offset, exists, v);
}

// dst[k] += the sum of src over `folded` for every unit k of `kept`, whose elements of dst are all different.
template <class T>
__global__ void __launch_bounds__(256)
    add_strided_kernel(const __grid_constant__ Layout<2> kept, const __grid_constant__ Layout<2> folded) {
  const int unit = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (unit >= kept.units) return;
  int at[2][1], step[2][1];
  find_offsets(kept, unit, 0, at);
  T* dst = static_cast<T*>(const_cast<void*>(kept.operand[0].data)) + at[0][0];
  const T* src = static_cast<const T*>(kept.operand[1].data) + at[1][0];
  T sum = *dst;
  for (int k = 0; k < folded.units; ++k) {
    find_offsets(folded, k, 0, step);
    sum += src[step[1][0]];
  }
  *dst = sum;
}

// `total` elements of rows of n; row r keeps the columns c with c - r % rows >= diagonal (upper) or <= diagonal.
template <class T>
__global__ void __launch_bounds__(256)
    copy_bands_kernel(int total, Divider n, Divider rows, int first_row, const T* __restrict__ src, T* __restrict__ dst,
                      bool upper, int64_t diagonal) {
  constexpr int kUnits = 4;
  const int first = int(blockIdx.x * (blockDim.x * kUnits) + threadIdx.x);
  T v[kUnits];
#pragma unroll
  for (int u = 0; u < kUnits; ++u) {
    const int i = first + u * int(blockDim.x);
    const uint32_t row = n.divide(uint32_t(i)), r = row + first_row;
    const int64_t across = int64_t(i - int(row * n.divisor)) - int64_t(r - rows.divide(r) * rows.divisor);
    v[u] = i < total && (upper ? across >= diagonal : across <= diagonal) ? src[i] : T(0);
  }
#pragma unroll
  for (int u = 0; u < kUnits; ++u)
    if (first + u * int(blockDim.x) < total) dst[first + u * int(blockDim.x)] = v[u];
}

}  // namespace lamina::cuda
