// Pools of channels-last memory: a thread has V channels of one pixel, so neighbours read neighbouring memory. Boxes
// are computed where they are needed (PoolRule). Gradients are gathered, not scattered: a thread looks at the outputs
// whose boxes hold its pixel, in order, which needs no atomics and gives the same sum in every run.
#pragma once
#include "cuda/device.cuh"
#include "kernel/pooling.h"
#include "math/functions.h"

namespace lamina::cuda {

// Three such blocks a multiprocessor at least; without that number ptxas spills to make room for more.
constexpr int kPoolThreads = 256;

struct PoolShape {
  int64_t n;
  int packs;  // of V channels; an image has fewer than 2^31 of them
  PoolRuleOf<int> axis[3];
};

// Which pixel (of i0 x i1 x i2) of which image, and which channels, a thread has.
template <int V>
struct PoolPlace {
  int64_t image, pixel, channel;  // pixel: counted over all images
  int at[3];
  bool exists;

  LM_DEVICE PoolPlace(const PoolShape& s, int i0, int i1, int i2) {
    const int i = int(blockIdx.x) * kPoolThreads + int(threadIdx.x);
    int rest = i / s.packs;
    image = int64_t(blockIdx.z) * gridDim.y + blockIdx.y;
    pixel = image * i0 * i1 * i2 + rest;
    channel = int64_t(i - rest * s.packs) * V;
    at[2] = rest % i2, rest /= i2;
    at[1] = rest % i1;
    at[0] = rest / i1;
    exists = image < s.n && at[0] < i0;
  }
};
template <int V>
LM_DEVICE PoolPlace<V> output_place(const PoolShape& s) {
  return {s, s.axis[0].out, s.axis[1].out, s.axis[2].out};
}
template <int V>
LM_DEVICE PoolPlace<V> input_place(const PoolShape& s) {
  return {s, s.axis[0].in, s.axis[1].in, s.axis[2].in};
}

// f(pixel of the image, in row-major order) for a box.
template <class F>
LM_DEVICE void for_box(const PoolShape& s, const PoolBoxOf<int> (&box)[3], F f) {
  for (int i = box[0].begin; i < box[0].end; i += s.axis[0].step)
    for (int j = box[1].begin; j < box[1].end; j += s.axis[1].step)
#pragma unroll 4
      for (int k = box[2].begin; k < box[2].end; k += s.axis[2].step) f((i * s.axis[1].in + j) * s.axis[2].in + k);
}

// 1 / x by Newton's method: the division of double precision is a call, for which a loop would put its registers aside.
template <class T>
LM_DEVICE T reciprocal(double x) {
  double y = double(__fdividef(1.f, float(x)));
  y = y * (2 - x * y);
  y = y * (2 - x * y);
  return T(y);
}

struct PoolRange {
  int first, last;
};
// The outputs of one axis whose boxes may hold input i; `holds` decides.
LM_DEVICE PoolRange outputs_of(const PoolRuleOf<int>& r, int i) {
  if (r.adaptive) return {i * r.out / r.in, ((i + 1) * r.out + r.in - 1) / r.in - 1};
  const int reach = r.step * (r.kernel - 1), from = i + r.padding - reach;
  const int first = from <= 0 ? 0 : (from + r.stride - 1) / r.stride, last = (i + r.padding) / r.stride;
  return {first, last < r.out ? last : r.out - 1};
}
LM_DEVICE bool holds(const PoolBoxOf<int>& box, const PoolRuleOf<int>& r, int i) {
  return i >= box.begin && i < box.end && (i - box.begin) % r.step == 0;
}

// f(output pixel of the image, scale of an average) for the outputs over input `at`, in order.
template <class F>
LM_DEVICE void for_outputs(const PoolShape& s, const int (&at)[3], F f) {
  const PoolRange range[3] = {outputs_of(s.axis[0], at[0]), outputs_of(s.axis[1], at[1]), outputs_of(s.axis[2], at[2])};
  for (int a = range[0].first; a <= range[0].last; ++a) {
    const PoolBoxOf<int> box_a = pool_box(s.axis[0], a);
    if (!holds(box_a, s.axis[0], at[0])) continue;
    for (int b = range[1].first; b <= range[1].last; ++b) {
      const PoolBoxOf<int> box_b = pool_box(s.axis[1], b);
      if (!holds(box_b, s.axis[1], at[1])) continue;
      for (int c = range[2].first; c <= range[2].last; ++c) {
        const PoolBoxOf<int> box_c = pool_box(s.axis[2], c);
        if (holds(box_c, s.axis[2], at[2]))
          f((a * s.axis[1].out + b) * s.axis[2].out + c, box_a.divisor * box_b.divisor * box_c.divisor);
      }
    }
  }
}

// x, y and the rest: (pixels, channels), channels = packs * V.
template <class T, int V>
__global__ void __launch_bounds__(kPoolThreads, 3)
    pool_max_kernel(const PoolShape s, const T* __restrict__ x, T* __restrict__ y, int64_t* __restrict__ index) {
  const PoolPlace<V> place = output_place<V>(s);
  if (!place.exists) return;
  const PoolBoxOf<int> box[3] = {pool_box(s.axis[0], place.at[0]), pool_box(s.axis[1], place.at[1]),
                                 pool_box(s.axis[2], place.at[2])};
  const int64_t c = int64_t(s.packs) * V, pixels = int64_t(s.axis[0].in) * s.axis[1].in * s.axis[2].in;
  const T* image = x + place.image * pixels * c + place.channel;
  const int start = (box[0].begin * s.axis[1].in + box[1].begin) * s.axis[2].in + box[2].begin;
  Pack<T, V> best;
  Pack<int, V> where;
#pragma unroll
  for (int v = 0; v < V; ++v) best[v] = -math::inf<T>(), where[v] = start;
  for_box(s, box, [&](int pixel) {
    const Pack<T, V> p = load_pack<V>(image + int64_t(pixel) * c);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const bool better = p[v] > best[v] || p[v] != p[v];  // NaN wins
      best[v] = better ? p[v] : best[v];
      where[v] = better ? pixel : where[v];
    }
  });
  store_pack(y + place.pixel * c + place.channel, best);
  if (!index) return;
#pragma unroll
  for (int v = 0; v < V; ++v) index[place.pixel * c + place.channel + v] = where[v];
}

template <class T, int V>
__global__ void __launch_bounds__(kPoolThreads, 3)
    pool_average_kernel(const PoolShape s, const T* __restrict__ x, T* __restrict__ y) {
  const PoolPlace<V> place = output_place<V>(s);
  if (!place.exists) return;
  const PoolBoxOf<int> box[3] = {pool_box(s.axis[0], place.at[0]), pool_box(s.axis[1], place.at[1]),
                                 pool_box(s.axis[2], place.at[2])};
  const int64_t c = int64_t(s.packs) * V, pixels = int64_t(s.axis[0].in) * s.axis[1].in * s.axis[2].in;
  const T *image = x + place.image * pixels * c + place.channel,
          scale = reciprocal<T>(box[0].divisor * box[1].divisor * box[2].divisor);
  Pack<T, V> sum;
#pragma unroll
  for (int v = 0; v < V; ++v) sum[v] = T(0);
  for_box(s, box, [&](int pixel) {
    const Pack<T, V> p = load_pack<V>(image + int64_t(pixel) * c);
#pragma unroll
    for (int v = 0; v < V; ++v) sum[v] += p[v];
  });
#pragma unroll
  for (int v = 0; v < V; ++v) sum[v] *= scale;
  store_pack(y + place.pixel * c + place.channel, sum);
}

// index: null for averages.
template <class T, int V>
__global__ void __launch_bounds__(kPoolThreads, 3)
    pool_backward_kernel(const PoolShape s, const T* __restrict__ grad, const int64_t* __restrict__ index,
                         T* __restrict__ grad_x) {
  const PoolPlace<V> place = input_place<V>(s);
  if (!place.exists) return;
  const int64_t c = int64_t(s.packs) * V, pixels_in = int64_t(s.axis[0].in) * s.axis[1].in * s.axis[2].in;
  const int64_t first = place.image * s.axis[0].out * s.axis[1].out * s.axis[2].out;
  const int64_t here = place.pixel - place.image * pixels_in;
  Pack<T, V> sum;
#pragma unroll
  for (int v = 0; v < V; ++v) sum[v] = T(0);
  for_outputs(s, place.at, [&](int out, double divisor) {
    const int64_t at = (first + out) * c + place.channel;
    const Pack<T, V> g = load_pack<V>(grad + at);
    const T scale = index ? T(1) : reciprocal<T>(divisor);
#pragma unroll
    for (int v = 0; v < V; ++v)
      if (!index || index[at + v] == here) sum[v] += g[v] * scale;
  });
  store_pack(grad_x + place.pixel * c + place.channel, sum);
}

template <class T>
__global__ void __launch_bounds__(kPoolThreads, 3)
    pool_gather_kernel(const PoolShape s, const T* __restrict__ x, const int64_t* __restrict__ index,
                       T* __restrict__ y) {
  const PoolPlace<1> place = output_place<1>(s);
  if (!place.exists) return;
  const int64_t c = s.packs, i = place.pixel * c + place.channel;
  y[i] = x[(place.image * s.axis[0].in * s.axis[1].in * s.axis[2].in + index[i]) * c + place.channel];
}

}  // namespace lamina::cuda
