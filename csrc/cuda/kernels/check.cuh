// Indices and values looked at by the device (kernel/check.h), one by each thread.
#pragma once
#include "cuda/kernels/report.cuh"

namespace lamina::cuda {

__global__ void __launch_bounds__(256) check_index_kernel(const int64_t* index, int64_t* out, int64_t n, int64_t low,
                                                          int64_t size, const __grid_constant__ Reporter report) {
  const int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x;
  if (i >= n) return;
  const int64_t v = index[i];
  const bool bad = uint64_t(v) - uint64_t(low) >= uint64_t(size) - uint64_t(low);
  out[i] = bad ? 0 : v < 0 ? v + size : v;
  if (bad) report(v);
}

template <class T>
__global__ void __launch_bounds__(256) check_values_kernel(const T* __restrict__ x, int64_t n, double low, double high,
                                                           bool allow_nan, const __grid_constant__ Reporter report) {
  const int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x;
  if (i >= n) return;
  const double v = double(x[i]);
  if (v < low || v > high || (v != v && !allow_nan)) report(x[i]);
}

}  // namespace lamina::cuda
