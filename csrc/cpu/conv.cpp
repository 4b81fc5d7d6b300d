// Convolution: products without im2col (gemm_loops.h: rows and taps are offset tables), the output cut in chunks.
// One loop serves the forward pass, the data gradient and the transposed convolution: each output position reads the
// input at `position * step + offset` for a list of taps. Padding is a copy of the chunk's window that stays in L2.
// Next: conv_weight_grad.cpp.
#include "kernel/conv.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/pool.h"
#include "cpu/conv_loops.h"
#include "cpu/conv_window.h"
#include "cpu/gemm_loops.h"

namespace lamina::cpu {
namespace {

using namespace conv;

constexpr int64_t kChunkWork = 1 << 20;  // multiply-adds worth a thread's wake-up
constexpr int64_t kManyRows = 192;       // output pixels over which reading the weights is amortised

// The output cut into boxes: whole images while they fit, else bands of one.
struct Cut {
  int64_t group = 1, parts[3] = {1, 1, 1};  // images to a chunk; pieces of each axis
  int64_t count[4], chunks = 1;

  Cut(const Source& source, int64_t n, int64_t work_per_pixel) {
    const Axis(&axes)[3] = source.axes;
    Box one{{0, 0, 0, 0}, {1, axes[0].count, axes[1].count, axes[2].count}};
    const int64_t item = item_size(source.dtype);
    // Enough chunks for the pool, each worth its wake-up, and a window that stays in L2.
    const int64_t pixels = one.pixels(), rows = std::max(kManyRows, kChunkWork / work_per_pixel);
    while (one.size(1) > 1 && source.window_elements(one) * item > kWindowBytes) one.end[1] = (one.end[1] + 1) / 2;
    while (one.size(1) == 1 && one.size(2) > 1 &&
           (source.window_elements(one) * item > kWindowBytes || (n * pixels > 8 * rows && one.pixels() > 8 * rows)))
      one.end[2] = (one.end[2] + 1) / 2;
    while (one.size(1) == 1 && one.size(2) == 1 && one.pixels() > 64 &&
           source.window_elements(one) * item > kWindowBytes)
      one.end[3] = (one.end[3] + 1) / 2;
    while (n < kMaxParts && one.pixels() > 2 * rows && one.size(2) > 1 &&
           n * chunk_count(axes[0].count, one.end[1]) * chunk_count(axes[1].count, one.end[2]) < kMaxParts)
      one.end[2] = (one.end[2] + 1) / 2;
    for (int i = 0; i < 3; ++i) parts[i] = one.end[i + 1];
    if (one.pixels() == pixels && pixels > 0) {
      group = std::max<int64_t>(1, rows / pixels);
      while (group > 1 && source.window_elements(one) * group * item > 2 * kWindowBytes) --group;
    }
    count[0] = chunk_count(n, group);
    for (int i = 0; i < 3; ++i) count[i + 1] = chunk_count(axes[i].count, parts[i]);
    chunks = count[0] * count[1] * count[2] * count[3];
    images = n;
  }
  Box box(int64_t chunk, const Axis (&axes)[3]) const {
    Box b;
    for (int i = 3; i >= 1; --i) {
      const int64_t at = chunk % count[i];
      chunk /= count[i];
      b.begin[i] = at * parts[i - 1];
      b.end[i] = std::min(axes[i - 1].count, b.begin[i] + parts[i - 1]);
    }
    b.begin[0] = chunk * group;
    b.end[0] = std::min(images, b.begin[0] + group);
    return b;
  }
  int64_t images;
};
// Where a chunk's output pixels read the window: one offset per pixel, in row-major order of the box.
void pixel_rows(const Axis (&axes)[3], const Box& box, const int64_t (&stride)[4], int64_t origin,
                std::vector<int64_t>& rows) {
  rows.clear();
  for (int64_t n = 0; n < box.size(0); ++n)
    for (int64_t z = 0; z < box.size(1); ++z)
      for (int64_t y = 0; y < box.size(2); ++y) {
        const int64_t at = origin + n * stride[0] + z * axes[0].step * stride[1] + y * axes[1].step * stride[2];
        for (int64_t x = 0; x < box.size(3); ++x) rows.push_back(at + x * axes[2].step * stride[3]);
      }
}

// Weights as (tap, group, k, n): element = tap * tap_stride + group * group_stride + k * k_stride + n * n_stride.
struct Weights {
  const void* data;
  int64_t k, n, tap_stride, group_stride, k_stride, n_stride;
};

// Brings (c_out, c, tap) to (tap, c_out, c): packing one tap then reads rows of channels, not single numbers.
const void* split_taps(DType dtype, const void* w, int64_t c_out, int64_t c, int64_t taps, Scratch& scratch) {
  if (taps == 1) return w;
  scratch.reserve(taps * c_out * c * item_size(dtype));
  auto split = [&]<class T>(T) {
    const int64_t rows = std::max<int64_t>(1, (1 << 16) / (c * taps));
    parallel_for(chunk_count(c_out, rows), [&](int64_t chunk) {
      for (int64_t o = chunk * rows; o < std::min(c_out, (chunk + 1) * rows); ++o) {
        const T* from = static_cast<const T*>(w) + o * c * taps;
        T* to = scratch.data<T>() + o * c;
        for (int64_t i = 0; i < c; ++i)
          for (int64_t t = 0; t < taps; ++t) to[t * c_out * c + i] = from[i * taps + t];
      }
    });
  };
  if (dtype == DType::F32)
    split(float());
  else
    split(double());
  return scratch.data();
}

// y (n, positions, groups * w.n) = sum over taps of x @ w. The loop of every convolution but the weight gradient.
void correlate(DType dtype, int64_t images, int64_t groups, const Axis (&axes)[3], const int64_t* kernel,
               const ConvImage& x, const Weights& w, const void* bias, void* y, const int64_t (&y_size)[3]) {
  const int64_t item = item_size(dtype), lanes = gemm_lanes(dtype);
  const int64_t taps = int64_t(axes[0].taps.size() * axes[1].taps.size() * axes[2].taps.size());
  const int64_t c_out = groups * w.n, rows_b = taps * w.k, packed_size = rows_b * round_up(w.n, lanes);
  Scratch packed(groups * packed_size * item);
  parallel_for(groups * taps, [&](int64_t chunk) {
    const int64_t g = chunk / taps, t = chunk % taps;
    const int64_t tx = t % int64_t(axes[2].taps.size()), rest = t / int64_t(axes[2].taps.size());
    const int64_t ty = rest % int64_t(axes[1].taps.size()), tz = rest / int64_t(axes[1].taps.size());
    const int64_t tap =
        (axes[0].taps[size_t(tz)] * kernel[1] + axes[1].taps[size_t(ty)]) * kernel[2] + axes[2].taps[size_t(tx)];
    loop::gemm_pack(dtype, offset(w.data, tap * w.tap_stride + g * w.group_stride, item), w.k_stride, w.n_stride, w.k,
                    w.n, offset(packed.data(), g * packed_size, item), t * w.k, rows_b);
  });

  const Source source(dtype, x, groups * w.k, axes);
  const Cut cut(source, images, rows_b * w.n * groups);
  parallel_for(cut.chunks, [&](int64_t chunk) {
    const Box box = cut.box(chunk, axes);
    Scratch scratch;
    const Window window = source.open(box, scratch);
    const Taps entries(axes, window, w.k, groups == 1);
    std::vector<int64_t> in_rows, out_rows;
    pixel_rows(axes, box, window.stride, window.origin, in_rows);
    // Output rows: a chunk of whole rows of a plain convolution is one dense block, otherwise a table.
    int64_t y_stride[4];
    y_stride[3] = c_out;
    for (int i = 2; i >= 0; --i) y_stride[i] = y_stride[i + 1] * y_size[i];
    int64_t start = box.begin[0] * y_stride[0];
    bool dense = true;
    for (int i = 0; i < 3; ++i) {
      start += (axes[i].first + box.begin[i + 1] * axes[i].stride) * y_stride[i + 1];
      dense &= axes[i].stride == 1 && axes[i].count == y_size[i];
    }
    dense &= (box.size(3) == axes[2].count && box.size(2) == axes[1].count) || (box.size(1) == 1 && box.size(0) == 1);
    if (!dense) {
      for (int64_t n = 0; n < box.size(0); ++n)
        for (int64_t z = 0; z < box.size(1); ++z)
          for (int64_t r = 0; r < box.size(2); ++r)
            for (int64_t i = 0; i < box.size(3); ++i)
              out_rows.push_back(n * y_stride[0] + z * axes[0].stride * y_stride[1] + r * axes[1].stride * y_stride[2] +
                                 i * axes[2].stride * y_stride[3]);
    }
    GemmTile tile;
    tile.m = box.pixels();
    tile.n = w.n;
    tile.k = entries.run;
    tile.a_rows = in_rows.data();
    tile.c_row = c_out;
    tile.c_rows = dense ? nullptr : out_rows.data();
    tile.b_rows = rows_b;
    const int64_t count = int64_t(entries.entries.size()), step = std::max<int64_t>(1, kDepth / entries.run);
    for (int64_t g = 0; g < groups; ++g)
      for (int64_t first = 0; first < count; first += step) {
        tile.segments = std::min(step, count - first);
        tile.a = offset(window.data, g * w.k, item);
        tile.a_segments = entries.entries.data() + first;
        tile.b = offset(packed.data(), g * packed_size, item);
        tile.b_first = first * entries.run;
        tile.c = offset(y, start + g * w.n, item);
        tile.accumulate = first > 0;
        tile.bias = bias && first == 0 ? offset(bias, g * w.n, item) : nullptr;
        loop::gemm_tile(dtype, tile);
      }
  });
}

// Input positions i = phase + stride * j get a gradient from output (i + padding - t * dilation) / stride, where whole.
Axis adjoint_axis(const ConvGeometry& g, int i, int64_t phase) {
  Axis a;
  a.count = phase < g.in[i] ? (g.in[i] - phase + g.stride[i] - 1) / g.stride[i] : 0;
  a.first = phase;
  a.stride = g.stride[i];
  a.size = g.out[i];
  for (int64_t t = g.kernel[i] - 1; t >= 0; --t) {
    const int64_t at = phase + g.padding[i] - t * g.dilation[i];
    if (at % g.stride[i] != 0) continue;
    a.taps.push_back(t);
    a.offsets.push_back(at / g.stride[i]);
  }
  return a;
}
// One weight per tap and channel, as (taps, channels).
template <class T>
void transpose_taps(const T* w, int64_t channels, int64_t taps, T* out) {
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t t = 0; t < taps; ++t) out[t * channels + c] = w[c * taps + t];
}

// As correlate, where every channel is its own group: sums of products of rows of channels.
void correlate_depthwise(DType dtype, int64_t images, int64_t channels, const Axis (&axes)[3], const int64_t* kernel,
                         const ConvImage& x, const void* w, const void* bias, void* y, const int64_t (&y_size)[3]) {
  const int64_t item = item_size(dtype), all = kernel[0] * kernel[1] * kernel[2];
  Scratch by_tap(all * channels * item);
  if (dtype == DType::F32)
    transpose_taps(static_cast<const float*>(w), channels, all, by_tap.data<float>());
  else
    transpose_taps(static_cast<const double*>(w), channels, all, by_tap.data<double>());
  std::vector<int64_t> weights;
  for (int64_t z : axes[0].taps)
    for (int64_t r : axes[1].taps)
      for (int64_t i : axes[2].taps) weights.push_back(((z * kernel[1] + r) * kernel[2] + i) * channels);
  const Source source(dtype, x, channels, axes);
  const Cut cut(source, images, int64_t(weights.size()) * channels);
  parallel_for(cut.chunks, [&](int64_t chunk) {
    const Box box = cut.box(chunk, axes);
    Scratch scratch;
    const Window window = source.open(box, scratch);
    const Taps entries(axes, window, channels, false);
    std::vector<int64_t> in_rows;
    pixel_rows(axes, box, window.stride, window.origin, in_rows);
    size_t row = 0;
    for (int64_t n = box.begin[0]; n < box.end[0]; ++n)
      for (int64_t z = box.begin[1]; z < box.end[1]; ++z)
        for (int64_t r = box.begin[2]; r < box.end[2]; ++r, row += size_t(box.size(3))) {
          const int64_t line =
              (n * y_size[0] + axes[0].first + z * axes[0].stride) * y_size[1] + axes[1].first + r * axes[1].stride;
          const int64_t at = (line * y_size[2] + axes[2].first + box.begin[3] * axes[2].stride) * channels;
          loop::conv_depthwise(dtype, box.size(3), channels, int64_t(weights.size()),
                               offset(window.data, in_rows[row], item), axes[2].step * window.stride[3],
                               entries.entries.data(), by_tap.data(), weights.data(), bias, offset(y, at, item),
                               axes[2].stride * channels);
        }
  });
}

}  // namespace

void conv_forward(DType dtype, const ConvGeometry& g, const ConvImage& x, const void* w, const void* bias, void* y) {
  const Axis axes[3] = {forward_axis(g, 0), forward_axis(g, 1), forward_axis(g, 2)};
  if (is_depthwise(g)) return correlate_depthwise(dtype, g.n, g.c_in, axes, g.kernel, x, w, bias, y, g.out);
  const int64_t taps = g.kernel[0] * g.kernel[1] * g.kernel[2], c = g.c_in / g.groups, out = g.c_out / g.groups;
  Scratch scratch;
  const Weights weights{split_taps(dtype, w, g.c_out, c, taps, scratch), c, out, g.c_out * c, out * c, 1, c};
  correlate(dtype, g.n, g.groups, axes, g.kernel, x, weights, bias, y, g.out);
}

void conv_data_grad(DType dtype, const ConvGeometry& g, const ConvImage& grad_y, const void* w, const void* bias,
                    void* grad_x) {
  const int64_t taps = g.kernel[0] * g.kernel[1] * g.kernel[2], c = g.c_in / g.groups, out = g.c_out / g.groups;
  Scratch scratch;
  const Weights weights{
      is_depthwise(g) ? w : split_taps(dtype, w, g.c_out, c, taps, scratch), out, c, g.c_out * c, out * c, c, 1};
  const int64_t item = item_size(dtype);
  // With a stride, the positions of one phase are reached by the same taps: a plain correlation each.
  const int64_t phases = g.stride[0] * g.stride[1] * g.stride[2];
  auto phase_axes = [&](int64_t phase, Axis(&axes)[3]) {
    for (int i = 2; i >= 0; --i) {
      axes[i] = adjoint_axis(g, i, phase % g.stride[i]);
      phase /= g.stride[i];
    }
  };
  bool gaps = false;  // positions that no tap reaches
  for (int64_t phase = 0; phase < phases; ++phase) {
    Axis axes[3];
    phase_axes(phase, axes);
    gaps |= axes[0].taps.empty() || axes[1].taps.empty() || axes[2].taps.empty();
  }
  if (gaps) {
    const int64_t pixels = g.n * g.in[0] * g.in[1] * g.in[2];
    for (int64_t p = 0; p < pixels; ++p) {
      char* row = offset(grad_x, p * g.c_in, item);
      if (bias)
        std::memcpy(row, bias, size_t(g.c_in * item));
      else
        std::memset(row, 0, size_t(g.c_in * item));
    }
  }
  for (int64_t phase = 0; phase < phases; ++phase) {
    Axis axes[3];
    phase_axes(phase, axes);
    if (axes[0].taps.empty() || axes[1].taps.empty() || axes[2].taps.empty()) continue;
    if (axes[0].count == 0 || axes[1].count == 0 || axes[2].count == 0) continue;
    if (is_depthwise(g))
      correlate_depthwise(dtype, g.n, g.c_in, axes, g.kernel, grad_y, w, bias, grad_x, g.in);
    else
      correlate(dtype, g.n, g.groups, axes, g.kernel, grad_y, weights, bias, grad_x, g.in);
  }
}

}  // namespace lamina::cpu
