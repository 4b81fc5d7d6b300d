// Launchers of the batch, group and instance norms in kernel/norm.h.
#include <cmath>

#include "cuda/kernels/channel_norm.cuh"
#include "cuda/rows.h"
#include "kernel/norm.h"

namespace lamina::cuda {
namespace {

constexpr int64_t kWarpPlane = 1024;  // elements of a (batch, channel) that a warp takes
constexpr int64_t kSpan = 8192;       // elements a block maps

template <class T>
ChannelInput<T> input_of(const Channels& l, const void* x, const void* g, const void* mean) {
  return {l.batches,
          l.channels,
          l.inner,
          l.last ? l.rows : l.batches * l.inner,
          l.step,
          static_cast<const T*>(x),
          static_cast<const T*>(g),
          static_cast<const T*>(mean)};
}

// Threads side by side over `width` packs of channels: a power of two up to a warp.
int lanes_for(int64_t width) {
  int lanes = 1;
  while (lanes < 32 && lanes < width) lanes *= 2;
  return lanes;
}

template <bool kGrad>
void channel_sums(Stream stream, const Channels& l, const void* x, const void* g, const void* mean,
                  const ChannelOutput& out) {
  dispatch_item(l.item, [&]<class T>() {
    const ChannelInput<T> in = input_of<T>(l, x, g, mean);
    dispatch_pack<T>(rows_aligned<T>(l.last ? l.channels : l.inner, {x, g}), [&]<int V>() {
      const int64_t planes = l.batches * l.channels, width = (l.channels + V - 1) / V;
      const int lanes = lanes_for(width);
      if (l.last)
        launch(channel_last_sums_kernel<T, V, kGrad>, dim3(unsigned(l.batches), blocks_for(width, lanes)),
               kChannelThreads, 0, stream, in, lanes, out);
      else if (l.inner <= kWarpPlane)
        launch(channel_plane_sums_kernel<T, V, 32, kGrad>, row_blocks<32>(planes), kRowBlock<32>, 0, stream, in, out);
      else
        launch(channel_plane_sums_kernel<T, V, 512, kGrad>, row_blocks<512>(planes), 512, 0, stream, in, out);
    });
  });
}

template <bool kGrad, class T>
void channel_map(Stream stream, const Channels& l, const ChannelMap<T>& map) {
  const ChannelInput<T> in = input_of<T>(l, map.x, map.g, nullptr);
  const void *a = map.coefficient[0], *b = map.coefficient[1], *c = map.coefficient[2], *d = map.coefficient[3];
  // Channels-last coefficients are read in packs, too.
  const bool aligned = rows_aligned<T>(l.last ? l.channels : l.inner, {map.x, map.g, map.y}) &&
                       (!l.last || rows_aligned<T>(l.channels, {a, b, c, d}));
  dispatch_pack<T>(aligned, [&]<int V>() {
    if (l.last) {
      const int64_t width = (l.channels + V - 1) / V;
      const int lanes = lanes_for(width), span = int(std::max<int64_t>(1, kSpan / std::max<int64_t>(l.channels, 1)));
      const unsigned spans = blocks_for(l.inner, span);
      launch(channel_last_map_kernel<T, V, kGrad>, dim3(unsigned(l.batches * spans), blocks_for(width, lanes)),
             kChannelThreads, 0, stream, in, span, spans, lanes, map);
    } else if (l.inner <= kWarpPlane) {
      launch(channel_plane_map_kernel<T, V, 32, kGrad>, row_blocks<32>(l.inner ? l.batches * l.channels : 0),
             kRowBlock<32>, 0, stream, in, kWarpPlane, map);
    } else {
      const int64_t spans = (l.inner + kSpan - 1) / kSpan;
      launch(channel_plane_map_kernel<T, V, 256, kGrad>, row_blocks<256>(l.batches * l.channels * spans), 256, 0,
             stream, in, kSpan, map);
    }
  });
}

unsigned warp_blocks(int64_t warps) { return blocks_for(warps, 4); }

template <class T>
GroupCall<T> group_call(const Channels& l, int64_t groups, const double* first, const double* second,
                        const void* weight, const void* bias, void* rstd, void* mean, void* coefficients) {
  return {l.batches,
          l.channels,
          l.inner,
          groups,
          first,
          second,
          static_cast<const T*>(weight),
          static_cast<const T*>(bias),
          static_cast<T*>(rstd),
          static_cast<T*>(mean),
          static_cast<T*>(coefficients)};
}

}  // namespace

void channel_moments(Stream stream, const Channels& l, const void* x, double* mean, double* m2) {
  channel_sums<false>(stream, l, x, nullptr, nullptr, {mean, m2});
}

void channel_grad_sums(Stream stream, const Channels& l, const void* x, const void* g, const void* mean, double* sum_g,
                       double* sum_gx) {
  channel_sums<true>(stream, l, x, g, mean, {sum_g, sum_gx});
}

void channel_affine(Stream stream, const Channels& l, const void* x, const void* mean, const void* scale,
                    const void* shift, void* y) {
  dispatch_item(l.item, [&]<class T>() {
    const auto at = [](const void* p) { return static_cast<const T*>(p); };
    channel_map<false, T>(stream, l, {at(x), nullptr, {at(mean), at(scale), at(shift), nullptr}, static_cast<T*>(y)});
  });
}

void channel_grad(Stream stream, const Channels& l, const void* x, const void* g, const void* mean, const void* a,
                  const void* b, const void* d, void* grad_x) {
  dispatch_item(l.item, [&]<class T>() {
    const auto at = [](const void* p) { return static_cast<const T*>(p); };
    channel_map<true, T>(stream, l, {at(x), at(g), {at(mean), at(a), at(b), at(d)}, static_cast<T*>(grad_x)});
  });
}

void batch_norm_statistics(Stream stream, const Channels& l, const double* mean, const double* m2, double eps,
                           double* total, void* mean_out, void* rstd_out) {
  dispatch_item(l.item, [&]<class T>() {
    launch(batch_statistics_kernel<T>, warp_blocks(l.channels), 128, 0, stream,
           input_of<T>(l, nullptr, nullptr, nullptr), l.last, mean, m2, eps, total, static_cast<T*>(mean_out),
           static_cast<T*>(rstd_out));
  });
}

void batch_norm_constants(Stream stream, int64_t item, int64_t channels, const double* mean, const double* var,
                          double eps, void* mean_out, void* rstd_out) {
  dispatch_item(item, [&]<class T>() {
    launch(batch_constants_kernel<T>, blocks_for(channels, 128), 128, 0, stream, channels, mean, var, eps,
           static_cast<T*>(mean_out), static_cast<T*>(rstd_out));
  });
}

void batch_norm_grad(Stream stream, const Channels& l, const double* sum_g, const double* sum_gx, const void* rstd,
                     const void* weight, bool training, void* coefficients, void* grad_weight, void* grad_bias) {
  dispatch_item(l.item, [&]<class T>() {
    launch(batch_grad_kernel<T>, warp_blocks(l.channels), 128, 0, stream, l.batches, l.channels,
           training ? double(l.rows) : double(INFINITY), sum_g, sum_gx, static_cast<const T*>(rstd),
           static_cast<const T*>(weight), static_cast<T*>(coefficients), static_cast<T*>(grad_weight),
           static_cast<T*>(grad_bias));
  });
}

void group_norm_statistics(Stream stream, const Channels& l, int64_t groups, const double* mean, const double* m2,
                           double eps, const void* weight, const void* bias, void* rstd, void* mean_out,
                           void* coefficients) {
  dispatch_item(l.item, [&]<class T>() {
    launch(group_statistics_kernel<T>, warp_blocks(l.batches * groups), 128, 0, stream,
           group_call<T>(l, groups, mean, m2, weight, bias, rstd, mean_out, coefficients), eps);
  });
}

void group_norm_grad(Stream stream, const Channels& l, int64_t groups, const double* sum_g, const double* sum_gx,
                     const void* rstd, const void* weight, void* coefficients, void* grad_weight, void* grad_bias) {
  dispatch_item(l.item, [&]<class T>() {
    const GroupCall<T> call =
        group_call<T>(l, groups, sum_g, sum_gx, weight, nullptr, const_cast<void*>(rstd), nullptr, coefficients);
    launch(group_grad_kernel<T>, warp_blocks(l.batches * groups), 128, 0, stream, call);
    launch(group_parameters_kernel<T>, warp_blocks(l.channels), 128, 0, stream, call, static_cast<T*>(grad_weight),
           static_cast<T*>(grad_bias));
  });
}

void instance_norm_statistics(Stream stream, const Channels& l, const double* mean, const double* m2, double* total) {
  dispatch_item(l.item, [&]<class T>() {
    launch(instance_statistics_kernel<T>, warp_blocks(l.channels), 128, 0, stream,
           input_of<T>(l, nullptr, nullptr, nullptr), mean, m2, total);
  });
}

void update_running(Stream stream, int64_t item, int64_t n, double momentum, const double* values, void* running) {
  dispatch_item(item, [&]<class T>() {
    launch(update_running_kernel<T>, blocks_for(n, 128), 128, 0, stream, n, momentum, values, static_cast<T*>(running));
  });
}

}  // namespace lamina::cuda
