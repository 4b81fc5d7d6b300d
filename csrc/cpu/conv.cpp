// Convolution: cutting the output in chunks, copying padded windows, and driving gemm_tile over taps. See conv.h.
#include "cpu/conv.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/pool.h"
#include "cpu/conv_kernels.h"
#include "cpu/gemm_kernels.h"
#include "cpu/scratch.h"

namespace lamina::cpu {
namespace {

constexpr int64_t kWindowBytes = 384 << 10;  // of padded input in one chunk: half of L2
constexpr int64_t kChunkWork = 1 << 20;      // multiply-adds worth a thread's wake-up
constexpr int64_t kManyRows = 192;           // output pixels over which reading the weights is amortised
constexpr int64_t kDepth = 640;              // rows of packed weights in one pass
constexpr int64_t kPartialBytes = 8 << 20;   // of weight gradients summed in the end
constexpr int64_t kMaxParts = 16;

const char* offset(const void* p, int64_t elements, int64_t item) {
  return static_cast<const char*>(p) + elements * item;
}
char* offset(void* p, int64_t elements, int64_t item) { return static_cast<char*>(p) + elements * item; }
int64_t round_up(int64_t x, int64_t step) { return (x + step - 1) / step * step; }

// One dimension: output position i of `count` is written to `first + i * stride` and reads the input at
// `i * step + offsets[t]` for each of its taps, which are the kernel's positions `taps[t]`. Offsets ascend.
struct Axis {
  int64_t count = 1, step = 1, first = 0, stride = 1, size = 1;
  std::vector<int64_t> offsets, taps;

  int64_t low() const { return offsets.front(); }
  int64_t extent(int64_t n) const { return (n - 1) * step + offsets.back() - low() + 1; }  // input under n positions
  bool padded() const { return low() < 0 || low() + extent(count) > size; }
};

// (n, y...) positions of a box of the output, and the input under it.
struct Box {
  int64_t begin[4], end[4];  // n, then the three axes
  int64_t size(int i) const { return end[i] - begin[i]; }
  int64_t pixels() const { return size(0) * size(1) * size(2) * size(3); }
};

// Input elements as a chunk reads them: strides of n and of each axis; channels are adjacent.
struct Window {
  const void* data = nullptr;
  int64_t stride[4];
  int64_t origin = 0;  // offset of the box's first position at the lowest taps
};

// Copies the input under `box` into `out` as dense channels-last, zeros outside of it.
template <class T>
void copy_window(const Axis (&axes)[3], const Box& box, const ConvImage& x, int64_t channels, T* out) {
  int64_t extent[3], low[3];
  for (int i = 0; i < 3; ++i) {
    extent[i] = axes[i].extent(box.size(i + 1));
    low[i] = box.begin[i + 1] * axes[i].step + axes[i].low();
  }
  const int64_t row = extent[2] * channels;
  const int64_t x0 = std::clamp<int64_t>(-low[2], 0, extent[2]);  // columns that exist
  const int64_t x1 = std::max(x0, std::min(extent[2], axes[2].size - low[2]));
  for (int64_t n = box.begin[0]; n < box.end[0]; ++n)
    for (int64_t z = low[0]; z < low[0] + extent[0]; ++z)
      for (int64_t y = low[1]; y < low[1] + extent[1]; ++y, out += row) {
        if (z < 0 || z >= axes[0].size || y < 0 || y >= axes[1].size) {
          std::memset(out, 0, size_t(row) * sizeof(T));
          continue;
        }
        std::memset(out, 0, size_t(x0 * channels) * sizeof(T));
        std::memset(out + x1 * channels, 0, size_t((extent[2] - x1) * channels) * sizeof(T));
        const T* from = static_cast<const T*>(x.data) + n * x.n + z * x.x[0] + y * x.x[1] + (low[2] + x0) * x.x[2];
        T* to = out + x0 * channels;
        if (x.c == 1 && x.x[2] == channels) {
          std::memcpy(to, from, size_t((x1 - x0) * channels) * sizeof(T));
        } else if (x.c == 1) {
          for (int64_t i = 0; i < x1 - x0; ++i, to += channels)
            std::memcpy(to, from + i * x.x[2], size_t(channels) * sizeof(T));
        } else {
          for (int64_t c = 0; c < channels; ++c)
            for (int64_t i = 0; i < x1 - x0; ++i) to[i * channels + c] = from[i * x.x[2] + c * x.c];
        }
      }
}

// How an input is read: as it lies where nothing must be padded or reordered, else through copied windows.
struct Source {
  DType dtype;
  const ConvImage& x;
  int64_t channels;
  const Axis (&axes)[3];
  bool copied;

  Source(DType dtype, const ConvImage& x, int64_t channels, const Axis (&axes)[3])
      : dtype(dtype), x(x), channels(channels), axes(axes) {
    // A single channel has no order; rows must be dense for neighbouring taps to be one run.
    copied =
        (x.c != 1 && channels > 1) || axes[0].padded() || axes[1].padded() || axes[2].padded() || x.x[2] != channels;
  }
  int64_t window_elements(const Box& box) const {
    int64_t n = box.size(0) * channels;
    for (int i = 0; i < 3; ++i) n *= axes[i].extent(box.size(i + 1));
    return n;
  }
  Window open(const Box& box, Scratch& scratch) const {
    Window w;
    if (!copied) {
      w.data = x.data;
      w.stride[0] = x.n;
      w.origin = box.begin[0] * x.n;
      for (int i = 0; i < 3; ++i) {
        w.stride[i + 1] = x.x[i];
        w.origin += (box.begin[i + 1] * axes[i].step + axes[i].low()) * x.x[i];
      }
      return w;
    }
    scratch.reserve(window_elements(box) * item_size(dtype));
    if (dtype == DType::F32)
      copy_window(axes, box, x, channels, scratch.data<float>());
    else
      copy_window(axes, box, x, channels, scratch.data<double>());
    w.data = scratch.data();
    w.stride[3] = channels;
    for (int i = 2; i >= 0; --i) w.stride[i] = w.stride[i + 1] * axes[i].extent(box.size(i + 1));
    return w;
  }
};

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

// Offsets of the taps, in the order in which the weights are packed; neighbouring taps along x are one run when dense.
struct Taps {
  int64_t run = 0;               // adjacent input elements per entry
  std::vector<int64_t> entries;  // offsets from the lowest tap

  Taps(const Axis (&axes)[3], const Window& w, int64_t channels, bool dense) {
    const Axis& x = axes[2];
    const int64_t n = int64_t(x.offsets.size());
    const bool merge =
        dense && w.stride[3] == channels && x.offsets.back() - x.low() == n - 1 && n * channels <= kDepth;
    run = merge ? n * channels : channels;
    for (int64_t z : axes[0].offsets)
      for (int64_t y : axes[1].offsets)
        for (int64_t i = 0; i < (merge ? 1 : n); ++i)
          entries.push_back((z - axes[0].low()) * w.stride[1] + (y - axes[1].low()) * w.stride[2] +
                            (x.offsets[size_t(i)] - x.low()) * w.stride[3]);
  }
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
void correlate(Stream stream, DType dtype, int64_t images, int64_t groups, const Axis (&axes)[3], const int64_t* kernel,
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
    kernel::gemm_pack(stream, dtype, offset(w.data, tap * w.tap_stride + g * w.group_stride, item), w.k_stride,
                      w.n_stride, w.k, w.n, offset(packed.data(), g * packed_size, item), t * w.k, rows_b);
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
        kernel::gemm_tile(stream, dtype, tile);
      }
  });
}

Axis forward_axis(const ConvGeometry& g, int i) {
  Axis a;
  a.count = g.out[i];
  a.step = g.stride[i];
  a.size = g.in[i];
  for (int64_t t = 0; t < g.kernel[i]; ++t) {
    a.taps.push_back(t);
    a.offsets.push_back(t * g.dilation[i] - g.padding[i]);
  }
  return a;
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

bool is_depthwise(const ConvGeometry& g) { return g.groups > 1 && g.groups == g.c_in && g.groups == g.c_out; }

// One weight per tap and channel, as (taps, channels).
template <class T>
void transpose_taps(const T* w, int64_t channels, int64_t taps, T* out) {
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t t = 0; t < taps; ++t) out[t * channels + c] = w[c * taps + t];
}

// As correlate, where every channel is its own group: sums of products of rows of channels.
void correlate_depthwise(Stream stream, DType dtype, int64_t images, int64_t channels, const Axis (&axes)[3],
                         const int64_t* kernel, const ConvImage& x, const void* w, const void* bias, void* y,
                         const int64_t (&y_size)[3]) {
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
          kernel::conv_depthwise(stream, dtype, box.size(3), channels, int64_t(weights.size()),
                                 offset(window.data, in_rows[row], item), axes[2].step * window.stride[3],
                                 entries.entries.data(), by_tap.data(), weights.data(), bias, offset(y, at, item),
                                 axes[2].stride * channels);
        }
  });
}

}  // namespace

void conv_forward(Stream stream, DType dtype, const ConvGeometry& g, const ConvImage& x, const void* w,
                  const void* bias, void* y) {
  const Axis axes[3] = {forward_axis(g, 0), forward_axis(g, 1), forward_axis(g, 2)};
  if (is_depthwise(g)) return correlate_depthwise(stream, dtype, g.n, g.c_in, axes, g.kernel, x, w, bias, y, g.out);
  const int64_t taps = g.kernel[0] * g.kernel[1] * g.kernel[2], c = g.c_in / g.groups, out = g.c_out / g.groups;
  Scratch scratch;
  const Weights weights{split_taps(dtype, w, g.c_out, c, taps, scratch), c, out, g.c_out * c, out * c, 1, c};
  correlate(stream, dtype, g.n, g.groups, axes, g.kernel, x, weights, bias, y, g.out);
}

void conv_data_grad(Stream stream, DType dtype, const ConvGeometry& g, const ConvImage& grad_y, const void* w,
                    const void* bias, void* grad_x) {
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
      correlate_depthwise(stream, dtype, g.n, g.c_in, axes, g.kernel, grad_y, w, bias, grad_x, g.in);
    else
      correlate(stream, dtype, g.n, g.groups, axes, g.kernel, grad_y, weights, bias, grad_x, g.in);
  }
}

void conv_weight_grad(Stream stream, DType dtype, const ConvGeometry& g, const ConvImage& x, const ConvImage& grad_y,
                      void* grad_w) {
  const Axis axes[3] = {forward_axis(g, 0), forward_axis(g, 1), forward_axis(g, 2)};
  const int64_t item = item_size(dtype), lanes = gemm_lanes(dtype);
  const int64_t taps = g.kernel[0] * g.kernel[1] * g.kernel[2], c = g.c_in / g.groups, out = g.c_out / g.groups;
  const int64_t size = g.groups * taps * c * out;  // as (group, tap, c, out)
  const bool depthwise = is_depthwise(g);

  // The gradient is a sum over positions: slabs of images, each into a sum of its own. Where the weights are too many
  // for that, rows of the gradient are shared out instead.
  const int64_t slabs = std::clamp<int64_t>(kPartialBytes / (size * item), 1, std::min(kMaxParts, g.n));
  const int64_t rows = taps * c,
                parts = depthwise ? 1 : std::clamp<int64_t>(kMaxParts / 2 / slabs, 1, (rows + 47) / 48);
  const int64_t part_rows = round_up(chunk_count(rows, parts), 12), group = chunk_count(g.n, slabs);
  Scratch sums(slabs * size * item);
  std::memset(sums.data(), 0, size_t(slabs * size * item));
  const Source source(dtype, x, g.c_in, axes);
  // One row of output at a time along z and y when an image's window is large.
  Box one{{0, 0, 0, 0}, {1, g.out[0], g.out[1], g.out[2]}};
  while (one.size(1) > 1 && source.window_elements(one) * item > kWindowBytes) one.end[1] = (one.end[1] + 1) / 2;
  while (one.size(1) == 1 && one.size(2) > 1 && source.window_elements(one) * item > kWindowBytes)
    one.end[2] = (one.end[2] + 1) / 2;
  // Small images together, since every pass reads and writes the sums.
  const int64_t pixels = g.out[0] * g.out[1] * g.out[2];
  int64_t images = one.pixels() == pixels ? std::max<int64_t>(1, kDepth / pixels) : 1;
  while (images > 1 && source.window_elements(one) * images * item > 2 * kWindowBytes) --images;
  // Depthwise rows are read in place, so that a gradient in another order is copied as a window of itself.
  Axis same[3];
  for (int i = 0; i < 3; ++i) {
    same[i].count = same[i].size = g.out[i];
    same[i].offsets = same[i].taps = {0};
  }
  const Source grad_source(dtype, grad_y, g.c_out, same);
  // The gradient of y is read in place where it is channels-last, in whole vectors, and so narrow that its rows do not
  // compete for the same cache lines.
  const bool narrow = out % lanes == 0 && grad_y.c == 1 && grad_y.x[2] <= gemm_panel(dtype);

  parallel_for(chunk_count(g.n, group) * chunk_count(rows, part_rows), [&](int64_t chunk) {
    const int64_t slab = chunk / chunk_count(rows, part_rows), part = chunk % chunk_count(rows, part_rows);
    const int64_t row0 = part * part_rows, row1 = std::min(rows, row0 + part_rows);
    char* sum = offset(sums.data(), slab * size, item);
    Scratch scratch, packed, grad_scratch;
    std::vector<int64_t> a_rows, lines, grad_lines;
    const int64_t last = std::min(g.n, (slab + 1) * group);
    for (int64_t n = slab * group; n < last; n += images)
      for (int64_t z = 0; z < g.out[0]; z += one.end[1])
        for (int64_t r = 0; r < g.out[1]; r += one.end[2]) {
          const Box box{{n, z, r, 0},
                        {std::min(last, n + images), std::min(g.out[0], z + one.end[1]),
                         std::min(g.out[1], r + one.end[2]), g.out[2]}};
          const Window window = source.open(box, scratch);
          Window grads{grad_y.data, {grad_y.n, grad_y.x[0], grad_y.x[1], grad_y.x[2]}, 0};
          grads.origin = n * grad_y.n + z * grad_y.x[0] + r * grad_y.x[1];
          if (depthwise) grads = grad_source.open(box, grad_scratch);
          // A line of output is a segment of k: where it starts in the window and in the gradient.
          lines.clear();
          grad_lines.clear();
          for (int64_t i = 0; i < box.size(0); ++i)
            for (int64_t j = 0; j < box.size(1); ++j)
              for (int64_t l = 0; l < box.size(2); ++l) {
                lines.push_back(window.origin + i * window.stride[0] + j * axes[0].step * window.stride[1] +
                                l * axes[1].step * window.stride[2]);
                grad_lines.push_back(grads.origin + i * grads.stride[0] + j * grads.stride[1] + l * grads.stride[2]);
              }
          const Taps entries(axes, window, c, false);
          const int64_t x_step = axes[2].step * window.stride[3], all = int64_t(lines.size());
          if (depthwise) {
            for (size_t i = 0; i < lines.size(); ++i)
              kernel::conv_depthwise_weights(stream, dtype, g.out[2], g.c_in, taps, offset(window.data, lines[i], item),
                                             x_step, entries.entries.data(), offset(grads.data, grad_lines[i], item),
                                             grads.stride[3], sum);
            continue;
          }
          a_rows.clear();
          for (int64_t t = row0; t < row1; ++t) a_rows.push_back(entries.entries[size_t(t / c)] + t % c);
          const int64_t depth = std::max<int64_t>(1, kDepth / g.out[2]);  // lines in one pass
          for (int64_t first = 0; first < all; first += depth) {
            const int64_t count = std::min(depth, all - first), pixels = count * g.out[2];
            bool in_place = narrow;
            for (int64_t i = 1; i < count; ++i)
              in_place &= grad_lines[size_t(first + i)] == grad_lines[size_t(first)] + i * g.out[2] * grad_y.x[2];
            for (int64_t h = 0; h < g.groups; ++h) {
              GemmTile tile;
              if (in_place) {
                tile.b = offset(grad_y.data, grad_lines[size_t(first)] + h * out, item);
                tile.b_row = grad_y.x[2];
              } else {
                packed.reserve(pixels * round_up(out, lanes) * item);
                for (int64_t i = 0; i < count; ++i)
                  kernel::gemm_pack(stream, dtype,
                                    offset(grad_y.data, grad_lines[size_t(first + i)] + h * out * grad_y.c, item),
                                    grad_y.x[2], grad_y.c, g.out[2], out, packed.data(), i * g.out[2], pixels);
                tile.b = packed.data();
              }
              tile.m = row1 - row0;
              tile.n = out;
              tile.k = g.out[2];
              tile.segments = count;
              tile.a = offset(window.data, h * c, item);
              tile.a_rows = a_rows.data();
              tile.a_col = x_step;
              tile.a_segments = lines.data() + first;
              tile.c = offset(sum, (h * rows + row0) * out, item);
              tile.c_row = out;
              tile.accumulate = true;
              kernel::gemm_tile(stream, dtype, tile);
            }
          }
        }
  });

  // Sum the slabs in order and bring (group, tap, c, out) to (group, out, c, tap); depthwise sums are (tap, channel),
  // as one group. Sixteen outputs at a time: whole cache lines are read, and every output's row is written in order.
  auto finish = [&]<class T>(T) {
    constexpr int64_t kTogether = 16;
    const int64_t used = chunk_count(g.n, group), in = depthwise ? 1 : c, outer = depthwise ? g.c_in : out;
    const int64_t blocks = chunk_count(outer, kTogether), sets = depthwise ? 1 : g.groups;
    parallel_for(sets * blocks, [&](int64_t chunk) {
      const int64_t h = chunk / blocks, o = chunk % blocks * kTogether, n = std::min(kTogether, outer - o);
      T* to = static_cast<T*>(grad_w) + (h * outer + o) * in * taps;
      for (int64_t i = 0; i < in; ++i)
        for (int64_t t = 0; t < taps; ++t) {
          const T* from = sums.data<T>() + ((h * taps + t) * in + i) * outer + o;
          T total[kTogether] = {};
          for (int64_t s = 0; s < used; ++s)
            for (int64_t j = 0; j < n; ++j) total[j] += from[s * size + j];
          for (int64_t j = 0; j < n; ++j) to[(j * in + i) * taps + t] = total[j];
        }
    });
  };
  if (dtype == DType::F32)
    finish(float());
  else
    finish(double());
}

}  // namespace lamina::cpu
