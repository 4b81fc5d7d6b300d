// Launchers of kernel/loss.h.
#include "kernel/loss.h"

#include "cuda/kernels/loss.cuh"
#include "cuda/rows.h"

namespace lamina::cuda {
namespace {

constexpr int64_t kPerBlock = kLossThreads * 16;
constexpr int64_t kSumBlocks = 1024;  // a fixed number: how a sum is cut does not depend on the device

// The last elements of a misaligned length are handled one by one, so only addresses count.
template <class T>
bool aligned_at(std::initializer_list<const void*> arrays) {
  return rows_aligned<T>(0, arrays);
}

template <class T>
NllCall<T> call_of(const Nll& op) {
  return {op.outer * op.inner, op.n, op.inner, op.target, static_cast<const T*>(op.weight), op.ignore};
}

}  // namespace

// `sums` is the CPU's way to a total and stays null here: see loss_total.
void loss_forward(Stream stream, const Loss& op, void* y, double*) {
  dispatch_item(op.item, [&]<class T>() {
    const T *x = static_cast<const T*>(op.x), *t = static_cast<const T*>(op.target);
    math::visit_loss(op.kind, op.c, [&](auto formula) {
      dispatch_pack<T>(aligned_at<T>({x, t, y}), [&]<int V>() {
        launch(loss_values_kernel<T, V, decltype(formula)>, blocks_for(op.n, kPerBlock), kLossThreads, 0, stream,
               formula, op.n, x, t, static_cast<T*>(y));
      });
    });
  });
}

void loss_total(Stream stream, const Loss& op, void* out) {
  dispatch_item(op.item, [&]<class T>() {
    const T *x = static_cast<const T*>(op.x), *t = static_cast<const T*>(op.target);
    const unsigned blocks = blocks_for(op.n, kPerBlock, kSumBlocks);
    const Workspace scratch(stream, blocks * sizeof(double));
    double* parts = scratch.as<double>();
    math::visit_loss(op.kind, op.c, [&](auto formula) {
      dispatch_pack<T>(aligned_at<T>({x, t}), [&]<int V>() {
        launch(loss_sums_kernel<T, V, decltype(formula)>, blocks, kLossThreads, 0, stream, formula, op.n, x, t, parts);
      });
    });
    launch(loss_total_kernel<T>, 1, kLossThreads, 0, stream, int(blocks), parts, op.divisor, static_cast<T*>(out));
  });
}

void loss_backward(Stream stream, const Loss& op, const void* scale, int64_t scale_step, void* grad_x,
                   void* grad_target) {
  dispatch_item(op.item, [&]<class T>() {
    const T *x = static_cast<const T*>(op.x), *t = static_cast<const T*>(op.target);
    const bool aligned = aligned_at<T>({x, t, scale_step ? scale : nullptr, grad_x, grad_target});
    math::visit_loss(op.kind, op.c, [&](auto formula) {
      dispatch_pack<T>(aligned, [&]<int V>() {
        launch(loss_grad_kernel<T, V, decltype(formula)>, blocks_for(op.n, kPerBlock), kLossThreads, 0, stream, formula,
               op.n, x, t, static_cast<const T*>(scale), scale_step, op.divisor, static_cast<T*>(grad_x),
               static_cast<T*>(grad_target));
      });
    });
  });
}

void nll_gather(Stream stream, const Nll& op, const void* x, void* y) {
  dispatch_item(op.item, [&]<class T>() {
    const NllCall<T> call = call_of<T>(op);
    launch(nll_gather_kernel<T>, blocks_for(call.count, kLossThreads), kLossThreads, 0, stream, call,
           static_cast<const T*>(x), static_cast<T*>(y),
           Reporter{device_report(stream), target_complaint("nll_loss", op.n, op.ignore)});
  });
}

void nll_scatter(Stream stream, const Nll& op, const void* g, int64_t g_step, void* grad_x) {
  dispatch_item(op.item, [&]<class T>() {
    const NllCall<T> call = call_of<T>(op);
    T* to = static_cast<T*>(grad_x);
    const int64_t all = call.count * op.n;
    dispatch_pack<T>(aligned_at<T>({to}), [&]<int V>() {
      launch(nll_clear_kernel<T, V>, blocks_for(all, kPerBlock), kLossThreads, 0, stream, all, to);
    });
    launch(nll_scatter_kernel<T>, blocks_for(call.count, kLossThreads), kLossThreads, 0, stream, call, op.divisor,
           static_cast<const T*>(g), g_step, to);
  });
}

void class_loss_total(Stream stream, const Nll& op, const void* losses, double* divisor, void* out) {
  dispatch_item(op.item, [&]<class T>() {
    launch(class_loss_total_kernel<T>, 1, 1024, 0, stream, call_of<T>(op), static_cast<const T*>(losses), divisor,
           static_cast<T*>(out));
  });
}

}  // namespace lamina::cuda
