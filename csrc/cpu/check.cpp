// Checks of indices and values: every element is looked at, whole runs at a time. Next: kernel/check.h.
#include "kernel/check.h"

#include <algorithm>

namespace lamina::cpu {
namespace {

constexpr int64_t kRun = 256;  // whole runs are tested without a branch per element

// The first i < n with bad(i), or -1.
template <class F>
int64_t find(int64_t n, F bad) {
  for (int64_t begin = 0; begin < n; begin += kRun) {
    const int64_t end = std::min(n, begin + kRun);
    bool any = false;
    for (int64_t i = begin; i < end; ++i) any |= bad(i);
    if (!any) continue;
    for (int64_t i = begin; i < end; ++i)
      if (bad(i)) return i;
  }
  return -1;
}

template <class T>
int64_t find_outside(const ValueCheck& job) {
  const T* x = static_cast<const T*>(job.x);
  return find(job.n, [&](int64_t i) {
    const double v = double(x[i]);
    return v < job.low || v > job.high || (v != v && !job.allow_nan);
  });
}

}  // namespace

int64_t check_index(const IndexCheck& job) {
  const int64_t* index = job.index;
  const uint64_t low = uint64_t(job.low), range = uint64_t(job.size) - low;
  const int64_t bad = find(job.n, [&](int64_t i) { return uint64_t(index[i]) - low >= range; });
  if (bad < 0 && job.out)
    for (int64_t i = 0; i < job.n; ++i) job.out[i] = index[i] + (index[i] < 0 ? job.size : 0);
  return bad;
}

int64_t check_values(const ValueCheck& job) {
  switch (job.dtype) {
    case DType::Bool:
      return find_outside<bool>(job);
    case DType::I64:
      return find_outside<int64_t>(job);
    case DType::F32:
      return find_outside<float>(job);
    default:
      return find_outside<double>(job);
  }
}

}  // namespace lamina::cpu
