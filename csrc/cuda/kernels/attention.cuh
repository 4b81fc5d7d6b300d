// Rows of attention scores of many heads at once: a warp for each row. See kernel/attention.h. Next: ../attention.cu.
#pragma once
#include "cuda/kernels/block.cuh"

namespace lamina::cuda {

// Scores (matrices, rows, columns), dense, of one member of each group of `group` heads that share a key: matrix i
// belongs to key head first_key_head + i, counted through the batches. The mask is added to them.
template <class T>
struct ScoreRows {
  int64_t matrices, rows, columns;
  int64_t first_key_head, key_heads, group, member;
  bool causal;
  const T* mask;
  int64_t mask_batch, mask_head, mask_row;

  struct Row {
    int64_t batch, head, row, seen;
  };
  LM_DEVICE Row row(int64_t i) const {
    const int64_t key_head = first_key_head + i / rows, row = i % rows;
    return {key_head / key_heads, key_head % key_heads * group + member, row,
            causal && row + 1 < columns ? row + 1 : columns};
  }
  LM_DEVICE const T* mask_of(const Row& r) const {
    return mask ? mask + r.batch * mask_batch + r.head * mask_head + r.row * mask_row : nullptr;
  }
  LM_DEVICE int64_t sum_of(const Row& r) const { return (r.batch * key_heads * group + r.head) * rows + r.row; }
};

LM_DEVICE float infinity_of(float) { return __int_as_float(0x7f800000); }
LM_DEVICE double infinity_of(double) { return __longlong_as_double(0x7ff0000000000000ll); }

// scores become softmax(scores + mask), lse the log of the sum. A row that sees nothing becomes zeros, lse infinite.
template <class T>
__global__ void __launch_bounds__(256) attention_softmax_kernel(ScoreRows<T> tile, T* scores, T* lse) {
  const int64_t i = int64_t(blockIdx.x) * 8 + threadIdx.x / 32;
  const int lane = int(threadIdx.x) % 32;
  if (i >= tile.matrices * tile.rows) return;  // a whole warp
  const auto at = tile.row(i);
  const T* mask = tile.mask_of(at);
  T* x = scores + i * tile.columns;
  T top = -infinity_of(T());
  for (int64_t j = lane; j < at.seen; j += 32) {
    if (mask) x[j] += mask[j];
    top = Max()(top, x[j]);
  }
  top = warp_reduce(top, Max());
  const bool blind = top == -infinity_of(T());
  T sum = 0;
  for (int64_t j = lane; j < at.seen; j += 32) {
    const T e = blind ? T(0) : exp(x[j] - top);
    x[j] = e;
    sum += e;
  }
  sum = warp_reduce(sum, Add());
  const T scale = T(1) / sum;
  for (int64_t j = lane; j < tile.columns; j += 32) x[j] = blind || j >= at.seen ? T(0) : x[j] * scale;
  if (lane == 0) lse[tile.sum_of(at)] = blind ? infinity_of(T()) : top + log(sum);
}

// The same from lse.
template <class T>
__global__ void __launch_bounds__(256) attention_probabilities_kernel(ScoreRows<T> tile, T* scores, const T* lse) {
  const int64_t i = int64_t(blockIdx.x) * 8 + threadIdx.x / 32;
  if (i >= tile.matrices * tile.rows) return;
  const auto at = tile.row(i);
  const T* mask = tile.mask_of(at);
  T* x = scores + i * tile.columns;
  const T sum = lse[tile.sum_of(at)];
  for (int64_t j = int(threadIdx.x) % 32; j < tile.columns; j += 32)
    x[j] = j < at.seen ? exp(mask ? x[j] + mask[j] - sum : x[j] - sum) : T(0);
}

// Heads of `width` numbers a row.
template <class T>
struct HeadRows {
  const T* data;
  int64_t batch_step, head_step, row_step;
};
// grad = p * (grad - sum(out * grad_out)), Dao et al., 2022.
template <class T>
__global__ void __launch_bounds__(256)
    attention_scores_gradient_kernel(ScoreRows<T> tile, const T* p, T* grad, HeadRows<T> out, HeadRows<T> grad_out,
                                     int64_t width) {
  const int64_t i = int64_t(blockIdx.x) * 8 + threadIdx.x / 32;
  const int lane = int(threadIdx.x) % 32;
  if (i >= tile.matrices * tile.rows) return;
  const auto at = tile.row(i);
  const T* o = out.data + at.batch * out.batch_step + at.head * out.head_step + at.row * out.row_step;
  const T* g =
      grad_out.data + at.batch * grad_out.batch_step + at.head * grad_out.head_step + at.row * grad_out.row_step;
  T dot = 0;
  for (int64_t j = lane; j < width; j += 32) dot += o[j] * g[j];
  dot = warp_reduce(dot, Add());
  const T* q = p + i * tile.columns;
  T* x = grad + i * tile.columns;
  for (int64_t j = lane; j < tile.columns; j += 32) x[j] = q[j] * (x[j] - dot);
}

}  // namespace lamina::cuda
