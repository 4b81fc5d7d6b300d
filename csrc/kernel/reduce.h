// Reductions. A ReduceJob names the reduction and two loop nests over x: the kept dimensions (one result
// each, row-major) and the reduced ones. The one idea: any reduction is a State with block (a short run of memory),
// columns (many results side by side), merge and finish; chunks are cut from the sizes alone and merged in order, so
// that the result does not depend on the number of threads. Next: cpu/reduce.cpp, cuda/reduce.cu.
#pragma once
#include "core/dtype.h"
#include "kernel/kernel.h"
#include "kernel/loops.h"

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

LM_JOB(void, reduce, (const ReduceJob& job))

}  // namespace lamina
