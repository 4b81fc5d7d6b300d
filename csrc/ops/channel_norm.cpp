#include "ops/channel_norm.h"

#include <algorithm>

#include "ops/ops.h"

namespace lamina {
Tensor channels_dense(const Tensor& x) { return is_channels_last(x) ? x : contiguous(x); }
Tensor empty_as(const Tensor& x) { return empty_strided_tensor(x.sizes(), x.strides(), x.dtype(), x.device()); }
// The gradient of a channels-last output often comes row-major, from a flatten or a sum; one copy puts it right.
Tensor in_order_of(const Tensor& g, const Tensor& x) {
  if (g.strides() == x.strides()) return g;
  Tensor y = empty_as(x);
  copy_into(y, g);
  return y;
}

Channels channel_layout(const Tensor& x, bool per_batch) {
  const int64_t n = x.size(0), c = x.size(1), inner = n && c ? x.numel() / (n * c) : 0;
  Channels l{x.itemsize(), n, c, inner, n * inner, !x.is_contiguous() && is_channels_last(x), per_batch ? c : 0};
  if (per_batch || !(l.last || inner == 1)) return l;
  // (N, C) without spatial dimensions is channels-last, too. About 16,384 elements a group: enough for a thread.
  l.last = true;
  l.inner = std::max<int64_t>(1, 16384 / c);
  l.batches = (l.rows + l.inner - 1) / l.inner;
  return l;
}

namespace {
Pieces new_pieces(const Channels& l, const Tensor& x) {
  const Shape sizes{2, l.batches * l.channels};
  return {x.numel() ? empty_tensor(sizes, DType::F64, x.device()) : full_tensor(sizes, 0, DType::F64, x.device())};
}
}  // namespace

Pieces channel_pieces(const Channels& l, const Tensor& x) {
  const Pieces p = new_pieces(l, x);
  if (x.numel()) kernel::channel_moments(stream_of(x.device()), l, x.data(), p.first(), p.second());
  return p;
}
Pieces channel_pieces(const Channels& l, const Tensor& x, const Tensor& grad, const void* mean) {
  const Pieces p = new_pieces(l, x);
  if (x.numel())
    kernel::channel_grad_sums(stream_of(x.device()), l, x.data(), grad.data(), mean, p.first(), p.second());
  return p;
}

void check_channels_input(const Tensor& input, const char* op) {
  LM_CHECK(input.is_floating(), TypeError, op, ": input is ", input.dtype(), "; need a floating-point tensor");
  LM_CHECK(input.dim() >= 2, ValueError, op, ": input has shape ", input.sizes(), "; need (N, C, ...)");
}

void check_running(const OptTensor& running, int64_t channels, const char* op, const char* name) {
  if (!running) return;
  LM_CHECK(running->sizes() == Shape{channels}, ValueError, op, ": ", name, " has shape ", running->sizes(), "; need (",
           channels, ",), one value a channel");
  LM_CHECK(running->is_floating(), TypeError, op, ": ", name, " is ", running->dtype(), "; need floating point");
  LM_CHECK(!running->requires_grad(), RuntimeError, op, ": ", name, " requires a gradient, but has none; detach it");
}

void update_running(const OptTensor& running, const double* values, double momentum) {
  if (!running) return;
  // Statistics in half precision, or strided ones, are averaged in a copy.
  const bool direct = running->is_contiguous() && !is_half(running->dtype());
  const Tensor p = direct ? *running : copy_dense(cast(running->alias(), DType::F64));
  kernel::update_running(stream_of(p.device()), p.itemsize(), p.numel(), momentum, values, p.data());
  if (!direct) copy_into(*running, p);
  // A tape that saved this very tensor must notice.
  running->bump_version();
}

}  // namespace lamina
