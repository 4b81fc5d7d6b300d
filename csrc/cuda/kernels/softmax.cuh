// Softmax and cross-entropy. Rows that fit are kept in registers: one pass over memory (rows.cuh). Longer rows, and
// cross-entropy, which needs a row's elements once only, carry (maximum, sum of exponentials) along: "online" softmax,
// Milakov & Gimelshein 2018. Columns (a dimension that is not the last) are read 32 side by side.
#pragma once
#include "cuda/kernels/report.cuh"
#include "cuda/kernels/rows.cuh"
#include "math/functions.h"

namespace lamina::cuda {

// sum of exp(x - top). The smallest number stands for no elements: exp(x - top) is then defined for x = -inf, too.
template <class T>
struct SumExp {
  T top, sum;

  LM_DEVICE static SumExp none() { return {sizeof(T) == 4 ? T(-3.402823466e38) : T(-1.7976931348623157e308), T(0)}; }
  // A NaN is not found by the maximum but makes the sum NaN, and with it the whole row, as it should; so does an
  // infinite maximum.
  LM_DEVICE void finish() { sum += top - top; }
  LM_DEVICE T log_sum() const { return math::log(sum); }
};
struct MergeSumExp {
  template <class T>
  LM_DEVICE SumExp<T> operator()(const SumExp<T>& a, const SumExp<T>& b) const {
    const T top = a.top > b.top ? a.top : b.top;
    return {top, a.sum * math::exp(a.top - top) + b.sum * math::exp(b.top - top)};
  }
};
// Several elements together, so that the sum is rescaled once for all of them.
template <class T, int N>
LM_DEVICE void add_values(SumExp<T>& s, const Pack<T, N>& x) {
  T top = s.top;
#pragma unroll
  for (int i = 0; i < N; ++i) top = x[i] > top ? x[i] : top;
  T sum = s.sum * math::exp(s.top - top);
#pragma unroll
  for (int i = 0; i < N; ++i) sum += math::exp(x[i] - top);
  s = {top, sum};
}

// Of a whole row, by the threads of a group; the result is in all of them.
template <int V, int kThreads, class T>
LM_DEVICE SumExp<T> row_sum_exp(const T* row, int64_t n, Shared<SumExp<T>> scratch) {
  SumExp<T> s = SumExp<T>::none();
  for_packs<V, kThreads>(row, n, [&](const Pack<T, V>& x, int64_t) { add_values(s, x); });
  s = row_reduce<kThreads>(s, SumExp<T>::none(), MergeSumExp(), scratch);
  s.finish();
  return s;
}

// y from x: log_softmax by two subtractions, as top + log(sum) would round away the digits of the logarithm.
template <class T>
LM_DEVICE T softmax_value(T x, T top, T last, bool log) {
  return log ? (x - top) - last : math::exp(x - top) * last;
}

template <class T, int V, int kThreads, int kPacks>
__global__ void __launch_bounds__(kRowBlock<kThreads>, kMinBlocks<kThreads>)
    softmax_row_kernel(const T* __restrict__ x, T* __restrict__ y, int64_t rows, int n, bool log) {
  LM_SHARED(T, scratch, [32]);
  const int64_t row = row_of_thread<kThreads>();
  if (row >= rows) return;
  RowCache<T, V, kThreads, kPacks> cache;
  cache.load(x + row * n, n, -math::inf<T>());
  T top = -math::inf<T>(), sum = T(0);
  cache.each([&](int i, int v) { top = Max()(top, cache.pack[i][v]); });
  top = row_reduce<kThreads>(top, -math::inf<T>(), Max(), scratch);
  cache.each([&](int i, int v) {
    const T e = math::exp(cache.pack[i][v] - top);
    sum += e;
    cache.pack[i][v] = log ? cache.pack[i][v] : e;
  });
  sum = row_reduce<kThreads>(sum, T(0), Add(), scratch);
  const T last = log ? math::log(sum) : T(1) / sum;
  cache.each([&](int i, int v) { cache.pack[i][v] = log ? (cache.pack[i][v] - top) - last : cache.pack[i][v] * last; });
  cache.store(y + row * n, n);
}

// Rows beyond the registers of a block: two passes.
template <class T, int V, int kThreads>
__global__ void __launch_bounds__(kThreads, 1)
    softmax_long_kernel(const T* __restrict__ x, T* __restrict__ y, int64_t n, bool log) {
  LM_SHARED(SumExp<T>, scratch, [32]);
  const T* from = x + blockIdx.x * n;
  T* to = y + blockIdx.x * n;
  const SumExp<T> s = row_sum_exp<V, kThreads>(from, n, scratch);
  const T last = log ? s.log_sum() : T(1) / s.sum;
  for_packs<V, kThreads>(from, n, [&](Pack<T, V> p, int64_t at) {
#pragma unroll
    for (int v = 0; v < V; ++v) p[v] = softmax_value(p[v], s.top, last, log);
    store_pack(to + at, p);
  });
}

// softmax: g_x = y (g - sum(g y)).   log_softmax: g_x = g - e^y sum(g).
template <class T>
LM_DEVICE T softmax_grad_value(T y, T g, T sum, bool log) {
  return log ? g - math::exp(y) * sum : (g - sum) * y;
}

template <class T, int V, int kThreads, int kPacks>
__global__ void __launch_bounds__(kRowBlock<kThreads>, kMinBlocks<kThreads>)
    softmax_grad_row_kernel(const T* __restrict__ y, const T* __restrict__ grad, T* __restrict__ grad_x, int64_t rows,
                            int n, bool log) {
  LM_SHARED(T, scratch, [32]);
  const int64_t row = row_of_thread<kThreads>();
  if (row >= rows) return;
  RowCache<T, V, kThreads, kPacks> out, g;
  out.load(y + row * n, n, T(0));
  g.load(grad + row * n, n, T(0));
  T sum = T(0);
  out.each([&](int i, int v) { sum += log ? g.pack[i][v] : g.pack[i][v] * out.pack[i][v]; });
  sum = row_reduce<kThreads>(sum, T(0), Add(), scratch);
  out.each([&](int i, int v) { g.pack[i][v] = softmax_grad_value(out.pack[i][v], g.pack[i][v], sum, log); });
  g.store(grad_x + row * n, n);
}

template <class T, int V, int kThreads>
__global__ void __launch_bounds__(kThreads, 1)
    softmax_grad_long_kernel(const T* __restrict__ y, const T* __restrict__ grad, T* __restrict__ grad_x, int64_t n,
                             bool log) {
  LM_SHARED(T, scratch, [32]);
  const T *out = y + blockIdx.x * n, *from = grad + blockIdx.x * n;
  T *to = grad_x + blockIdx.x * n, sum = T(0);
  for_packs<V, kThreads>(from, n, [&](const Pack<T, V>& g, int64_t at) {
    const Pack<T, V> p = load_pack<V>(out + at);
#pragma unroll
    for (int v = 0; v < V; ++v) sum += log ? g[v] : g[v] * p[v];
  });
  sum = block_reduce(sum, T(0), Add(), scratch);
  for_packs<V, kThreads>(from, n, [&](Pack<T, V> g, int64_t at) {
    const Pack<T, V> p = load_pack<V>(out + at);
#pragma unroll
    for (int v = 0; v < V; ++v) g[v] = softmax_grad_value(p[v], g[v], sum, log);
    store_pack(to + at, g);
  });
}

// (outer, n, inner): a thread has every kSlices-th element of one of 32 neighbouring columns.
template <class T>
__global__ void __launch_bounds__(32 * kSlices, 2)
    softmax_columns_kernel(const T* __restrict__ x, T* __restrict__ y, int64_t columns, int64_t n, int64_t inner,
                           bool log) {
  LM_SHARED(SumExp<T>, scratch, [32 * kSlices]);
  constexpr int kBatch = 4;
  const int64_t column = int64_t(blockIdx.x) * 32 + threadIdx.x;
  const int64_t start = column / inner * n * inner + column % inner, count = column < columns ? n : 0;
  SumExp<T> s = SumExp<T>::none();
  for (int64_t first = threadIdx.y; first < count; first += kSlices * kBatch) {
    Pack<T, kBatch> batch;
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int64_t j = first + i * kSlices;
      batch[i] = j < count ? x[start + j * inner] : -math::inf<T>();
    }
    add_values(s, batch);
  }
  s = slices_reduce(s, MergeSumExp(), scratch);
  s.finish();
  const T last = log ? s.log_sum() : T(1) / s.sum;
  for (int64_t j = threadIdx.y; j < count; j += kSlices)
    y[start + j * inner] = softmax_value(x[start + j * inner], s.top, last, log);
}

template <class T>
__global__ void __launch_bounds__(32 * kSlices, 2)
    softmax_grad_columns_kernel(const T* __restrict__ y, const T* __restrict__ grad, T* __restrict__ grad_x,
                                int64_t columns, int64_t n, int64_t inner, bool log) {
  LM_SHARED(T, scratch, [32 * kSlices]);
  const int64_t column = int64_t(blockIdx.x) * 32 + threadIdx.x;
  const int64_t start = column / inner * n * inner + column % inner, count = column < columns ? n : 0;
  T sum = T(0);
#pragma unroll 4
  for (int64_t j = threadIdx.y; j < count; j += kSlices) {
    const int64_t i = start + j * inner;
    sum += log ? grad[i] : grad[i] * y[i];
  }
  sum = slices_reduce(sum, Add(), scratch);
  for (int64_t j = threadIdx.y; j < count; j += kSlices) {
    const int64_t i = start + j * inner;
    grad_x[i] = softmax_grad_value(y[i], grad[i], sum, log);
  }
}

// --- cross-entropy: kernel/softmax.h has the formulas ---

template <class T>
struct CrossEntropyRows {
  int64_t rows, n;
  const T* x;
  const int64_t* target;
  const T* weight;
  int64_t ignore;
  T smooth;
  T* lse;
  const double* divisor;

  LM_DEVICE bool counts(int64_t t) const { return t != ignore && t >= 0 && t < n; }
};

template <int V, int kThreads, class T>
LM_DEVICE T row_sum(const T* row, int64_t n, Shared<T> scratch) {
  T sum = T(0);
  for_packs<V, kThreads>(row, n, [&](const Pack<T, V>& p, int64_t) {
#pragma unroll
    for (int v = 0; v < V; ++v) sum += p[v];
  });
  return row_reduce<kThreads>(sum, T(0), Add(), scratch);
}

// Targets were not looked at by the host: one that is out of range counts as an ignored one.
template <class T, int V, int kThreads>
__global__ void __launch_bounds__(kRowBlock<kThreads>, kMinBlocks<kThreads>)
    cross_entropy_kernel(const CrossEntropyRows<T> op, T* __restrict__ loss, const __grid_constant__ Reporter report) {
  LM_SHARED(SumExp<T>, merged, [32]);
  LM_SHARED(T, scratch, [32]);
  const int64_t i = row_of_thread<kThreads>(), n = op.n;
  if (i >= op.rows) return;
  const T *x = op.x + i * n, *w = op.weight;
  const SumExp<T> s = row_sum_exp<V, kThreads>(x, n, merged);
  const T rest = s.log_sum();
  T total = T(n), dot = T(0);
  if (op.smooth > T(0)) {
    if (w) total = row_sum<V, kThreads>(w, n, scratch);
    for_packs<V, kThreads>(x, n, [&](const Pack<T, V>& p, int64_t at) {
      Pack<T, V> factor;
      if (w) factor = load_pack<V>(w + at);
#pragma unroll
      for (int v = 0; v < V; ++v) dot += w ? p[v] * factor[v] : p[v];
    });
    dot = row_reduce<kThreads>(dot, T(0), Add(), scratch);
  }
  if (int(threadIdx.x) % kThreads != 0) return;
  op.lse[i] = s.top + rest;
  const int64_t t = op.target[i];
  T y = T(0);
  if (op.counts(t)) {
    y = (T(1) - op.smooth) * (w ? w[t] : T(1)) * ((s.top - x[t]) + rest);
    if (op.smooth > T(0)) y += op.smooth / T(n) * ((s.top * total - dot) + rest * total);
  } else if (t != op.ignore) {
    report(t);
  }
  loss[i] = y;
}

template <class T, int V, int kThreads>
__global__ void __launch_bounds__(kRowBlock<kThreads>, kMinBlocks<kThreads>)
    cross_entropy_grad_kernel(const CrossEntropyRows<T> op, const T* __restrict__ scale, int64_t scale_step,
                              T* __restrict__ grad_x) {
  LM_SHARED(T, scratch, [32]);
  const int64_t i = row_of_thread<kThreads>(), n = op.n;
  if (i >= op.rows) return;
  const T *x = op.x + i * n, *w = op.weight;
  T* out = grad_x + i * n;
  T total = T(n);
  if (op.smooth > T(0) && w) total = row_sum<V, kThreads>(w, n, scratch);
  const int64_t t = op.target[i];
  const bool counts = op.counts(t);
  T k = scale[i * scale_step];
  if (op.divisor) k = T(double(k) / *op.divisor);
  const T hit = counts ? (T(1) - op.smooth) * (w ? w[t] : T(1)) : T(0), each = op.smooth / T(n);
  // grad_x = k (Q p - q): one multiplication and, when smoothing, one subtraction an element; then the hit.
  const T a = k * (hit + each * total), b = k * each, lse = op.lse[i];
  for_packs<V, kThreads>(x, n, [&](Pack<T, V> p, int64_t at) {
    Pack<T, V> factor;
    if (w && op.smooth > T(0)) factor = load_pack<V>(w + at);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      T g = a * math::exp(p[v] - lse);
      if (op.smooth > T(0)) g -= w ? b * factor[v] : b;
      if (at + v == t) g -= k * hit;
      p[v] = counts ? g : T(0);
    }
    store_pack(out + at, p);
  });
}

// What the smoothed and weighted target of every row sums to (Q of kernel/softmax.h); second derivatives only.
template <class T>
__global__ void __launch_bounds__(256, 2)
    cross_entropy_mass_kernel(const CrossEntropyRows<T> op, T* __restrict__ mass) {
  LM_SHARED(double, scratch, [32]);
  double total = 0;
  for (int64_t c = threadIdx.x; c < op.n; c += 256) total += op.weight ? double(op.weight[c]) : 1;
  total = block_reduce(total, 0.0, Add(), scratch);
  const int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x;
  if (i >= op.rows) return;
  const int64_t t = op.target[i];
  const bool counts = op.counts(t);
  const double w = op.weight && counts ? double(op.weight[t]) : 1, smooth = double(op.smooth);
  mass[i] = !counts ? T(0) : T((1 - smooth) * w + smooth * total / double(op.n));
}

}  // namespace lamina::cuda
