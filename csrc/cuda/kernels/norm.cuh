// layer_norm and rms_norm over rows. Statistics in two passes over the registers that hold the row (mean, then squared
// distances from it). Backward reads x and the gradient once: a group of threads takes several rows and keeps the sums
// for weight and bias in registers, as every thread always has the same columns; a second kernel adds up the groups.
#pragma once
#include "cuda/kernels/rows.cuh"
#include "math/functions.h"

namespace lamina::cuda {

template <class T>
struct NormCall {
  int64_t rows, n;
  const T *x, *weight, *bias;  // weight, bias: n numbers or null
  T *mean, *rstd;              // mean: null for rms_norm
  T eps;
};

template <int V, class T>
LM_DEVICE Pack<T, V> pack_or(const T* p, int64_t at, T otherwise) {
  if (p) return load_pack<V>(p + at);
  Pack<T, V> pack;
#pragma unroll
  for (int v = 0; v < V; ++v) pack[v] = otherwise;
  return pack;
}

template <class T>
LM_DEVICE void store_statistics(const NormCall<T>& op, int64_t row, T mean, T rstd, bool writes) {
  if (!writes) return;
  if (op.mean) op.mean[row] = mean;
  op.rstd[row] = rstd;
}

template <class T, int V, int kThreads, int kPacks>
__global__ void __launch_bounds__(kRowBlock<kThreads>, kMinBlocks<kThreads>)
    norm_row_kernel(const NormCall<T> op, T* __restrict__ y) {
  LM_SHARED(T, scratch, [32]);
  using Cache = RowCache<T, V, kThreads, kPacks>;
  const int64_t row = row_of_thread<kThreads>();
  if (row >= op.rows) return;
  const int n = int(op.n);
  Cache x;
  x.load(op.x + row * n, n, T(0));
  T mean = T(0), scatter = T(0);
  if (op.mean) {
    Cache::each([&](int i, int v) { mean += x.pack[i][v]; });
    mean = row_reduce<kThreads>(mean, T(0), Add(), scratch) / T(n);
  }
  Cache::each([&](int i, int v) {
    x.pack[i][v] -= mean;
    if (Cache::at(i) < n) scatter += x.pack[i][v] * x.pack[i][v];
  });
  scatter = row_reduce<kThreads>(scatter, T(0), Add(), scratch);
  const T rstd = math::rsqrt(scatter / T(n) + op.eps);
  store_statistics(op, row, mean, rstd, int(threadIdx.x) % kThreads == 0);
#pragma unroll
  for (int i = 0; i < kPacks; ++i) {
    const int at = Cache::at(i);
    if (at >= n) continue;
    const Pack<T, V> w = pack_or<V>(op.weight, at, T(1)), b = pack_or<V>(op.bias, at, T(0));
#pragma unroll
    for (int v = 0; v < V; ++v) x.pack[i][v] = x.pack[i][v] * rstd * w[v] + b[v];
    store_pack(y + row * n + at, x.pack[i]);
  }
}

// A row beyond the registers of a block: read three times.
template <class T, int V, int kThreads>
__global__ void __launch_bounds__(kThreads, 1) norm_long_kernel(const NormCall<T> op, T* __restrict__ y) {
  LM_SHARED(T, scratch, [32]);
  const int64_t row = blockIdx.x, n = op.n;
  const T* x = op.x + row * n;
  T mean = T(0), scatter = T(0);
  if (op.mean) {
    for_packs<V, kThreads>(x, n, [&](const Pack<T, V>& p, int64_t) {
#pragma unroll
      for (int v = 0; v < V; ++v) mean += p[v];
    });
    mean = block_reduce(mean, T(0), Add(), scratch) / T(n);
  }
  for_packs<V, kThreads>(x, n, [&](const Pack<T, V>& p, int64_t) {
#pragma unroll
    for (int v = 0; v < V; ++v) scatter += (p[v] - mean) * (p[v] - mean);
  });
  scatter = block_reduce(scatter, T(0), Add(), scratch);
  const T rstd = math::rsqrt(scatter / T(n) + op.eps);
  store_statistics(op, row, mean, rstd, threadIdx.x == 0);
  for_packs<V, kThreads>(x, n, [&](Pack<T, V> p, int64_t at) {
    const Pack<T, V> w = pack_or<V>(op.weight, at, T(1)), b = pack_or<V>(op.bias, at, T(0));
#pragma unroll
    for (int v = 0; v < V; ++v) p[v] = (p[v] - mean) * rstd * w[v] + b[v];
    store_pack(y + row * n + at, p);
  });
}

// What the gradient of a row needs, as sums over it: u and u (x - mean), u = g w.
template <class T>
struct NormSums {
  T u, ux;
  LM_DEVICE friend NormSums operator+(const NormSums& a, const NormSums& b) { return {a.u + b.u, a.ux + b.ux}; }
};
// Those sums as means; h = (x - mean) rstd.
template <class T>
struct NormRow {
  T mean, rstd, mean_u, mean_uh;
  LM_DEVICE NormRow(const NormCall<T>& op, int64_t row)
      : mean(op.mean ? op.mean[row] : T(0)), rstd(op.rstd[row]), mean_u(0), mean_uh(0) {}
  LM_DEVICE void finish(const NormSums<T>& s, const NormCall<T>& op) {
    mean_u = op.mean ? s.u / T(op.n) : T(0);
    mean_uh = rstd * (s.ux / T(op.n));
  }
  // grad_x = rstd (u - mean(u) - h mean(u h))
  LM_DEVICE T gradient(T u, T h) const { return (u - mean_u - h * mean_uh) * rstd; }
};

// Where sums for weight and bias are left: (2, groups, n). grad_x may be null.
template <class T>
struct NormGrad {
  const T* g;
  T *grad_x, *parts;
};

// Rows blockIdx.x, + gridDim.x, ... of the blocks' rows. kParameters: with the sums for weight and bias.
template <class T, int V, int kThreads, int kPacks, bool kParameters>
__global__ void __launch_bounds__(kRowBlock<kThreads>, kMinBlocks<kThreads>)
    norm_grad_row_kernel(const NormCall<T> op, const NormGrad<T> grad) {
  LM_SHARED(NormSums<T>, scratch, [32]);
  using Cache = RowCache<T, V, kThreads, kPacks>;
  const int n = int(op.n);
  [[maybe_unused]] Cache part_w, part_b;
  if constexpr (kParameters) Cache::each([&](int i, int v) { part_w.pack[i][v] = part_b.pack[i][v] = T(0); });
  for (int64_t row = row_of_thread<kThreads>(); row < op.rows; row += int64_t(gridDim.x) * kRowsPerBlock<kThreads>) {
    Cache x, g;
    x.load(op.x + row * n, n, T(0));
    g.load(grad.g + row * n, n, T(0));
    NormRow<T> at_row(op, row);
    NormSums<T> sums{T(0), T(0)};
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
      if (Cache::at(i) >= n) continue;
      const Pack<T, V> w = pack_or<V>(op.weight, Cache::at(i), T(1));
#pragma unroll
      for (int v = 0; v < V; ++v) {
        const T d = x.pack[i][v] - at_row.mean, u = g.pack[i][v] * w[v];
        sums.u += u;
        sums.ux += u * d;
        x.pack[i][v] = d * at_row.rstd;
      }
    }
    at_row.finish(row_reduce<kThreads>(sums, NormSums<T>{T(0), T(0)}, Add(), scratch), op);
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
      if (Cache::at(i) >= n) continue;
      const Pack<T, V> w = pack_or<V>(op.weight, Cache::at(i), T(1));
#pragma unroll
      for (int v = 0; v < V; ++v) {
        const T h = x.pack[i][v];
        if constexpr (kParameters) {
          part_w.pack[i][v] += g.pack[i][v] * h;
          part_b.pack[i][v] += g.pack[i][v];
        }
        g.pack[i][v] = at_row.gradient(g.pack[i][v] * w[v], h);
      }
      if (grad.grad_x) store_pack(grad.grad_x + row * n + Cache::at(i), g.pack[i]);
    }
  }
  if constexpr (kParameters) {
    if constexpr (kRowsPerBlock<kThreads> > 1) {
      // The warps of a block one after the other, so that the block leaves one row of sums and not four.
      LM_SHARED(T, total, [2][kThreads * V * kPacks]);
      const int warp = int(threadIdx.x) / kThreads;
      for (int turn = 0; turn < kRowsPerBlock<kThreads>; ++turn) {
        if (warp == turn) {
          Cache::each([&](int i, int v) {
            const int at = Cache::at(i) + v;
            if (turn > 0) part_w.pack[i][v] += T(total[0][at]), part_b.pack[i][v] += T(total[1][at]);
            total[0][at] = part_w.pack[i][v];
            total[1][at] = part_b.pack[i][v];
          });
        }
        __syncthreads();
      }
      if (warp != kRowsPerBlock<kThreads> - 1) return;
    }
    T* parts = grad.parts + blockIdx.x * op.n;
    part_w.store(parts, n);
    part_b.store(parts + gridDim.x * op.n, n);
  }
}

template <class T, int V, int kThreads>
__global__ void __launch_bounds__(kThreads, 1) norm_grad_long_kernel(const NormCall<T> op, const NormGrad<T> grad) {
  LM_SHARED(NormSums<T>, scratch, [32]);
  const int64_t row = blockIdx.x, n = op.n;
  const T *x = op.x + row * n, *g = grad.g + row * n;
  NormRow<T> at_row(op, row);
  NormSums<T> sums{T(0), T(0)};
  for_packs<V, kThreads>(x, n, [&](const Pack<T, V>& p, int64_t at) {
    const Pack<T, V> q = load_pack<V>(g + at), w = pack_or<V>(op.weight, at, T(1));
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const T u = q[v] * w[v];
      sums.u += u;
      sums.ux += u * (p[v] - at_row.mean);
    }
  });
  at_row.finish(block_reduce(sums, NormSums<T>{T(0), T(0)}, Add(), scratch), op);
  for_packs<V, kThreads>(x, n, [&](Pack<T, V> p, int64_t at) {
    const Pack<T, V> q = load_pack<V>(g + at), w = pack_or<V>(op.weight, at, T(1));
#pragma unroll
    for (int v = 0; v < V; ++v) p[v] = at_row.gradient(q[v] * w[v], (p[v] - at_row.mean) * at_row.rstd);
    store_pack(grad.grad_x + row * n + at, p);
  });
}

// The sums for weight and bias of rows too long for registers: 32 columns and a share of the rows per block.
template <class T>
__global__ void __launch_bounds__(32 * kSlices, 2)
    norm_parameter_sums_kernel(const NormCall<T> op, const NormGrad<T> grad, int64_t rows_per_part) {
  LM_SHARED(NormSums<T>, scratch, [32 * kSlices]);
  const int64_t column = int64_t(blockIdx.x) * 32 + threadIdx.x;
  const int64_t first = blockIdx.y * rows_per_part,
                last = first + rows_per_part < op.rows ? first + rows_per_part : op.rows;
  NormSums<T> sums{T(0), T(0)};  // of g, and of g h
  if (column < op.n) {
#pragma unroll 4
    for (int64_t row = first + threadIdx.y; row < last; row += kSlices) {
      const T g = grad.g[row * op.n + column], mean = op.mean ? op.mean[row] : T(0);
      sums = sums + NormSums<T>{g, g * ((op.x[row * op.n + column] - mean) * op.rstd[row])};
    }
  }
  sums = slices_reduce(sums, Add(), scratch);
  if (threadIdx.y != 0 || column >= op.n) return;
  T* parts = grad.parts + blockIdx.y * op.n + column;
  parts[0] = sums.ux;
  parts[gridDim.y * op.n] = sums.u;
}

// out[blockIdx.y] (n,) = sum of parts[blockIdx.y] (count, n) over its rows; either may be null.
template <class T>
__global__ void __launch_bounds__(32 * kSlices, 2)
    norm_parameter_totals_kernel(const T* __restrict__ parts, int64_t count, int64_t n, T* out_w, T* out_b) {
  LM_SHARED(double, scratch, [32 * kSlices]);
  T* out = blockIdx.y == 0 ? out_w : out_b;
  if (!out) return;
  const int64_t column = int64_t(blockIdx.x) * 32 + threadIdx.x;
  double sum = 0;
  if (column < n) {
#pragma unroll 4
    for (int64_t part = threadIdx.y; part < count; part += kSlices)
      sum += double(parts[(blockIdx.y * count + part) * n + column]);
  }
  sum = slices_reduce(sum, Add(), scratch);
  if (threadIdx.y == 0 && column < n) out[column] = T(sum);
}

}  // namespace lamina::cuda
