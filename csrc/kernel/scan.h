// Running sums, products and extremes along one dimension of a row-major tensor read as (outer, n, inner). One build
// for every instruction set: a scan is a chain. Chunks are whole lines, so results do not depend on the number of
// threads.
#pragma once
#include "core/dtype.h"
#include "kernel/kernel.h"

namespace lamina {

enum class Scan : uint8_t { Sum, Product, Max, Min, LogSumExp };

struct ScanJob {
  Scan kind;
  DType dtype;   // of x and out; int64 for sums and products of integers
  bool reverse;  // from the last element to the first
  const void* x;
  void* out;
  int64_t* positions;  // Max, Min: where the extreme is
  int64_t outer, n, inner;
};

// h[k] = a[k - offset] h[k - 1] + b[k], or with reverse h[k] = a[k + offset] h[k + 1] + b[k].
struct RecurrenceJob {
  DType dtype;
  bool reverse;
  int offset;
  const void *a, *b;
  void* h;
  int64_t outer, n, inner;
};

LM_JOB(void, scan, (const ScanJob& job))
LM_JOB(void, linear_scan, (const RecurrenceJob& job))

}  // namespace lamina
