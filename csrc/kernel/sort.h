// Sorting, selecting and searching in rows. One build for every instruction set. The one idea: an element and its
// position become one integer whose order is the wanted order (NaN last, ties by position), so that every sort is
// stable and needs no comparison function; long rows are sorted by its digits.
#pragma once
#include "core/dtype.h"
#include "kernel/kernel.h"

namespace lamina {

// The first k elements of each sorted row of n, with their positions; k = n sorts.
struct SortJob {
  DType dtype;
  const void* x;
  void* values;        // rows x k
  int64_t* positions;  // rows x k
  int64_t rows, n, k;
  bool descending = false;
};

// Row r of `sorted` (n elements; one row for all where `shared`) is searched for m values.
struct SearchJob {
  DType dtype;
  const void* sorted;
  const void* values;
  int64_t* positions;
  const int64_t* order;  // null, or sorts `sorted`, where it is not sorted itself
  int64_t rows, n, m;
  bool shared, right;
};

LM_JOB(void, sort, (const SortJob& job))
// The k-th smallest (from 0) of each row and its position; `nan_first`: the first NaN, where there is one.
LM_JOB(void, select_kth, (const SortJob& job, int64_t k, bool nan_first))
// The most frequent element of each row, the smallest of several; and where it is, the last time. k is 1.
LM_JOB(void, find_modes, (const SortJob& job))
LM_JOB(void, search_sorted, (const SearchJob& job))
// Of n sorted values: the first position of every run of equal ones. `starts` has room for n; returns how many.
LM_JOB(int64_t, find_runs, (DType dtype, const void* sorted, int64_t n, int64_t* starts))
// The positions of what is true, in order.
LM_JOB(void, find_nonzero, (const bool* mask, int64_t n, int64_t* positions))
// counts[x[i]] += 1, or weighted[x[i]] += weights[i].
LM_JOB(void, count_bins, (const int64_t* x, int64_t n, const double* weights, double* weighted, int64_t* counts))
// Counts the x in [low, high], in bins of equal width.
LM_JOB(void, histogram, (const double* x, int64_t n, double low, double high, int64_t bins, int64_t* counts))

}  // namespace lamina
