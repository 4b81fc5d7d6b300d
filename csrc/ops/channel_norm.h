// What batch, group and instance norm share: four kernels (cpu/norm.h) that work on (batch, channel) pieces. The three
// differ only in which pieces have one mean, and that sum over a few numbers is done in double by the operators. NCHW
// and channels-last memory are both read as they lie. Next: batch_norm.cpp, group_norm.cpp.
#pragma once
#include <vector>

#include "cpu/norm.h"
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
int64_t piece_size(const Channels& l, int64_t batch);

// Two numbers per (batch, channel): moments, or sums of gradients.
struct Pieces {
  std::vector<double> first, second;
  explicit Pieces(const Channels& l) : first(static_cast<size_t>(l.batches * l.channels)), second(first.size()) {}
};
Pieces channel_pieces(const Channels& l, const Tensor& x);                                        // mean, m2
Pieces channel_pieces(const Channels& l, const Tensor& x, const Tensor& grad, const void* mean);  // sums of gradients

struct Moments {
  double count = 0, mean = 0, m2 = 0;
  void merge(double n, double other_mean, double other_m2) {  // Chan, Golub, LeVeque, 1979
    const double distance = other_mean - mean, share = n / (count + n);
    mean += distance * share;
    m2 += other_m2 + distance * distance * count * share;
    count += n;
  }
};

void check_channels_input(const Tensor& input, const char* op);
void check_running(const OptTensor& running, int64_t channels, const char* op, const char* name);
// running += momentum * (values - running), in place.
void update_running(const OptTensor& running, const std::vector<double>& values, double momentum);

}  // namespace lamina
