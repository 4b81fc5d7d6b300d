// Limiting the gradients of a model: their norm taken together, and what is done to them all. The one idea: a job takes
// the flat arrays of all gradients at once, so a model of many small parameters costs no more than one large array; the
// norm stays where the gradients are, and nobody waits for it. ops/clip.cpp calls the jobs.
#pragma once
#include "kernel/reduce.h"

namespace lamina {

// One gradient, of any floating dtype.
struct FlatArray {
  DType dtype;
  int64_t n;
  void* data;
};
// (sum |x|^p)^(1/p), or the largest or smallest |x| for p = +-inf, over all arrays: to *norm, a double if they are (all
// of them, or none, are F64), else a float. No arrays: 0.
LM_JOB(void, norm_of_arrays, (double p, const FlatArray* arrays, int64_t count, void* norm))
// Every element times min(1, limit / (norm + 1e-6)); `norm_dtype` is F32 or F64.
LM_JOB(void, scale_arrays, (double limit, DType norm_dtype, const void* norm, const FlatArray* arrays, int64_t count))
LM_JOB(void, clamp_arrays, (double low, double high, const FlatArray* arrays, int64_t count))

// Which reduction the norm of order p is.
inline Reduce norm_kind(double p) {
  if (p == 2) return Reduce::SumSquare;
  if (p == 1) return Reduce::SumAbs;
  if (p - p != 0) return p > 0 ? Reduce::MaxAbs : Reduce::MinAbs;
  return Reduce::SumPow;
}

}  // namespace lamina
