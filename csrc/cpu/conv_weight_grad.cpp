// The weight gradient: for every tap, input^T @ gradient, summed over positions. Lines of output are the segments of k
// of a product whose rows are (tap, channel), so nothing is transposed or unfolded. See conv.h.
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

constexpr int64_t kPartialBytes = 8 << 20;  // of sums that are added in the end

// Sums the slabs in order and brings (group, tap, c, out) to (group, out, c, tap). Sixteen outputs at a time: whole
// cache lines are read, and every output's row is written in order.
template <class T>
void gather_slabs(const T* sums, int64_t slabs, int64_t groups, int64_t taps, int64_t in, int64_t out, T* grad_w) {
  constexpr int64_t kTogether = 16;
  const int64_t size = groups * taps * in * out, blocks = chunk_count(out, kTogether);
  parallel_for(groups * blocks, [&](int64_t chunk) {
    const int64_t h = chunk / blocks, o = chunk % blocks * kTogether, n = std::min(kTogether, out - o);
    T* to = grad_w + (h * out + o) * in * taps;
    for (int64_t i = 0; i < in; ++i)
      for (int64_t t = 0; t < taps; ++t) {
        const T* from = sums + ((h * taps + t) * in + i) * out + o;
        T total[kTogether] = {};
        for (int64_t s = 0; s < slabs; ++s)
          for (int64_t j = 0; j < n; ++j) total[j] += from[s * size + j];
        for (int64_t j = 0; j < n; ++j) to[(j * in + i) * taps + t] = total[j];
      }
  });
}

}  // namespace

void conv_weight_grad(DType dtype, const ConvGeometry& g, const ConvImage& x, const ConvImage& grad_y, void* grad_w) {
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
              loop::conv_depthwise_weights(dtype, g.out[2], g.c_in, taps, offset(window.data, lines[i], item), x_step,
                                           entries.entries.data(), offset(grads.data, grad_lines[i], item),
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
                  loop::gemm_pack(dtype, offset(grad_y.data, grad_lines[size_t(first + i)] + h * out * grad_y.c, item),
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
              loop::gemm_tile(dtype, tile);
            }
          }
        }
  });

  // Depthwise sums are (tap, channel): one group whose outputs are the channels.
  const int64_t used = chunk_count(g.n, group), sets = depthwise ? 1 : g.groups;
  const int64_t inner = depthwise ? 1 : c, outer = depthwise ? g.c_in : out;
  if (dtype == DType::F32)
    gather_slabs(sums.data<float>(), used, sets, taps, inner, outer, static_cast<float*>(grad_w));
  else
    gather_slabs(sums.data<double>(), used, sets, taps, inner, outer, static_cast<double*>(grad_w));
}

}  // namespace lamina::cpu
