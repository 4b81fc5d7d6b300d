// Launchers of the convolutions declared in kernel/conv.h: groups are the batch of a product. Next: kernels/conv.cuh.
#include "kernel/conv.h"

#include <bit>
#include <numeric>

#include "cuda/kernels/conv.cuh"
#include "cuda/product.h"
#include "cuda/provider_cudnn.h"

namespace lamina::cuda {
namespace {

// One dimension: position i of `count` is written to out_first + i * out_stride and reads the image of `size` at
// i * step + first + t * tap_step with the weight tap_first + t * tap_stride, for t < taps.
struct Axis {
  int64_t count = 1, out_first = 0, out_stride = 1;
  int64_t size = 1, step = 1, first = 0, tap_step = 0;
  int64_t taps = 1, tap_first = 0, tap_stride = 1;
};

Axis forward_axis(const ConvGeometry& g, int i) {
  return {g.out[i], 0, 1, g.in[i], g.stride[i], -g.padding[i], g.dilation[i], g.kernel[i], 0, 1};
}
// Input positions phase + stride * j get a gradient from output (phase + padding - t * dilation) / stride + j, where
// that is whole: for every `period`-th tap from some first one on.
Axis adjoint_axis(const ConvGeometry& g, int i, int64_t phase) {
  const int64_t stride = g.stride[i], period = stride / std::gcd(stride, g.dilation[i]);
  Axis a;
  a.count = phase < g.in[i] ? (g.in[i] - phase + stride - 1) / stride : 0;
  a.out_first = phase;
  a.out_stride = stride;
  a.size = g.out[i];
  int64_t t = 0;
  while (t < period && (phase + g.padding[i] - t * g.dilation[i]) % stride != 0) ++t;
  a.taps = t < period && t < g.kernel[i] ? (g.kernel[i] - t + period - 1) / period : 0;
  a.first = a.taps ? (phase + g.padding[i] - t * g.dilation[i]) / stride : 0;
  a.tap_step = -period * g.dilation[i] / stride;
  a.tap_first = t;
  a.tap_stride = period;
  return a;
}
Axis same_axis(int64_t size) {
  Axis a;
  a.count = a.size = size;
  return a;
}

Divide divide(int64_t divisor) {
  const auto d = unsigned(std::max<int64_t>(divisor, 1));
  const int shift = 31 + int(std::bit_width(d - 1));
  return {d, unsigned(((uint64_t(1) << shift) + d - 1) / d), shift};
}
Positions positions(const Axis (&a)[3]) {
  return {divide(a[0].count * a[1].count * a[2].count), divide(a[1].count * a[2].count), divide(a[2].count)};
}
int64_t pixels(int64_t images, const Axis (&a)[3]) { return images * a[0].count * a[1].count * a[2].count; }
int64_t taps(const Axis (&a)[3]) { return a[0].taps * a[1].taps * a[2].taps; }
bool multiple(int64_t x, int64_t of) { return x % of == 0; }
bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

// `channels` of each batch; a batch begins batch_channels after the one before.
template <class T, bool kTurned>
Patches<T, kTurned> patches(const ConvImage& image, int64_t images, const Axis (&axes)[3], int64_t channels,
                            int64_t batch_channels, const char* op) {
  constexpr int V = kPack<T>;
  Patches<T, kTurned> p{};
  p.data = static_cast<const T*>(image.data);
  p.n_step = image.n, p.channel_step = image.c, p.batch_step = batch_channels * image.c;
  p.positions = positions(axes);
  p.channels = divide(channels), p.taps_yx = divide(axes[1].taps * axes[2].taps), p.taps_x = divide(axes[2].taps);
  p.pixels = checked_size(pixels(images, axes), op);
  p.features = checked_size(taps(axes) * channels, op);
  p.wide = image.c == 1 && multiple(batch_channels, V) && multiple(channels, V) && multiple(image.n, V) &&
           aligned(image.data);
  for (int i = 0; i < 3; ++i) {
    p.x_step[i] = image.x[i];
    p.size[i] = checked_size(axes[i].size, op);
    p.step[i] = int(axes[i].step), p.first[i] = int(axes[i].first), p.tap_step[i] = int(axes[i].tap_step);
    p.wide &= axes[i].size == 1 || multiple(image.x[i], V);
  }
  return p;
}

// A dense channels-last result, or the positions of it that the axes write.
ImageLayout image_layout(const Axis (&a)[3], const int64_t (&size)[3], int64_t channels) {
  ImageLayout layout{positions(a), 0, 0, {}};
  int64_t step = channels;
  for (int i = 2; i >= 0; --i) {
    layout.start += a[i].out_first * step;
    layout.x_step[i] = a[i].out_stride * step;
    step *= size[i];
  }
  layout.n_step = step;
  return layout;
}

struct Weights {
  const void* data;
  int64_t rows, channels;  // of a group: n and, for every tap, k of the product
  int64_t group_step, row_step, channel_step;
};

template <class T>
void pack_weights(Stream stream, const ConvGeometry& g, const Axis (&axes)[3], const Weights& w, int64_t groups,
                  T* out) {
  WeightPack pack{int(groups), int(w.rows), int(w.channels), w.group_step, w.row_step, w.channel_step, {}, {}, {}, {}};
  for (int i = 0; i < 3; ++i) {
    pack.taps[i] = int(axes[i].taps), pack.first[i] = int(axes[i].tap_first), pack.step[i] = int(axes[i].tap_stride);
    pack.kernel[i] = int(g.kernel[i]);
  }
  const int64_t size = groups * w.rows * w.channels * taps(axes);
  launch(pack_weights_kernel<T>, blocks_for(size, 256, multiprocessors(stream) * 8), 256, 0, stream, pack,
         static_cast<const T*>(w.data), out);
}

bool is_depthwise(const ConvGeometry& g) { return g.groups > 1 && g.groups == g.c_in && g.groups == g.c_out; }

// y (images, positions, channels) = bias + sum over taps of x @ w: every convolution but the weight gradient.
template <class T>
void correlate(Stream stream, const ConvGeometry& g, const Axis (&axes)[3], const ConvImage& x, const Weights& w,
               const void* bias, void* y, const int64_t (&y_size)[3]) {
  const char* op = "conv";
  if (pixels(g.n, axes) == 0) return;
  const int64_t k = taps(axes) * w.channels, channels = g.groups * w.rows;
  const Workspace packed(stream, size_t(std::max<int64_t>(1, g.groups * w.rows * k)) * sizeof(T));
  const ImageLayout layout = image_layout(axes, y_size, channels);
  const auto* b = static_cast<const T*>(bias);
  if (is_depthwise(g)) {  // (tap, channel): one group whose only row is all channels
    pack_weights<T>(stream, g, axes, {w.data, 1, g.groups, 0, 0, w.group_step}, 1, packed.as<T>());
    auto source = patches<T, false>(x, g.n, axes, 1, 1, op);
    constexpr int V = kPack<T>;
    const bool wide = x.c == 1 && multiple(g.groups, V) && multiple(x.n, V) && aligned(x.data) && aligned(y) &&
                      multiple(x.x[0], V) && multiple(x.x[1], V) && multiple(x.x[2], V);
    const unsigned blocks = blocks_for(source.pixels * g.groups / (wide ? V : 1), 256, INT32_MAX);
    launch(wide ? depthwise_kernel<T, V> : depthwise_kernel<T, 1>, blocks, 256, 0, stream, source, int(g.groups),
           packed.as<const T>(), b, static_cast<T*>(y), layout);
    return;
  }
  pack_weights<T>(stream, g, axes, w, g.groups, packed.as<T>());
  const auto a = patches<T, false>(x, g.n, axes, w.channels, w.channels, op);
  const ProductShape shape{a.pixels, checked_size(w.rows, op), a.features, int(g.groups), 1, 1};
  const Strided<T> weights{packed.as<const T>(), k, 1, w.rows * k, nullptr, int(w.rows), multiple(k, kPack<T>)};
  const bool wide = multiple(channels, kPack<T>) && multiple(w.rows, kPack<T>) && aligned(y);
  const Output<T, ImageLayout> out{static_cast<T*>(y), layout, w.rows, 1, 0, b, w.rows, false, false, wide, nullptr};
  launch_product<T, true, true>(stream, shape, a, weights, out);
}

template <class T>
void weight_grad(Stream stream, const ConvGeometry& g, const ConvImage& x, const ConvImage& grad_y, void* grad_w) {
  const char* op = "conv_weight_grad";
  const Axis axes[3] = {forward_axis(g, 0), forward_axis(g, 1), forward_axis(g, 2)};
  const Axis same[3] = {same_axis(g.out[0]), same_axis(g.out[1]), same_axis(g.out[2])};
  const int64_t c = g.c_in / g.groups, rows = g.c_out / g.groups, all = taps(axes);
  if (is_depthwise(g)) {
    const auto source = patches<T, false>(x, g.n, axes, 1, 1, op),
               grad = patches<T, false>(grad_y, g.n, same, 1, 1, op);
    ProductShape shape{int(g.c_in), source.features, source.pixels, 1, 1, 1};
    const int64_t blocks = tiles_of(shape.m, 32) * all;
    cut_depth(shape, blocks, 256, stream);
    using Out = Output<T, MatrixLayout>;
    const Out out{static_cast<T*>(grad_w), {all, 1}, 0, 1, 0, nullptr, 0, false, false, false, nullptr};
    with_parts(stream, shape, out, [&](const Out& to) {
      launch(depthwise_weight_grad_kernel<T, Out>, unsigned(blocks * shape.parts), 256, 0, stream, shape, source, grad,
             to);
    });
    return;
  }
  // (out, (tap, channel)) = sum over pixels of grad_y^T x
  const auto a = patches<T, true>(grad_y, g.n, same, rows, rows, op);
  const auto b = patches<T, true>(x, g.n, axes, c, c, op);
  const ProductShape shape{int(rows), b.features, b.pixels, int(g.groups), 1, 1};
  const Output<T, WeightLayout> out{static_cast<T*>(grad_w),
                                    {c * all, divide(c), int(all)},
                                    rows * c * all,
                                    1,
                                    0,
                                    nullptr,
                                    0,
                                    false,
                                    false,
                                    false,
                                    nullptr};
  launch_product<T, false, false>(stream, shape, a, b, out);
}

}  // namespace

void conv_forward(Stream stream, DType dtype, const ConvGeometry& g, const ConvImage& x, const void* w,
                  const void* bias, void* y) {
  const int64_t c = g.c_in / g.groups, rows = g.c_out / g.groups, size = g.kernel[0] * g.kernel[1] * g.kernel[2];
  const Axis axes[3] = {forward_axis(g, 0), forward_axis(g, 1), forward_axis(g, 2)};
  run_faster(stream, cudnn_offer(stream, {ConvPass::Forward, dtype, g, x, {}, w, bias}), y, [&](void* out) {
    dispatch_floating(dtype, "conv", [&]<class T>() {
      correlate<T>(stream, g, axes, x, {w, rows, c, rows * c * size, c * size, size}, bias, out, g.out);
    });
  });
}

// With a stride, the positions of one phase are reached by the same taps: a convolution each.
void conv_data_grad(Stream stream, DType dtype, const ConvGeometry& g, const ConvImage& grad_y, const void* w,
                    const void* bias, void* grad_x) {
  const int64_t c = g.c_in / g.groups, rows = g.c_out / g.groups, size = g.kernel[0] * g.kernel[1] * g.kernel[2];
  const auto offer = cudnn_offer(stream, {ConvPass::DataGrad, dtype, g, {}, grad_y, w, bias});
  run_faster(stream, offer, grad_x, [&](void* out) {
    for (int64_t z = 0; z < g.stride[0]; ++z)
      for (int64_t y = 0; y < g.stride[1]; ++y)
        for (int64_t x = 0; x < g.stride[2]; ++x) {
          const Axis axes[3] = {adjoint_axis(g, 0, z), adjoint_axis(g, 1, y), adjoint_axis(g, 2, x)};
          dispatch_floating(dtype, "conv", [&]<class T>() {
            correlate<T>(stream, g, axes, grad_y, {w, c, rows, rows * c * size, size, c * size}, bias, out, g.in);
          });
        }
  });
}

void conv_weight_grad(Stream stream, DType dtype, const ConvGeometry& g, const ConvImage& x, const ConvImage& grad_y,
                      void* grad_w) {
  const auto offer = cudnn_offer(stream, {ConvPass::WeightGrad, dtype, g, x, grad_y, nullptr, nullptr});
  run_faster(stream, offer, grad_w, [&](void* out) {
    dispatch_floating(dtype, "conv_weight_grad", [&]<class T>() { weight_grad<T>(stream, g, x, grad_y, out); });
  });
}

}  // namespace lamina::cuda
