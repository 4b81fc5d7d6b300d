// Products that tiles do not suit: a few rows times a large matrix, which is read once at full bandwidth, and integers.
// Next: product.cuh.
#pragma once
#include "cuda/kernels/block.cuh"
#include "cuda/kernels/product.cuh"

namespace lamina::cuda {

// Host tables that are too long for the parameters of the kernel that needs them.
struct OffsetTable {
  static constexpr int kCount = 480;
  int64_t offset[kCount];
};
__global__ void __launch_bounds__(256) store_offsets_kernel(OffsetTable table, int count, int64_t* out) {
  for (int i = int(threadIdx.x); i < count; i += int(blockDim.x)) out[i] = table.offset[i];
}

template <class T>
LM_DEVICE Pack<T, kPack<T>> load_wide_or_not(const T* p, int64_t step, int count, bool wide) {
  if (wide && count >= kPack<T>) return load_pack<kPack<T>>(p);
  Pack<T, kPack<T>> pack;
#pragma unroll
  for (int e = 0; e < kPack<T>; ++e) pack[e] = e < count ? p[e * step] : T(0.f);
  return pack;
}

// kM rows of A times B whose columns are contiguous along k: a warp for each column, lanes along k.
template <class T, int kM, class Out>
__global__ void __launch_bounds__(256) dot_kernel(ProductShape shape, Strided<T> a, Strided<T> b, Out out) {
  using Sum = Compute<T>;
  constexpr int V = kPack<T>;
  const unsigned blocks = unsigned(shape.n + 7) / 8, rest = blockIdx.x / blocks;
  const int j = int(blockIdx.x % blocks) * 8 + int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
  const int part = int(rest % unsigned(shape.parts)), batch = int(rest / unsigned(shape.parts));
  const int begin = part * shape.part_depth, end = min(shape.k, begin + shape.part_depth);
  a.select(batch);
  b.select(batch);
  Sum sum[kM] = {};
  if (j < shape.n) {
    const T* column = b.data + j * b.row_step;
    const auto add = [&](int k, const Pack<T, V>& y, const auto& load) {
#pragma unroll
      for (int i = 0; i < kM; ++i) {
        const Pack<T, V> x = load(a.data + min(i, shape.m - 1) * a.row_step + k * a.depth_step);
#pragma unroll
        for (int e = 0; e < V; ++e) sum[i] += Sum(x[e]) * Sum(y[e]);
      }
    };
    const int first = begin + lane * V;
    if (a.wide && b.wide) {
#pragma unroll 4
      for (int k = first; k < end; k += 32 * V)
        add(k, load_pack<V>(column + k), [](const T* from) { return load_pack<V>(from); });
    } else {
#pragma unroll 1
      for (int k = first; k < end; k += 32 * V)
        add(k, load_wide_or_not(column + k * b.depth_step, b.depth_step, end - k, b.wide),
            [&](const T* from) { return load_wide_or_not(from, a.depth_step, end - k, false); });
    }
  }
#pragma unroll
  for (int i = 0; i < kM; ++i) {
    const Sum total[1] = {warp_reduce(sum[i], Add())};
    if (lane == 0 && j < shape.n) out.store(shape, part, batch, i, j, total);
  }
}

// kM rows of A times B whose rows are contiguous along n: 32 packs of columns for each of 8 warps, which share k.
template <class T, int kM, class Out>
__global__ void __launch_bounds__(256) rows_kernel(ProductShape shape, Strided<T> a, Strided<T> b, Out out) {
  using Sum = Compute<T>;
  constexpr int V = kPack<T>, kColumns = 32 * V, kWarps = 8;
  LM_SHARED(Sum, sums, [kWarps][kColumns]);
  const unsigned blocks = unsigned(shape.n + kColumns - 1) / kColumns, rest = blockIdx.x / blocks;
  const int warp = int(threadIdx.x) / 32, own = int(threadIdx.x) % 32 * V;
  const int first = int(blockIdx.x % blocks) * kColumns, j = first + own;
  const int part = int(rest % unsigned(shape.parts)), batch = int(rest / unsigned(shape.parts));
  const int begin = part * shape.part_depth, end = min(shape.k, begin + shape.part_depth);
  a.select(batch);
  b.select(batch);
  Sum sum[kM][V] = {};
  if (j < shape.n) {
#pragma unroll 4
    for (int k = begin + warp; k < end; k += kWarps) {
      const T* from = b.data + j * b.row_step + k * b.depth_step;
      const Pack<T, V> y = load_wide_or_not(from, b.row_step, shape.n - j, b.wide);
#pragma unroll
      for (int i = 0; i < kM; ++i) {
        const Sum x = Sum(a.data[min(i, shape.m - 1) * a.row_step + k * a.depth_step]);
#pragma unroll
        for (int e = 0; e < V; ++e) sum[i][e] += x * Sum(y[e]);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kM; ++i) {
    __syncthreads();
#pragma unroll
    for (int e = 0; e < V; ++e) sums[warp][own + e] = sum[i][e];
    __syncthreads();
    for (int column = int(threadIdx.x); column < kColumns; column += 256) {
      Sum total[1] = {};
#pragma unroll
      for (int w = 0; w < kWarps; ++w) total[0] += sums[w][column];
      if (first + column < shape.n) out.store(shape, part, batch, i, first + column, total);
    }
  }
}

constexpr int kIntTile = 16;

// Integers, with wrap-around: T is unsigned.
template <class T>
__global__ void __launch_bounds__(kIntTile* kIntTile)
    integer_product_kernel(int m, int n, int k, const T* a, int64_t a_row, int64_t a_col, const T* b, int64_t b_row,
                           int64_t b_col, T* c, int64_t c_row) {
  LM_SHARED(T, tile_a, [kIntTile][kIntTile + 1]);
  LM_SHARED(T, tile_b, [kIntTile][kIntTile + 1]);
  const unsigned across = unsigned(n + kIntTile - 1) / kIntTile;
  const int x = int(threadIdx.x), y = int(threadIdx.y);
  const int i = int(blockIdx.x / across) * kIntTile + y, j = int(blockIdx.x % across) * kIntTile + x;
  T sum = 0;
  for (int k0 = 0; k0 < k; k0 += kIntTile) {
    tile_a[y][x] = i < m && k0 + x < k ? a[i * a_row + (k0 + x) * a_col] : T(0);
    tile_b[y][x] = j < n && k0 + y < k ? b[(k0 + y) * b_row + j * b_col] : T(0);
    __syncthreads();
#pragma unroll
    for (int e = 0; e < kIntTile; ++e) {
      const T left = tile_a[y][e], right = tile_b[e][x];
      sum = T(sum + T(uint64_t(left) * uint64_t(right)));
    }
    __syncthreads();
  }
  if (i < m && j < n) c[i * c_row + j] = sum;
}

}  // namespace lamina::cuda
