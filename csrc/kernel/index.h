// Moving elements by computed positions: take and put whole slices at offsets (indexing, index_select, embedding-like
// gradients), gather and scatter element by element along a dimension. One build for every instruction set: these loops
// wait for memory. The one idea: what meets at one place is added in the order of the index, one thread per place, so
// that results do not depend on the number of threads. Indices are checked before (kernel/check.h).
#pragma once
#include "core/device.h"
#include "core/dtype.h"
#include "kernel/kernel.h"
#include "kernel/loops.h"

namespace lamina {

enum class PutMode : uint8_t { Assign, Add, Mul, Min, Max };

// Elements x[outer][offsets[k] * scale][inner] against values[outer][k][inner] (row-major, or one value for all).
struct SliceJob {
  DType dtype;
  void* x;
  void* values;
  const int64_t* offsets;
  int64_t count;
  int64_t scale;
  bool one_value = false;
  Loops outer, inner;
};

// Elements x[outer][index * step][inner] against values and index, both row-major of shape (outer, count, inner).
struct LineJob {
  DType dtype;
  void* x;
  void* values;
  const int64_t* index;
  int64_t count;
  int64_t step;
  bool one_value = false;
  Loops outer, inner;
};

LM_JOB(void, take, (const SliceJob& job))               // values = x
LM_JOB(void, put, (const SliceJob& job, PutMode mode))  // x = values, x += values ...
LM_JOB(void, gather, (const LineJob& job))
LM_JOB(void, scatter, (const LineJob& job, PutMode mode))
// offsets[i] = where the element is that is number positions[i] of the loops.
LM_JOB(void, find_offsets, (const Loops& loops, const int64_t* positions, int64_t n, int64_t* offsets))

// The index along every dimension of elements counted row-major: out[i * row_step + d * dim_step] for positions[i].
struct UnravelJob {
  const int64_t* positions;
  int64_t n;
  int dims;
  int64_t sizes[16];
  int64_t* out;
  int64_t row_step, dim_step;
};
LM_JOB(void, unravel, (const UnravelJob& job))

}  // namespace lamina
