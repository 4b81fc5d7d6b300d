// Reductions on the CPU. A ReduceJob names the reduction and two loop nests over x: the kept dimensions (one result
// each, row-major) and the reduced ones. The one idea: any reduction is a State with block (a short run of memory),
// columns (many results side by side), merge and finish; chunks are cut from the sizes alone and merged in order, so
// that the result does not depend on the number of threads. Next: kernels/reduce.cpp (loops), kernels/reduce_states.h
// (states).
#pragma once
#include "core/dtype.h"
#include "cpu/kernel.h"
#include "cpu/loops.h"

namespace lamina {

enum class Reduce : uint8_t {
  Sum,
  NanSum,
  SumAbs,
  SumSquare,
  SumPow,
  Prod,
  Max,
  Min,
  MaxAbs,
  MinAbs,
  ArgMax,
  ArgMin,
  Any,
  All,
  CountNonzero,
  Var,
  LogSumExp
};

struct ReduceJob {
  Reduce kind;
  DType dtype;  // of x; Bool is read as U8
  const void* x = nullptr;
  void* out = nullptr;   // values; may be null for ArgMax, ArgMin
  void* out2 = nullptr;  // positions (int64) for ArgMax, ArgMin; means for Var; may be null
  double p = 0;          // SumPow: the exponent; Var: the correction
  double divisor = 1;    // Sum: the result is divided by it (mean)
  bool root = false;     // SumSquare, SumPow: take the p-th root; Var: the standard deviation
  // Columns: the innermost kept dimension has stride 1 and is reduced side by side. Otherwise rows: the innermost
  // reduced dimension has stride 1 (or only one element).
  bool columns = false;
  Loops kept, reduced;
};

inline constexpr int64_t kColumnTile = 512;  // results side by side in one unit of work
inline constexpr int64_t kStateBytes = 32;   // room for any State

// Results [begin, end) over the reduced elements [from, to). A unit is one result, or one tile of columns.
// states null: finish and store; else leave a State per result there, for reduce_finish.
LM_KERNEL(void, reduce_part, (const ReduceJob& job, int64_t begin, int64_t end, int64_t from, int64_t to, void* states))
// states is [pieces][results]: merges the pieces of results [begin, end) in order and stores.
LM_KERNEL(void, reduce_finish,
          (const ReduceJob& job, int64_t begin, int64_t end, int64_t pieces, int64_t results, void* states))

#ifndef LM_ISA
// The whole job: cuts the chunks and runs them on the pool.
LM_JOB(void, reduce, (const ReduceJob& job))
#endif

}  // namespace lamina
