// Launchers of the pools in kernel/pooling.h.
#include "kernel/pooling.h"

#include "cuda/kernels/pooling.cuh"
#include "cuda/rows.h"

namespace lamina::cuda {
namespace {

// The kernels count in int: products of sizes that a box needs must stay below 2^31.
PoolRuleOf<int> rule_of(const PoolAxis& axis) {
  const PoolRule& r = axis.rule;
  const int64_t window = (r.kernel - 1) * r.step + 1,
                widest = r.adaptive ? (r.in + 1) * (r.out + 1) : r.in + 2 * window;
  LM_CHECK(widest <= INT32_MAX, ValueError, "pooling on cuda: input size ", r.in, ", output size ", r.out,
           ", window of ", window, "; need products below 2^31");
  return {int(r.in),   int(r.out), int(r.kernel),   int(r.stride), int(r.padding),
          int(r.step), r.adaptive, r.count_padding, r.divisor};
}

PoolShape shape_of(const PoolBoxes& b, int pack) {
  const int64_t pixels = std::max(b.pixels_in(), b.pixels_out());
  LM_CHECK(pixels * (b.c / pack) < INT32_MAX - kPoolThreads, ValueError, "pooling on cuda: ", pixels, " pixels of ",
           b.c, " channels; need fewer than 2^31 elements an image");
  return {b.n, int(b.c / pack), {rule_of(b.axis[0]), rule_of(b.axis[1]), rule_of(b.axis[2])}};
}

// A thread for every V channels of `pixels` pixels an image.
dim3 pool_blocks(const PoolBoxes& b, int64_t pixels, int pack) {
  const unsigned y = blocks_for(b.n, 1, 32768);
  return {blocks_for(pixels * (b.c / pack), kPoolThreads), y, y ? blocks_for(b.n, y) : 0};
}

}  // namespace

void pool_max(Stream stream, DType dtype, const PoolBoxes& b, const void* x, void* y, int64_t* index) {
  dispatch_item(item_size(dtype), [&]<class T>() {
    dispatch_pack<T>(rows_aligned<T>(b.c, {x, y}), [&]<int V>() {
      launch(pool_max_kernel<T, V>, pool_blocks(b, b.pixels_out(), V), kPoolThreads, 0, stream, shape_of(b, V),
             static_cast<const T*>(x), static_cast<T*>(y), index);
    });
  });
}

void pool_average(Stream stream, DType dtype, const PoolBoxes& b, const void* x, void* y) {
  dispatch_item(item_size(dtype), [&]<class T>() {
    dispatch_pack<T>(rows_aligned<T>(b.c, {x, y}), [&]<int V>() {
      launch(pool_average_kernel<T, V>, pool_blocks(b, b.pixels_out(), V), kPoolThreads, 0, stream, shape_of(b, V),
             static_cast<const T*>(x), static_cast<T*>(y));
    });
  });
}

void pool_max_backward(Stream stream, DType dtype, const PoolBoxes& b, const void* grad, const int64_t* index,
                       void* grad_x) {
  dispatch_item(item_size(dtype), [&]<class T>() {
    dispatch_pack<T>(rows_aligned<T>(b.c, {grad, grad_x}), [&]<int V>() {
      launch(pool_backward_kernel<T, V>, pool_blocks(b, b.pixels_in(), V), kPoolThreads, 0, stream, shape_of(b, V),
             static_cast<const T*>(grad), index, static_cast<T*>(grad_x));
    });
  });
}

void pool_average_backward(Stream stream, DType dtype, const PoolBoxes& b, const void* grad, void* grad_x) {
  pool_max_backward(stream, dtype, b, grad, nullptr, grad_x);
}

void pool_gather(Stream stream, DType dtype, const PoolBoxes& b, const void* x, const int64_t* index, void* y) {
  dispatch_item(item_size(dtype), [&]<class T>() {
    launch(pool_gather_kernel<T>, pool_blocks(b, b.pixels_out(), 1), kPoolThreads, 0, stream, shape_of(b, 1),
           static_cast<const T*>(x), index, static_cast<T*>(y));
  });
}

}  // namespace lamina::cuda
