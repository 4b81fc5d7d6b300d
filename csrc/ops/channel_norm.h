// What batch, group and instance norm share: four kernels (kernel/norm.h) that work on (batch, channel) pieces. The
// three differ only in which pieces have one mean: small jobs of kernel/norm.h sum over those, in double. NCHW and
// channels-last memory are both read as they lie. Next: batch_norm.cpp, group_norm.cpp.
#pragma once
#include "kernel/norm.h"
#include "ops/norm.h"

namespace lamina {

// x itself when its memory is row-major or channels-last, else a row-major copy.
Tensor channels_dense(const Tensor& x);
Tensor empty_as(const Tensor& x);  // the sizes, strides and dtype of x
// g in the memory order of x.
Tensor in_order_of(const Tensor& g, const Tensor& x);

// How the kernels see a dense x (N, C, ...). `per_batch`: every example has statistics of its own; otherwise
// channels-last rows are cut without regard to examples.
Channels channel_layout(const Tensor& x, bool per_batch);

// Two numbers per (batch, channel), in double where x lives: moments, or sums of gradients.
struct Pieces {
  Tensor values;  // (2, batches * channels)
  double* first() const { return values.data<double>(); }
  double* second() const { return first() + values.size(1); }
};
Pieces channel_pieces(const Channels& l, const Tensor& x);                                        // mean, m2
Pieces channel_pieces(const Channels& l, const Tensor& x, const Tensor& grad, const void* mean);  // sums of gradients

// The i-th of the arrays that lie one behind the other in x.
inline const char* part(const Tensor& x, int64_t i) {
  return static_cast<const char*>(x.data()) + i * x.stride(0) * x.itemsize();
}

void check_channels_input(const Tensor& input, const char* op);
void check_running(const OptTensor& running, int64_t channels, const char* op, const char* name);
// running += momentum * (values - running), in place; one value a channel.
void update_running(const OptTensor& running, const double* values, double momentum);

}  // namespace lamina
