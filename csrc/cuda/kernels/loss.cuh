// Elementwise losses, their sum and gradients (formulas of math/loss.h in registers), and the indexed access of
// nll_loss. Sums in two launches: every block leaves one number, one block adds them up; in a fixed order.
#pragma once
#include "cuda/kernels/block.cuh"
#include "cuda/kernels/report.cuh"
#include "math/loss.h"

namespace lamina::cuda {

// Two such blocks a multiprocessor at least; without that number ptxas spills to make room for more.
constexpr int kLossThreads = 256;

// f(first index) for every pack of this thread; then, with V = 1, for what is left of n.
template <int V, class F>
LM_DEVICE void for_grid(int64_t n, F f) {
  const int64_t thread = int64_t(blockIdx.x) * blockDim.x + threadIdx.x, threads = int64_t(gridDim.x) * blockDim.x;
#pragma unroll 4
  for (int64_t i = thread; i < n / V; i += threads) f.template operator()<V>(i * V);
  if constexpr (V > 1)
    for (int64_t i = n / V * V + thread; i < n; i += threads) f.template operator()<1>(i);
}

template <class T, int V, class Formula>
__global__ void __launch_bounds__(kLossThreads, 2)
    loss_values_kernel(Formula formula, int64_t n, const T* __restrict__ x, const T* __restrict__ t,
                       T* __restrict__ y) {
  for_grid<V>(n, [&]<int W>(int64_t at) {
    Pack<T, W> p = load_pack<W>(x + at);
    const Pack<T, W> q = load_pack<W>(t + at);
#pragma unroll
    for (int v = 0; v < W; ++v) p[v] = formula.f(p[v], q[v]);
    store_pack(y + at, p);
  });
}

// parts[blockIdx.x] = this block's share of the sum.
template <class T, int V, class Formula>
__global__ void __launch_bounds__(kLossThreads, 2)
    loss_sums_kernel(Formula formula, int64_t n, const T* __restrict__ x, const T* __restrict__ t,
                     double* __restrict__ parts) {
  LM_SHARED(double, scratch, [32]);
  double sum = 0;
  for_grid<V>(n, [&]<int W>(int64_t at) {
    const Pack<T, W> p = load_pack<W>(x + at), q = load_pack<W>(t + at);
    T part = T(0);
#pragma unroll
    for (int v = 0; v < W; ++v) part += formula.f(p[v], q[v]);
    sum += double(part);
  });
  sum = block_reduce(sum, 0.0, Add(), scratch);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

template <class T>
__global__ void __launch_bounds__(kLossThreads, 2)
    loss_total_kernel(int count, const double* __restrict__ parts, double divisor, T* __restrict__ out) {
  LM_SHARED(double, scratch, [32]);
  double sum = 0;
  for (int i = int(threadIdx.x); i < count; i += kLossThreads) sum += parts[i];
  sum = block_reduce(sum, 0.0, Add(), scratch);
  if (threadIdx.x == 0) *out = T(sum / divisor);
}

// Either gradient may be null. scale_step 0: one number for all, still to be divided.
template <class T, int V, class Formula>
__global__ void __launch_bounds__(kLossThreads, 2)
    loss_grad_kernel(Formula formula, int64_t n, const T* __restrict__ x, const T* __restrict__ t,
                     const T* __restrict__ scale, int64_t scale_step, double divisor, T* __restrict__ grad_x,
                     T* __restrict__ grad_t) {
  const T one = scale_step ? T(0) : T(double(*scale) / divisor);
  for_grid<V>(n, [&]<int W>(int64_t at) {
    const Pack<T, W> p = load_pack<W>(x + at), q = load_pack<W>(t + at);
    Pack<T, W> k, out;
    if (scale_step) {
      k = load_pack<W>(scale + at);
    } else {
#pragma unroll
      for (int v = 0; v < W; ++v) k[v] = one;
    }
    if (grad_x) {
#pragma unroll
      for (int v = 0; v < W; ++v) out[v] = k[v] * formula.dx(p[v], q[v]);
      store_pack(grad_x + at, out);
    }
    if (grad_t) {
#pragma unroll
      for (int v = 0; v < W; ++v) out[v] = k[v] * formula.dt(p[v], q[v]);
      store_pack(grad_t + at, out);
    }
  });
}

// --- nll_loss: x (outer, classes, inner), target (outer, inner). A target out of range counts as an ignored one. ---

template <class T>
struct NllCall {
  int64_t count, classes, inner;  // count: outer * inner
  const int64_t* target;
  const T* weight;
  int64_t ignore;

  LM_DEVICE bool valid(int64_t t) const { return t >= 0 && t < classes; }
  LM_DEVICE bool counts(int64_t t) const { return t != ignore && valid(t); }
  LM_DEVICE int64_t place(int64_t i, int64_t t) const { return (i / inner * classes + t) * inner + i % inner; }
  LM_DEVICE T factor(int64_t t) const { return weight ? -weight[t] : T(-1); }
};

template <class T>
__global__ void __launch_bounds__(kLossThreads, 2)
    nll_gather_kernel(const NllCall<T> op, const T* __restrict__ x, T* __restrict__ y,
                      const __grid_constant__ Reporter report) {
  const int64_t i = int64_t(blockIdx.x) * kLossThreads + threadIdx.x;
  if (i >= op.count) return;
  const int64_t t = op.target[i];
  y[i] = op.counts(t) ? op.factor(t) * x[op.place(i, t)] : T(0);
  if (t != op.ignore && !op.valid(t)) report(t);
}

template <class T, int V>
__global__ void __launch_bounds__(kLossThreads, 2) nll_clear_kernel(int64_t n, T* __restrict__ x) {
  for_grid<V>(n, [&]<int W>(int64_t at) {
    Pack<T, W> zero;
#pragma unroll
    for (int v = 0; v < W; ++v) zero[v] = T(0);
    store_pack(x + at, zero);
  });
}

// After nll_clear_kernel.
template <class T>
__global__ void __launch_bounds__(kLossThreads, 2)
    nll_scatter_kernel(const NllCall<T> op, const double* __restrict__ divisor, const T* __restrict__ g, int64_t g_step,
                       T* __restrict__ grad_x) {
  const int64_t i = int64_t(blockIdx.x) * kLossThreads + threadIdx.x;
  if (i >= op.count) return;
  const int64_t t = op.target[i];
  if (!op.counts(t)) return;
  T scaled = g[i * g_step];
  if (divisor) scaled = T(double(scaled) / *divisor);
  grad_x[op.place(i, t)] = op.factor(t) * scaled;
}

// One block: out = sum of the losses, over the weights of the targets that count if `divisor` wants their sum.
template <class T>
__global__ void __launch_bounds__(1024)
    class_loss_total_kernel(const NllCall<T> op, const T* __restrict__ losses, double* divisor, T* __restrict__ out) {
  LM_SHARED(double, scratch, [32]);
  double sum = 0, weights = 0;
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < op.count; i += 1024) {
    sum += double(losses[i]);
    if (!divisor) continue;
    const int64_t t = op.target[i];
    if (op.counts(t)) weights += op.weight ? double(op.weight[t]) : 1;
  }
  sum = block_reduce(sum, 0.0, Add(), scratch);
  weights = block_reduce(weights, 0.0, Add(), scratch);
  if (threadIdx.x != 0) return;
  if (divisor) *divisor = weights;
  *out = T(divisor ? sum / weights : sum);
}

}  // namespace lamina::cuda
