// Moving elements by computed positions (kernel/index.h). The one idea: what meets at one place is joined by one thread
// in the order of the index; with many places to an index every place walks it, else the index is sorted first and the
// thread at the head of each run walks the run. Next: index.cu.
#pragma once
#include "cuda/kernels/block.cuh"
#include "cuda/kernels/nest.cuh"
#include "cuda/kernels/sort_items.cuh"

namespace lamina::cuda {

// cpu::take. A thread moves one T: an element or, where everything fits, several at once.
template <class T>
__global__ void __launch_bounds__(256)
    take_kernel(const T* __restrict__ x, T* __restrict__ out, const int64_t* __restrict__ offsets, int64_t count,
                int64_t scale, const Loops outer, const Loops inner) {
  const int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x;
  if (i >= outer.total * count * inner.total) return;
  int64_t at, k;
  const int64_t row = divide(i, inner.total, at), o = divide(row, count, k);
  out[i] = x[offset_of(outer, o) + offsets[k] * scale + offset_of(inner, at)];
}

// cpu::gather.
template <class T>
__global__ void __launch_bounds__(256)
    gather_kernel(const T* __restrict__ x, T* __restrict__ out, const int64_t* __restrict__ index, int64_t count,
                  int64_t step, const Loops outer, const Loops inner) {
  const int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x;
  if (i >= outer.total * count * inner.total) return;
  int64_t at, k;
  const int64_t row = divide(i, inner.total, at), o = divide(row, count, k);
  out[i] = x[offset_of(outer, o) + index[i] * step + offset_of(inner, at)];
}

// PutMode (kernel/index.h).
enum JoinMode { kAssign, kAdd, kMultiply, kMinimum, kMaximum };
template <class T>
LM_DEVICE T joined(int mode, T to, T value) {
  using C = Compute<T>;
  const C a = C(to), b = C(value);
  if (mode == kAssign) return value;
  if (mode == kAdd) return T(C(a + b));
  if (mode == kMultiply) return T(C(a * b));
  if (mode == kMinimum) return b < a || b != b ? value : to;
  return b > a || b != b ? value : to;
}

// The items of a sorted index (or, where that is null, one offset): element `inner` of slice s of `outer` is joined by
// the head of its run, the slices at `skip` by nobody. Of assignments only the last counts.
template <class T>
__global__ void __launch_bounds__(256)
    put_kernel(T* __restrict__ x, const T* __restrict__ values, const BroadItem* __restrict__ items,
               const int64_t* __restrict__ offset, int64_t count, int64_t scale, bool one_value, int mode, int64_t skip,
               const Loops outer, const Loops inner) {
  const int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x;
  if (i >= outer.total * count * inner.total) return;
  int64_t at, s;
  const int64_t row = divide(i, inner.total, at), o = divide(row, count, s);
  const auto place = [&](int64_t k) { return items ? int64_t(items[k].key() ^ kSignBit) : offset[0]; };
  const int64_t here = place(s);
  const int64_t neighbour = mode == kAssign ? s + 1 : s - 1;
  if (here == skip || (neighbour >= 0 && neighbour < count && place(neighbour) == here)) return;
  T& to = x[offset_of(outer, o) + here * scale + offset_of(inner, at)];
  T sum = to;
  do {
    const int64_t k = items ? items[s].at() : 0;
    sum = joined(mode, sum, values[one_value ? 0 : (o * count + k) * inner.total + at]);
  } while (++s < count && place(s) == here);
  to = sum;
}

// cpu::scatter where there are many lines or a line has few elements: one thread walks a line.
template <class T>
__global__ void __launch_bounds__(256)
    scatter_lines_kernel(T* __restrict__ x, const T* __restrict__ values, const int64_t* __restrict__ index,
                         int64_t count, int64_t step, bool one_value, int mode, const Loops outer, const Loops inner) {
  const int64_t line = int64_t(blockIdx.x) * 256 + threadIdx.x;
  if (line >= outer.total * inner.total) return;
  int64_t at;
  const int64_t o = divide(line, inner.total, at);
  T* base = x + offset_of(outer, o) + offset_of(inner, at);
  for (int64_t k = 0; k < count; ++k) {
    const int64_t i = (o * count + k) * inner.total + at;
    T& to = base[index[i] * step];
    to = joined(mode, to, values[one_value ? 0 : i]);
  }
}
// Otherwise the places are sorted: where each value goes.
__global__ void __launch_bounds__(256)
    scatter_places_kernel(const int64_t* __restrict__ index, int64_t* __restrict__ places, int64_t count, int64_t step,
                          const Loops outer, const Loops inner) {
  const int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x;
  if (i >= outer.total * count * inner.total) return;
  int64_t at, k;
  const int64_t row = divide(i, inner.total, at), o = divide(row, count, k);
  places[i] = offset_of(outer, o) + index[i] * step + offset_of(inner, at);
}

__global__ void __launch_bounds__(256) find_offsets_kernel(const Loops loops, const int64_t* __restrict__ positions,
                                                           int64_t n, int64_t* __restrict__ offsets) {
  const int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x;
  if (i < n) offsets[i] = offset_of(loops, positions[i]);
}

struct Sizes {
  int n;
  int64_t size[16];
};
__global__ void __launch_bounds__(256)
    unravel_kernel(const int64_t* __restrict__ positions, int64_t n, const Sizes sizes, int64_t* __restrict__ out,
                   int64_t row_step, int64_t dim_step) {
  const int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x;
  if (i >= n) return;
  int64_t at = positions[i];
  for (int d = sizes.n - 1; d >= 0; --d) {
    int64_t rest;
    at = divide(at, sizes.size[d], rest);
    out[i * row_step + d * dim_step] = rest;
  }
}

template <class T>
__global__ void __launch_bounds__(256) fill_zero_kernel(T* out, int64_t n) {
  const int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x;
  if (i < n) out[i] = T(0);
}

}  // namespace lamina::cuda
