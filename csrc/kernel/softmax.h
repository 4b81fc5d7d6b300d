// Softmax and cross-entropy kernels. A tensor is (outer, n, inner), softmax runs over n; item is 4 (float) or 8
// (double). Next: cpu/kernels/softmax.cpp, cuda/softmax.cu.
#pragma once
#include "kernel/kernel.h"

namespace lamina {

// y = softmax(x), or log_softmax(x) when `log`.
LM_KERNEL(void, softmax_forward,
          (int64_t item, const void* x, void* y, int64_t outer, int64_t n, int64_t inner, bool log))
// grad_x from y and grad_y.
LM_KERNEL(void, softmax_backward,
          (int64_t item, const void* y, const void* grad_y, void* grad_x, int64_t outer, int64_t n, int64_t inner,
           bool log))

// Rows x[i, :n] with class t[i]. smooth = label_smoothing; w: n weights or null. Rows with t == ignore count as zero;
// on a GPU so do rows with t out of range, about which cross_entropy_forward complains.
struct CrossEntropy {
  int64_t item, rows, n;
  const void* x;
  const int64_t* target;
  const void* weight;
  int64_t ignore;
  double smooth;
  void* lse;              // (rows,): log sum exp of every row; written by forward, read by backward
  const double* divisor;  // backward divides its scale by this number where it is not null
};
// loss (rows,): sum_c q[c] (lse - x[c]), where q[c] = (1 - smooth) w[t] [c == t] + smooth / n w[c]; unreduced.
LM_KERNEL(void, cross_entropy_forward, (const CrossEntropy& op, void* loss))
// grad_x[i, c] = scale[i * scale_step] / divisor (Q p[c] - q[c]), Q = sum_c q[c], p = softmax(x[i]).
LM_KERNEL(void, cross_entropy_backward, (const CrossEntropy& op, const void* scale, int64_t scale_step, void* grad_x))
// Q (rows,): what the smoothed and weighted target of a row sums to. Second derivatives need it.
LM_JOB(void, cross_entropy_mass, (const CrossEntropy& op, void* mass))

}  // namespace lamina
