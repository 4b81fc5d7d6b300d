// What a user's indices and values pass before kernels rely on them. Both jobs return the first bad position, or -1,
// and leave it to the caller to complain; on a GPU they return -1 at once, and the complaint comes later (Note [Errors
// found on the device]). Next: ops/check.h.
#pragma once
#include "core/dtype.h"
#include "core/report.h"
#include "kernel/kernel.h"

namespace lamina {

// out[i] = index[i], counted from the end where it is negative. Bad is what is outside [low, size), where low is 0 or
// -size; on a GPU it becomes 0. out may be index, or null on the CPU.
struct IndexCheck {
  const int64_t* index;
  int64_t* out;
  int64_t n, low, size;
  Complaint complaint;
};
LM_JOB(int64_t, check_index, (const IndexCheck& job))

// Bad is what is outside [low, high], and NaN unless it is allowed. dtype is Bool, I64, F32 or F64.
struct ValueCheck {
  DType dtype;
  const void* x;
  int64_t n;
  double low, high;
  bool allow_nan;
  Complaint complaint;
};
LM_JOB(int64_t, check_values, (const ValueCheck& job))

}  // namespace lamina
