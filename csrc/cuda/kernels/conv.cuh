// Convolutions as products whose operand is read from the image itself: row `pixel`, column `(tap, channel)`. One
// description serves the forward pass, the data gradient (a phase of the stride at a time) and, turned, the weight
// gradient. Depthwise convolutions have kernels of their own. Next: product.cuh, ../conv.cu.
#pragma once
#include "cuda/kernels/product.cuh"

namespace lamina::cuda {

// n / divisor for n < 2^31 as a multiplication: multiplier = ceil(2^shift / divisor), shift = 31 + ceil(log2 divisor).
struct Divide {
  unsigned divisor, multiplier;
  int shift;
  LM_DEVICE int operator()(int n) const { return int(uint64_t(unsigned(n)) * multiplier >> shift); }
};
struct Digits {
  int digit[4];
};
// The digits of a number that counts (n, z, y, x) in row-major order.
struct Positions {
  Divide zyx, yx, x;
  LM_DEVICE Digits operator()(int i) const {
    const int n = zyx(i), in_image = i - n * int(zyx.divisor), z = yx(in_image),
              in_plane = in_image - z * int(yx.divisor);
    const int y = x(in_plane);
    return {{n, z, y, in_plane - y * int(x.divisor)}};
  }
};

// Element (pixel, feature) is image(position * step + first + tap * tap_step, channel) in each of three dimensions, or
// zero outside of the image; feature = tap * channels + channel. kTurned: features are the rows, pixels the depth.
template <class T, bool kTurned>
struct Patches {
  const T* data;
  int64_t n_step, channel_step, x_step[3], batch_step;
  Positions positions;  // of the pixels
  Divide channels, taps_yx, taps_x;
  int pixels, features;
  int size[3], step[3], first[3], tap_step[3];
  bool wide;  // packs of channels are aligned and never cross a tap

  struct Place {
    int64_t offset;
    int z, y, x;
  };
  static constexpr int kOutside = -(1 << 30);

  LM_DEVICE void select(int batch) { data += batch * batch_step; }
  LM_DEVICE Place pixel(int i, int end) const {
    if (i >= end) return {0, kOutside, 0, 0};
    const Digits at = positions(i);
    Place p{at.digit[0] * n_step, at.digit[1] * step[0] + first[0], at.digit[2] * step[1] + first[1],
            at.digit[3] * step[2] + first[2]};
    p.offset += p.z * x_step[0] + p.y * x_step[1] + p.x * x_step[2];
    return p;
  }
  LM_DEVICE Place feature(int i, int end) const {
    if (i >= end) return {0, kOutside, 0, 0};
    const int tap = channels(i), z = taps_yx(tap), in_plane = tap - z * int(taps_yx.divisor), y = taps_x(in_plane);
    Place p{(i - tap * int(channels.divisor)) * channel_step, z * tap_step[0], y * tap_step[1],
            (in_plane - y * int(taps_x.divisor)) * tap_step[2]};
    p.offset += p.z * x_step[0] + p.y * x_step[1] + p.x * x_step[2];
    return p;
  }
  LM_DEVICE Place row(int i) const { return kTurned ? feature(i, features) : pixel(i, pixels); }
  LM_DEVICE Place depth(int k, int end) const { return kTurned ? pixel(k, end) : feature(k, end); }
  LM_DEVICE const T* at(const Place& a, const Place& b) const {
    const bool inside = unsigned(a.z + b.z) < unsigned(size[0]) && unsigned(a.y + b.y) < unsigned(size[1]) &&
                        unsigned(a.x + b.x) < unsigned(size[2]);
    return inside ? data + (a.offset + b.offset) : nullptr;
  }
};

// Row i is a pixel of the result, of which every out_stride-th is written.
struct ImageLayout {
  Positions positions;
  int64_t start, n_step, x_step[3];
  LM_DEVICE int64_t row(int i) const {
    const Digits at = positions(i);
    return start + at.digit[0] * n_step + at.digit[1] * x_step[0] + at.digit[2] * x_step[1] + at.digit[3] * x_step[2];
  }
  LM_DEVICE int64_t column(int j) const { return j; }
};
// (out, (tap, channel)) to (out, channel, tap)
struct WeightLayout {
  int64_t row_step;
  Divide channels;
  int taps;
  LM_DEVICE int64_t row(int i) const { return i * row_step; }
  LM_DEVICE int64_t column(int j) const {
    const int tap = channels(j);
    return int64_t(j - tap * int(channels.divisor)) * taps + tap;
  }
};

// Weights of some taps as (group, row, tap, channel): what a product reads along k.
struct WeightPack {
  int groups, rows, channels;
  int64_t group_step, row_step, channel_step;  // of the weights as they are; a tap's step is 1
  int taps[3], first[3], step[3], kernel[3];   // tap = first + i * step in each dimension
};
template <class T>
__global__ void __launch_bounds__(256) pack_weights_kernel(WeightPack p, const T* w, T* out) {
  const int taps = p.taps[0] * p.taps[1] * p.taps[2];
  const int64_t size = int64_t(p.groups) * p.rows * taps * p.channels;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < size; i += int64_t(gridDim.x) * blockDim.x) {
    const int channel = int(i % p.channels), tap = int(i / p.channels % taps);
    const int64_t row = i / p.channels / taps, g = row / p.rows;
    const int z = p.first[0] + tap / (p.taps[1] * p.taps[2]) * p.step[0];
    const int y = p.first[1] + tap / p.taps[2] % p.taps[1] * p.step[1];
    const int x = p.first[2] + tap % p.taps[2] * p.step[2];
    out[i] = w[g * p.group_step + (row - g * p.rows) * p.row_step + channel * p.channel_step +
               (z * p.kernel[1] + y) * p.kernel[2] + x];
  }
}

// Every channel with its own weights, (tap, channel): y(pixel, c) = bias(c) + sum over taps of x(pixel, tap, c) w(tap,
// c). A thread computes V channels of a pixel. A batch of x is a channel, and its features are the taps.
template <class T, int V>
__global__ void __launch_bounds__(256)
    depthwise_kernel(Patches<T, false> x, int channels, const T* w, const T* bias, T* y, ImageLayout layout) {
  using Sum = Compute<T>;
  const int packs = channels / V;
  const int64_t size = int64_t(x.pixels) * packs;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < size; i += int64_t(gridDim.x) * blockDim.x) {
    const int pixel = int(i / packs), c = int(i % packs) * V;
    const auto place = x.pixel(pixel, x.pixels);
    Sum sum[V];
#pragma unroll
    for (int e = 0; e < V; ++e) sum[e] = bias ? Sum(bias[c + e]) : Sum(0);
#pragma unroll 3
    for (int tap = 0; tap < x.features; ++tap) {
      const T* from = x.at(place, x.feature(tap, x.features));
      if (!from) continue;
      const Pack<T, V> value = load_pack<V>(from + c * x.batch_step), weight = load_pack<V>(w + tap * channels + c);
#pragma unroll
      for (int e = 0; e < V; ++e) sum[e] += Sum(value[e]) * Sum(weight[e]);
    }
    Pack<T, V> out;
#pragma unroll
    for (int e = 0; e < V; ++e) out[e] = T(sum[e]);
    store_pack(y + layout.row(pixel) + c, out);
  }
}

// The gradient of one tap of 32 channels over a part of the pixels: lanes are channels, warps share the pixels.
template <class T, class Out>
__global__ void __launch_bounds__(256)
    depthwise_weight_grad_kernel(ProductShape shape, Patches<T, false> x, Patches<T, false> grad, Out out) {
  using Sum = Compute<T>;
  LM_SHARED(Sum, sums, [8][32]);
  const unsigned across = unsigned(shape.m + 31) / 32, rest = blockIdx.x / across;
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32, c = int(blockIdx.x % across) * 32 + lane;
  const int tap = int(rest % unsigned(shape.n)), part = int(rest / unsigned(shape.n));
  const int begin = part * shape.part_depth, end = min(shape.k, begin + shape.part_depth);
  Sum sum = 0;
  if (c < shape.m) {
    const auto place = x.feature(tap, x.features), same = grad.feature(0, 1);
#pragma unroll 4
    for (int pixel = begin + warp; pixel < end; pixel += 8) {
      const T* from = x.at(x.pixel(pixel, end), place);
      const T* g = grad.at(grad.pixel(pixel, end), same);
      if (from) sum += Sum(from[c * x.batch_step]) * Sum(g[c * grad.batch_step]);
    }
  }
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp == 0 && c < shape.m) {
    Sum total[1] = {};
#pragma unroll
    for (int i = 0; i < 8; ++i) total[0] += sums[i][lane];
    out.store(shape, part, 0, c, tap, total);
  }
}

}  // namespace lamina::cuda
