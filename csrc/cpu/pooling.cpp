// Pools on the CPU: pieces of y, or of the channels of a gradient, for the thread pool. Next: kernels/pooling.cpp.
#include "kernel/pooling.h"

#include <algorithm>

#include "core/pool.h"
#include "cpu/pooling_loops.h"

namespace lamina::cpu {
namespace {

constexpr int64_t kGrain = 16384;          // elements of y per chunk
constexpr int64_t kChannelsPerChunk = 64;  // of a gradient

// Chunks of whole rows of y, by the problem's size only.
template <class F>
void for_row_chunks(const PoolBoxes& b, F&& f) {
  const int64_t rows = b.rows(), per_row = std::max<int64_t>(1, b.axis[2].out * b.c);
  const int64_t grain = std::max<int64_t>(1, kGrain / per_row);
  if (rows > 0)
    parallel_for(chunk_count(rows, grain), [&](int64_t i) { f(i * grain, std::min(rows, (i + 1) * grain)); });
}
template <class F>
void for_channel_chunks(const PoolBoxes& b, F&& f) {
  const int64_t per_image = chunk_count(b.c, kChannelsPerChunk);
  if (b.n * per_image > 0)
    parallel_for(b.n * per_image, [&](int64_t i) {
      const int64_t first = i % per_image * kChannelsPerChunk;
      f(i / per_image, first, std::min(b.c, first + kChannelsPerChunk));
    });
}

}  // namespace

void pool_max(DType dtype, const PoolBoxes& b, const void* x, void* y, int64_t* index) {
  for_row_chunks(b, [&](int64_t first, int64_t last) { loop::max_pool_forward(dtype, b, first, last, x, y, index); });
}

void pool_average(DType dtype, const PoolBoxes& b, const void* x, void* y) {
  for_row_chunks(b, [&](int64_t first, int64_t last) { loop::avg_pool_forward(dtype, b, first, last, x, y); });
}

void pool_max_backward(DType dtype, const PoolBoxes& b, const void* grad, const int64_t* index, void* grad_x) {
  for_channel_chunks(b, [&](int64_t n, int64_t first, int64_t last) {
    loop::max_pool_backward(dtype, b, n, first, last, grad, index, grad_x);
  });
}

void pool_average_backward(DType dtype, const PoolBoxes& b, const void* grad, void* grad_x) {
  for_channel_chunks(b, [&](int64_t n, int64_t first, int64_t last) {
    loop::avg_pool_backward(dtype, b, n, first, last, grad, grad_x);
  });
}

void pool_gather(DType dtype, const PoolBoxes& b, const void* x, const int64_t* index, void* y) {
  if (b.n > 0) parallel_for(b.n, [&](int64_t n) { loop::max_pool_gather(dtype, b, n, x, index, y); });
}

}  // namespace lamina::cpu
