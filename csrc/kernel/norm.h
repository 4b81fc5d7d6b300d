// Normalisation kernels: over rows (layer_norm, rms_norm) and over channels (batch, group and instance norm).
// item is 4 (float) or 8 (double). Sums over long stretches are added up in double. Next: cpu/kernels/norm.cpp,
// cuda/norm.cu.
#pragma once
#include "kernel/kernel.h"

namespace lamina {

// Rows x[i, :n]. `centered` is false for rms_norm: then there is no mean, and rstd is 1 / root mean square.
struct NormRows {
  int64_t item, rows, n;
  const void *x, *weight;  // weight: n factors or null
  void *mean, *rstd;       // (rows,): written by forward, read by backward
  double eps;
  bool centered;
};
LM_KERNEL(void, norm_rows_forward, (const NormRows& op, const void* bias, void* y))

// Rows are cut into this many pieces, each with its own sums for the gradients of weight and bias.
constexpr int64_t norm_row_chunks(int64_t rows) { return rows < 32 ? rows : 32; }
// Any of grad_x, grad_weight, grad_bias may be null; scratch: 2 * norm_row_chunks(rows) * n elements.
LM_KERNEL(void, norm_rows_backward,
          (const NormRows& op, const void* grad_y, void* grad_x, void* grad_weight, void* grad_bias, void* scratch))

// x seen as `batches` groups of (channels, inner), or of (inner, channels) when channels are last. Channels-last groups
// follow each other without gaps and only their total number of rows matters: the last group may be shorter.
struct Channels {
  int64_t item, batches, channels, inner, rows;  // rows: of all groups; channels-last only
  bool last;
  int64_t step;                        // from one batch's coefficients to the next one's: 0 when all share them
  int64_t size(int64_t batch) const {  // elements of a (batch, channel)
    return last && rows - batch * inner < inner ? rows - batch * inner : inner;
  }
};
// Per (batch, channel): the mean, and the sum of squared distances from it.
LM_KERNEL(void, channel_moments, (const Channels& l, const void* x, double* mean, double* m2))
// y = (x - mean) * scale + shift, coefficients per channel.
LM_KERNEL(void, channel_affine,
          (const Channels& l, const void* x, const void* mean, const void* scale, const void* shift, void* y))
// Per (batch, channel): sum of g, and of g * (x - mean).
LM_KERNEL(void, channel_grad_sums,
          (const Channels& l, const void* x, const void* g, const void* mean, double* sum_g, double* sum_gx))
// grad_x = g * a + (x - mean) * b + d.
LM_KERNEL(void, channel_grad,
          (const Channels& l, const void* x, const void* g, const void* mean, const void* a, const void* b,
           const void* d, void* grad_x))

// Between those passes: small arrays, a few numbers per channel. Sums in double over batches or channels, in order.
// mean and m2 as channel_moments leaves them -> total (2, channels): mean and unbiased variance; mean_out and
// rstd_out (channels): what channel_affine needs.
LM_JOB(void, batch_norm_statistics,
       (const Channels& l, const double* mean, const double* m2, double eps, double* total, void* mean_out,
        void* rstd_out))
// The same two from a mean and a variance.
LM_JOB(void, batch_norm_constants,
       (int64_t item, int64_t channels, const double* mean, const double* var, double eps, void* mean_out,
        void* rstd_out))
// sums as channel_grad_sums leaves them, null when nobody needs them -> coefficients (3, channels): a, b, d of
// channel_grad; and the gradients of weight and bias.
LM_JOB(void, batch_norm_grad,
       (const Channels& l, const double* sum_g, const double* sum_gx, const void* rstd, const void* weight,
        bool training, void* coefficients, void* grad_weight, void* grad_bias))
// Groups of neighbouring channels -> rstd (batches, groups), mean_out (batches, channels) and coefficients (2, batches,
// channels): scale and shift of channel_affine.
LM_JOB(void, group_norm_statistics,
       (const Channels& l, int64_t groups, const double* mean, const double* m2, double eps, const void* weight,
        const void* bias, void* rstd, void* mean_out, void* coefficients))
// coefficients (3, batches, channels): a, b, d of channel_grad.
LM_JOB(void, group_norm_grad,
       (const Channels& l, int64_t groups, const double* sum_g, const double* sum_gx, const void* rstd,
        const void* weight, void* coefficients, void* grad_weight, void* grad_bias))
// total (2, channels): the average over batches of mean and of unbiased variance.
LM_JOB(void, instance_norm_statistics, (const Channels& l, const double* mean, const double* m2, double* total))
// running = momentum values + (1 - momentum) running
LM_JOB(void, update_running, (int64_t item, int64_t n, double momentum, const double* values, void* running))

}  // namespace lamina
