// Launchers of kernel/softmax.h.
#include "kernel/softmax.h"

#include "cuda/kernels/softmax.cuh"
#include "cuda/rows.h"
#include "kernel/loss.h"

namespace lamina::cuda {
namespace {

constexpr int kLongRow = 512;           // threads of a row that fits no block's registers
constexpr int64_t kWarpClasses = 2048;  // classes that a warp still reads by itself

template <class T>
CrossEntropyRows<T> rows_of(const CrossEntropy& op) {
  return {op.rows,   op.n,         static_cast<const T*>(op.x), op.target, static_cast<const T*>(op.weight),
          op.ignore, T(op.smooth), static_cast<T*>(op.lse),     op.divisor};
}

// f.operator()<V, threads>() for a row that is read once.
template <class T, class F>
void dispatch_streamed_row(const CrossEntropy& op, const void* out, F&& f) {
  dispatch_pack<T>(rows_aligned<T>(op.n, {op.x, op.weight, out}), [&]<int V>() {
    if (op.n <= kWarpClasses)
      f.template operator()<V, 32>();
    else
      f.template operator()<V, 256>();
  });
}

}  // namespace

void softmax_forward(Stream stream, int64_t item, const void* x, void* y, int64_t outer, int64_t n, int64_t inner,
                     bool log) {
  dispatch_item(item, [&]<class T>() {
    const T* from = static_cast<const T*>(x);
    T* to = static_cast<T*>(y);
    if (inner != 1)
      return launch(softmax_columns_kernel<T>, blocks_for(outer * inner, 32), dim3(32, kSlices), 0, stream, from, to,
                    outer * inner, n, inner, log);
    const bool aligned = rows_aligned<T>(n, {x, y});
    if (!dispatch_cached_row<T, 24>(n, aligned, [&]<int V, int threads, int packs>() {
          launch(softmax_row_kernel<T, V, threads, packs>, row_blocks<threads>(outer), kRowBlock<threads>, 0, stream,
                 from, to, outer, int(n), log);
        }))
      dispatch_pack<T>(aligned, [&]<int V>() {
        launch(softmax_long_kernel<T, V, kLongRow>, unsigned(outer), kLongRow, 0, stream, from, to, n, log);
      });
  });
}

void softmax_backward(Stream stream, int64_t item, const void* y, const void* grad_y, void* grad_x, int64_t outer,
                      int64_t n, int64_t inner, bool log) {
  dispatch_item(item, [&]<class T>() {
    const T *out = static_cast<const T*>(y), *grad = static_cast<const T*>(grad_y);
    T* to = static_cast<T*>(grad_x);
    if (inner != 1)
      return launch(softmax_grad_columns_kernel<T>, blocks_for(outer * inner, 32), dim3(32, kSlices), 0, stream, out,
                    grad, to, outer * inner, n, inner, log);
    const bool aligned = rows_aligned<T>(n, {y, grad_y, grad_x});
    if (!dispatch_cached_row<T, 16>(n, aligned, [&]<int V, int threads, int packs>() {
          launch(softmax_grad_row_kernel<T, V, threads, packs>, row_blocks<threads>(outer), kRowBlock<threads>, 0,
                 stream, out, grad, to, outer, int(n), log);
        }))
      dispatch_pack<T>(aligned, [&]<int V>() {
        launch(softmax_grad_long_kernel<T, V, kLongRow>, unsigned(outer), kLongRow, 0, stream, out, grad, to, n, log);
      });
  });
}

void cross_entropy_forward(Stream stream, const CrossEntropy& op, void* loss) {
  dispatch_item(op.item, [&]<class T>() {
    dispatch_streamed_row<T>(op, nullptr, [&]<int V, int threads>() {
      launch(cross_entropy_kernel<T, V, threads>, row_blocks<threads>(op.rows), kRowBlock<threads>, 0, stream,
             rows_of<T>(op), static_cast<T*>(loss),
             Reporter{device_report(stream), target_complaint("cross_entropy", op.n, op.ignore)});
    });
  });
}

void cross_entropy_backward(Stream stream, const CrossEntropy& op, const void* scale, int64_t scale_step,
                            void* grad_x) {
  dispatch_item(op.item, [&]<class T>() {
    dispatch_streamed_row<T>(op, grad_x, [&]<int V, int threads>() {
      launch(cross_entropy_grad_kernel<T, V, threads>, row_blocks<threads>(op.rows), kRowBlock<threads>, 0, stream,
             rows_of<T>(op), static_cast<const T*>(scale), scale_step, static_cast<T*>(grad_x));
    });
  });
}

void cross_entropy_mass(Stream stream, const CrossEntropy& op, void* mass) {
  dispatch_item(op.item, [&]<class T>() {
    launch(cross_entropy_mass_kernel<T>, blocks_for(op.rows, 256), 256, 0, stream, rows_of<T>(op),
           static_cast<T*>(mass));
  });
}

}  // namespace lamina::cuda
