// What convolutions read: axes (positions and taps), boxes of the output, and the input under a box, as it lies or as a
// copied window with its padding. Shared by conv.cpp and conv_weight_grad.cpp.
#pragma once
#include <algorithm>
#include <cstring>
#include <vector>

#include "cpu/scratch.h"
#include "kernel/conv.h"

namespace lamina::cpu::conv {

constexpr int64_t kWindowBytes = 384 << 10;  // of padded input in one chunk: half of L2
constexpr int64_t kDepth = 640;              // rows of packed operands in one pass
constexpr int64_t kMaxParts = 16;

inline const char* offset(const void* p, int64_t elements, int64_t item) {
  return static_cast<const char*>(p) + elements * item;
}
inline char* offset(void* p, int64_t elements, int64_t item) { return static_cast<char*>(p) + elements * item; }
inline int64_t round_up(int64_t x, int64_t step) { return (x + step - 1) / step * step; }

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

inline Axis forward_axis(const ConvGeometry& g, int i) {
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

inline bool is_depthwise(const ConvGeometry& g) { return g.groups > 1 && g.groups == g.c_in && g.groups == g.c_out; }

}  // namespace lamina::cpu::conv
