// Launchers of the row norms in kernel/norm.h; channel_norm.cu has the others.
#include "kernel/norm.h"

#include "cuda/kernels/norm.cuh"
#include "cuda/rows.h"

namespace lamina::cuda {
namespace {

constexpr int kLongRow = 512;  // threads of a row that fits no block's registers

template <class T>
NormCall<T> call_of(const NormRows& op, const void* bias) {
  return {op.rows,
          op.n,
          static_cast<const T*>(op.x),
          static_cast<const T*>(op.weight),
          static_cast<const T*>(bias),
          op.centered ? static_cast<T*>(op.mean) : nullptr,
          static_cast<T*>(op.rstd),
          T(op.eps)};
}

}  // namespace

void norm_rows_forward(Stream stream, const NormRows& op, const void* bias, void* y) {
  dispatch_item(op.item, [&]<class T>() {
    const NormCall<T> call = call_of<T>(op, bias);
    T* out = static_cast<T*>(y);
    const bool aligned = rows_aligned<T>(op.n, {op.x, op.weight, bias, y});
    if (!dispatch_cached_row<T, 16>(op.n, aligned, [&]<int V, int threads, int packs>() {
          launch(norm_row_kernel<T, V, threads, packs>, row_blocks<threads>(op.rows), kRowBlock<threads>, 0, stream,
                 call, out);
        }))
      dispatch_pack<T>(aligned, [&]<int V>() {
        launch(norm_long_kernel<T, V, kLongRow>, unsigned(op.rows), kLongRow, 0, stream, call, out);
      });
  });
}

// `scratch` has the chunks of the CPU, which are too few here: the kernels' sums have a workspace of their own.
void norm_rows_backward(Stream stream, const NormRows& op, const void* grad_y, void* grad_x, void* grad_weight,
                        void* grad_bias, void*) {
  dispatch_item(op.item, [&]<class T>() {
    const NormCall<T> call = call_of<T>(op, nullptr);
    const bool parameters = grad_weight || grad_bias;
    const bool aligned = rows_aligned<T>(op.n, {op.x, op.weight, grad_y, grad_x});
    const bool in_registers = op.n <= 256 * kRowValues<T>;
    // Groups of rows with sums of their own: enough blocks to fill the device, or pieces of 128 rows.
    const int64_t parts =
        in_registers ? blocks_for(op.rows, op.n <= 32 * kRowValues<T> ? 4 : 1, int64_t(multiprocessors(stream)) * 4)
                     : blocks_for(op.rows, 128, 64);
    const Workspace scratch(stream, parameters ? size_t(2 * parts * op.n) * sizeof(T) : 0);
    const NormGrad<T> grad{static_cast<const T*>(grad_y), static_cast<T*>(grad_x), scratch.as<T>()};
    if (in_registers) {
      dispatch_cached_row<T, 8>(op.n, aligned, [&]<int V, int threads, int packs>() {
        if constexpr (threads <= 256) {
          if (parameters)
            launch(norm_grad_row_kernel<T, V, threads, packs, true>, unsigned(parts), kRowBlock<threads>, 0, stream,
                   call, grad);
          else
            launch(norm_grad_row_kernel<T, V, threads, packs, false>, unsigned(parts), kRowBlock<threads>, 0, stream,
                   call, grad);
        }
      });
    } else {
      if (grad_x)
        dispatch_pack<T>(aligned, [&]<int V>() {
          launch(norm_grad_long_kernel<T, V, kLongRow>, unsigned(op.rows), kLongRow, 0, stream, call, grad);
        });
      if (parameters)
        launch(norm_parameter_sums_kernel<T>, dim3(blocks_for(op.n, 32), unsigned(parts)), dim3(32, kSlices), 0, stream,
               call, grad, parts ? (op.rows + parts - 1) / parts : 1);
    }
    if (parameters)
      launch(norm_parameter_totals_kernel<T>, dim3(blocks_for(op.n, 32), 2), dim3(32, kSlices), 0, stream,
             static_cast<const T*>(grad.parts), parts, op.n, static_cast<T*>(grad_weight), static_cast<T*>(grad_bias));
  });
}

}  // namespace lamina::cuda
