// Batch, group and instance norm: sums over (batch, channel) pieces, maps with coefficients per channel, and the small
// arrays in between (kernel/norm.h says what each computes). Channels-first pieces are runs of memory for a warp or a
// block; of channels-last memory a thread has V channels and every so-many-th row. Sums are taken of distances from the
// piece's first element, or from the mean, so that one pass keeps the digits; pieces are merged in double.
#pragma once
#include "cuda/kernels/rows.cuh"
#include "math/functions.h"

namespace lamina::cuda {

// What a piece adds up to: (mean, sum of squared distances), or two plain sums.
struct ChannelTotal {
  double count, first, second;
  LM_DEVICE static ChannelTotal none() { return {0, 0, 0}; }
};
struct MergeMoments {  // Chan, Golub, LeVeque, 1979
  LM_DEVICE ChannelTotal operator()(const ChannelTotal& a, const ChannelTotal& b) const {
    const double count = a.count + b.count;
    if (count == 0) return a;
    const double distance = b.first - a.first, share = b.count / count;
    return {count, a.first + distance * share, a.second + b.second + distance * distance * a.count * share};
  }
};
struct AddTotals {
  LM_DEVICE ChannelTotal operator()(const ChannelTotal& a, const ChannelTotal& b) const {
    return {a.count + b.count, a.first + b.first, a.second + b.second};
  }
};

// A thread's share of a piece. kGrad: sums of g and g (x - origin), origin being the mean; else moments.
template <class T, bool kGrad>
struct ChannelSum {
  using Merge = MergeMoments;
  T origin, first, second;
  int count;
  LM_DEVICE void start(T) { origin = first = second = T(0), count = 0; }
  LM_DEVICE void add(T x, T) {
    if (count++ == 0) origin = x;
    const T d = x - origin;
    first += d;
    second += d * d;
  }
  // A sum of n distances from one of n elements loses at most a factor of n.
  LM_DEVICE ChannelTotal total() const {
    if (count == 0) return ChannelTotal::none();
    const T average = first / T(count), m2 = second - first * average;
    return {double(count), double(origin) + double(average), m2 < T(0) ? 0.0 : double(m2)};
  }
};
template <class T>
struct ChannelSum<T, true> {
  using Merge = AddTotals;
  T origin, first, second;
  LM_DEVICE void start(T mean) { origin = mean, first = second = T(0); }
  LM_DEVICE void add(T x, T g) {
    first += g;
    second += g * (x - origin);
  }
  LM_DEVICE ChannelTotal total() const { return {0, double(first), double(second)}; }
};

template <class T>
struct ChannelInput {
  int64_t batches, channels, inner, rows, step;  // as Channels
  const T *x, *g, *mean;                         // g and mean: null for moments
};
struct ChannelOutput {
  double *first, *second;  // (batches, channels)
};

// Channels-first: a group of threads per (batch, channel).
template <class T, int V, int kThreads, bool kGrad>
__global__ void __launch_bounds__(kRowBlock<kThreads>, kMinBlocks<kThreads>)
    channel_plane_sums_kernel(const ChannelInput<T> in, const ChannelOutput out) {
  using Sum = ChannelSum<T, kGrad>;
  LM_SHARED(ChannelTotal, scratch, [32]);
  const int64_t plane = row_of_thread<kThreads>();
  if (plane >= in.batches * in.channels) return;
  Sum sum;
  sum.start(kGrad ? in.mean[plane / in.channels * in.step + plane % in.channels] : T(0));
  for_packs<V, kThreads>(in.x + plane * in.inner, in.inner, [&](const Pack<T, V>& p, int64_t at) {
    Pack<T, V> g = p;
    if constexpr (kGrad) g = load_pack<V>(in.g + plane * in.inner + at);
#pragma unroll
    for (int v = 0; v < V; ++v) sum.add(p[v], g[v]);
  });
  const ChannelTotal total = row_reduce<kThreads>(sum.total(), ChannelTotal::none(), typename Sum::Merge(), scratch);
  if (int(threadIdx.x) % kThreads != 0) return;
  out.first[plane] = total.first;
  out.second[plane] = total.second;
}

constexpr int kChannelThreads = 256;

// Channels-last: block (batch, strip of channels); `lanes` threads side by side (a power of two) have V channels each.
template <class T, int V, bool kGrad>
__global__ void __launch_bounds__(kChannelThreads, 2)
    channel_last_sums_kernel(const ChannelInput<T> in, int lanes, const ChannelOutput out) {
  using Sum = ChannelSum<T, kGrad>;
  LM_SHARED(ChannelTotal, scratch, [kChannelThreads]);
  const int lane = int(threadIdx.x) % lanes, slice = int(threadIdx.x) / lanes, slices = kChannelThreads / lanes;
  const int64_t batch = blockIdx.x, channel = (int64_t(blockIdx.y) * lanes + lane) * V, c = in.channels;
  const int64_t first = batch * in.inner, last = first + in.inner < in.rows ? first + in.inner : in.rows;
  Sum sum[V];
#pragma unroll
  for (int v = 0; v < V; ++v) sum[v].start(kGrad && channel < c ? in.mean[batch * in.step + channel + v] : T(0));
  if (channel < c) {
#pragma unroll 4
    for (int64_t row = first + slice; row < last; row += slices) {
      const Pack<T, V> x = load_pack<V>(in.x + row * c + channel);
      Pack<T, V> g = x;
      if constexpr (kGrad) g = load_pack<V>(in.g + row * c + channel);
#pragma unroll
      for (int v = 0; v < V; ++v) sum[v].add(x[v], g[v]);
    }
  }
#pragma unroll
  for (int v = 0; v < V; ++v) {
    // Halves onto halves: a tree of fixed shape.
    __syncthreads();
    scratch[int(threadIdx.x)] = sum[v].total();
    for (int half = slices / 2; half > 0; half /= 2) {
      __syncthreads();
      if (slice < half) {
        const ChannelTotal a = scratch[int(threadIdx.x)], b = scratch[int(threadIdx.x) + half * lanes];
        scratch[int(threadIdx.x)] = typename Sum::Merge()(a, b);
      }
    }
    if (slice == 0 && channel < c) {
      const ChannelTotal total = scratch[int(threadIdx.x)];
      out.first[batch * c + channel + v] = total.first;
      out.second[batch * c + channel + v] = total.second;
    }
  }
}

// y = (x - c0) c1 + c2, or, with a gradient, g c1 + ((x - c0) c2 + c3).
template <class T>
struct ChannelMap {
  const T *x, *g, *coefficient[4];
  T* y;

  template <bool kGrad, int V>
  LM_DEVICE void apply(int64_t at, const Pack<T, V> (&c)[4]) const {
    Pack<T, V> p = load_pack<V>(x + at), q = p;
    if constexpr (kGrad) q = load_pack<V>(g + at);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const T d = p[v] - c[0][v];
      p[v] = kGrad ? q[v] * c[1][v] + (d * c[2][v] + c[3][v]) : d * c[1][v] + c[2][v];
    }
    store_pack(y + at, p);
  }
};

// Channels-first: a group of threads has `span` elements of a (batch, channel).
template <class T, int V, int kThreads, bool kGrad>
__global__ void __launch_bounds__(kRowBlock<kThreads>, kMinBlocks<kThreads>)
    channel_plane_map_kernel(const ChannelInput<T> in, int64_t span, const ChannelMap<T> map) {
  const int64_t spans = (in.inner + span - 1) / span, unit = row_of_thread<kThreads>(), plane = unit / spans;
  if (plane >= in.batches * in.channels) return;
  const int64_t begin = unit % spans * span, end = begin + span < in.inner ? begin + span : in.inner;
  Pack<T, V> c[4];
#pragma unroll
  for (int i = 0; i < (kGrad ? 4 : 3); ++i) {
    const T value = map.coefficient[i][plane / in.channels * in.step + plane % in.channels];
#pragma unroll
    for (int v = 0; v < V; ++v) c[i][v] = value;
  }
#pragma unroll 4
  for (int64_t at = begin + int64_t(int(threadIdx.x) % kThreads) * V; at < end; at += kThreads * V)
    map.template apply<kGrad, V>(plane * in.inner + at, c);
}

// Channels-last: block (`span` rows of one batch, strip of channels), laid out as channel_last_sums_kernel.
template <class T, int V, bool kGrad>
__global__ void __launch_bounds__(kChannelThreads, 2)
    channel_last_map_kernel(const ChannelInput<T> in, int span, unsigned spans, int lanes, const ChannelMap<T> map) {
  const int lane = int(threadIdx.x) % lanes, slice = int(threadIdx.x) / lanes, slices = kChannelThreads / lanes;
  const int64_t batch = blockIdx.x / spans;
  const int64_t channel = (int64_t(blockIdx.y) * lanes + lane) * V;
  if (channel >= in.channels) return;
  const int64_t begin = batch * in.inner + int64_t(blockIdx.x % spans) * span, batch_end = (batch + 1) * in.inner;
  int64_t end = begin + span < batch_end ? begin + span : batch_end;
  if (end > in.rows) end = in.rows;
  Pack<T, V> c[4];
#pragma unroll
  for (int i = 0; i < (kGrad ? 4 : 3); ++i) c[i] = load_pack<V>(map.coefficient[i] + batch * in.step + channel);
#pragma unroll 4
  for (int64_t row = begin + slice; row < end; row += slices)
    map.template apply<kGrad, V>(row * in.channels + channel, c);
}

// --- the few numbers per channel ---

// A warp for each of `count` things: its number, and the lane. Whole warps lie behind the end.
LM_DEVICE int64_t warp_of_thread() { return (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) / 32; }
LM_DEVICE int lane_of_thread() { return int(threadIdx.x) % 32; }

template <class T>
LM_DEVICE void store_constants(double mean, double var, double eps, T* mean_out, T* rstd_out) {
  *mean_out = T(mean);
  *rstd_out = T(1 / sqrt(var + eps));
}

// The last batch may have fewer elements (channels-last only: `rows` of all batches).
LM_DEVICE double piece_count(int64_t batch, int64_t inner, int64_t rows, bool last) {
  return double(last && rows - batch * inner < inner ? rows - batch * inner : inner);
}

template <class T>
__global__ void __launch_bounds__(128, 2)
    batch_statistics_kernel(const ChannelInput<T> in, bool last, const double* mean, const double* m2, double eps,
                            double* total, T* mean_out, T* rstd_out) {
  const int64_t c = warp_of_thread();
  if (c >= in.channels) return;
  ChannelTotal sum = ChannelTotal::none();
  for (int64_t b = lane_of_thread(); b < in.batches; b += 32) {
    const int64_t i = b * in.channels + c;
    sum = MergeMoments()(sum, ChannelTotal{piece_count(b, in.inner, in.rows, last), mean[i], m2[i]});
  }
  sum = warp_reduce(sum, MergeMoments());
  if (lane_of_thread() != 0) return;
  total[c] = sum.first;
  total[in.channels + c] = sum.second / (sum.count - 1);
  store_constants(sum.first, sum.second / sum.count, eps, mean_out + c, rstd_out + c);
}

template <class T>
__global__ void __launch_bounds__(128, 2)
    batch_constants_kernel(int64_t channels, const double* mean, const double* var, double eps, T* mean_out,
                           T* rstd_out) {
  const int64_t c = int64_t(blockIdx.x) * 128 + threadIdx.x;
  if (c < channels) store_constants(mean[c], var[c], eps, mean_out + c, rstd_out + c);
}

// n: elements per channel, infinite in evaluation, where the statistics are constants.
template <class T>
__global__ void __launch_bounds__(128, 2)
    batch_grad_kernel(int64_t batches, int64_t channels, double n, const double* sum_g, const double* sum_gx,
                      const T* rstd, const T* weight, T* coefficients, T* grad_weight, T* grad_bias) {
  const int64_t c = warp_of_thread();
  if (c >= channels) return;
  ChannelTotal sum = ChannelTotal::none();
  for (int64_t b = lane_of_thread(); sum_g && b < batches; b += 32)
    sum = AddTotals()(sum, ChannelTotal{0, sum_g[b * channels + c], sum_gx[b * channels + c]});
  sum = warp_reduce(sum, AddTotals());
  if (lane_of_thread() != 0) return;
  const double r = double(rstd[c]), rw = r * (weight ? double(weight[c]) : 1);
  coefficients[c] = T(rw);
  coefficients[channels + c] = T(-rw * r * r * sum.second / n);
  coefficients[2 * channels + c] = T(-rw * sum.first / n);
  grad_weight[c] = T(sum.second * r);
  grad_bias[c] = T(sum.first);
}

template <class T>
struct GroupCall {
  int64_t batches, channels, inner, groups;
  const double *first, *second;  // (batches, channels)
  const T *weight, *bias;        // (channels,) or null
  T *rstd, *mean;                // (batches, groups), (batches, channels)
  T* coefficients;               // (2 or 3, batches, channels)
};

template <class T>
__global__ void __launch_bounds__(128, 2) group_statistics_kernel(const GroupCall<T> op, double eps) {
  const int64_t group = warp_of_thread(), each = op.channels / op.groups, all = op.batches * op.channels;
  if (group >= op.batches * op.groups) return;
  ChannelTotal sum = ChannelTotal::none();
  for (int64_t i = group * each + lane_of_thread(); i < (group + 1) * each; i += 32)
    sum = MergeMoments()(sum, ChannelTotal{double(op.inner), op.first[i], op.second[i]});
  sum = warp_reduce(sum, MergeMoments());
  const double r = 1 / sqrt(sum.second / sum.count + eps);
  if (lane_of_thread() == 0) op.rstd[group] = T(r);
  for (int64_t i = group * each + lane_of_thread(); i < (group + 1) * each; i += 32) {
    const int64_t c = i % op.channels;
    op.mean[i] = T(sum.first);
    op.coefficients[i] = T(r * (op.weight ? double(op.weight[c]) : 1));
    op.coefficients[all + i] = op.bias ? op.bias[c] : T(0);
  }
}

template <class T>
__global__ void __launch_bounds__(128, 2) group_grad_kernel(const GroupCall<T> op) {
  const int64_t group = warp_of_thread(), each = op.channels / op.groups, all = op.batches * op.channels;
  if (group >= op.batches * op.groups) return;
  const double r = double(op.rstd[group]), n = double(each * op.inner);
  ChannelTotal sum = ChannelTotal::none();
  for (int64_t i = group * each + lane_of_thread(); i < (group + 1) * each; i += 32) {
    const double w = op.weight ? double(op.weight[i % op.channels]) : 1;
    sum = AddTotals()(sum, ChannelTotal{0, w * op.first[i], w * op.second[i]});
    op.coefficients[i] = T(r * w);
  }
  sum = warp_reduce(sum, AddTotals());
  for (int64_t i = group * each + lane_of_thread(); i < (group + 1) * each; i += 32) {
    op.coefficients[all + i] = T(-r * r * r * sum.second / n);
    op.coefficients[2 * all + i] = T(-r * sum.first / n);
  }
}

template <class T>
__global__ void __launch_bounds__(128, 2) group_parameters_kernel(const GroupCall<T> op, T* grad_weight, T* grad_bias) {
  const int64_t c = warp_of_thread(), each = op.channels / op.groups;
  if (c >= op.channels) return;
  ChannelTotal sum = ChannelTotal::none();
  for (int64_t b = lane_of_thread(); b < op.batches; b += 32) {
    const int64_t i = b * op.channels + c;
    sum = AddTotals()(sum, ChannelTotal{0, op.first[i], double(op.rstd[i / each]) * op.second[i]});
  }
  sum = warp_reduce(sum, AddTotals());
  if (lane_of_thread() != 0) return;
  grad_weight[c] = T(sum.second);
  grad_bias[c] = T(sum.first);
}

// Averages over batches: of `mean`, and of m2 / (inner - 1).
template <class T>
__global__ void __launch_bounds__(128, 2)
    instance_statistics_kernel(const ChannelInput<T> in, const double* mean, const double* m2, double* total) {
  const int64_t batches = in.batches, channels = in.channels;
  const double below = double(in.inner - 1);
  const int64_t c = warp_of_thread();
  if (c >= channels) return;
  ChannelTotal sum = ChannelTotal::none();
  for (int64_t b = lane_of_thread(); b < batches; b += 32)
    sum = AddTotals()(sum, ChannelTotal{0, mean[b * channels + c], m2[b * channels + c] / below});
  sum = warp_reduce(sum, AddTotals());
  if (lane_of_thread() != 0) return;
  total[c] = sum.first / double(batches);
  total[channels + c] = sum.second / double(batches);
}

template <class T>
__global__ void __launch_bounds__(128, 2)
    update_running_kernel(int64_t n, double momentum, const double* __restrict__ values, T* __restrict__ running) {
  const int64_t i = int64_t(blockIdx.x) * 128 + threadIdx.x;
  if (i < n) running[i] = T(momentum * values[i] + (1 - momentum) * double(running[i]));
}

}  // namespace lamina::cuda
