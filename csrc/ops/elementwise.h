// How an operator runs an elementwise loop over tensors. See cpu/elementwise_loops.h for the loops.
#pragma once
#include "core/tensor.h"
#include "cpu/elementwise_loops.h"

namespace lamina {

struct LoopCall {
  Formula formula;
  Loop loop;  // find_loop(formula, compute)
  const void* functor;
  DType compute;          // what the loop reads
  DType result;           // what it writes
  DType first = compute;  // what it reads from the first input, where that differs (a condition)
};
// Inputs broadcast to out; all are converted as needed. Records nothing.
void run_loop(const LoopCall& call, const Tensor& out, std::initializer_list<const Tensor*> inputs);

// The device that the operands of `op` are on; numbers of shape () in host memory go with any.
Device common_device(std::initializer_list<const Tensor*> operands, const char* op);

}  // namespace lamina
