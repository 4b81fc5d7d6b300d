// Elements computed from their index (kernel/create.h): bit for bit those of the CPU, so products are rounded before
// sums.
#pragma once
#include "cuda/kernels/layout.cuh"
#include "kernel/range.h"

namespace lamina::cuda {

template <class T>
__global__ void __launch_bounds__(256) fill_range_kernel(const Range range, T* __restrict__ out, int64_t n) {
  const int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x;
  if (i >= n) return;
  if (range.integers)
    out[i] = convert_element<T>(int64_t(uint64_t(range.first) + uint64_t(i) * uint64_t(range.stride)));
  else if (i < range.turn)
    out[i] = convert_element<T>(__dadd_rn(range.start, __dmul_rn(double(i), range.step)));
  else
    out[i] = convert_element<T>(__dadd_rn(range.end, -__dmul_rn(double(n - 1 - i), range.step)));
}

// The row of element i is the last one that has no more than i elements before it.
__global__ void __launch_bounds__(256)
    fill_triangle_kernel(const Triangle triangle, int64_t* __restrict__ out, int64_t n) {
  const int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x;
  if (i >= n) return;
  int64_t row = 0, beyond = triangle.rows;
  while (row + 1 < beyond) {
    const int64_t middle = row + (beyond - row) / 2;
    if (triangle.before<int64_t>(middle) <= i)
      row = middle;
    else
      beyond = middle;
  }
  out[i] = row;
  out[n + i] = triangle.begin(row) + i - triangle.before<int64_t>(row);
}

}  // namespace lamina::cuda
