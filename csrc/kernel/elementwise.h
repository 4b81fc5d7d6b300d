// Elementwise computation: a formula of the table over operands that are strided, broadcast or converted. So a formula
// is compiled once per type, never per pair of dtypes. Next: cpu/elementwise.cpp, cuda/elementwise.h.
#pragma once
#include "core/dtype.h"
#include "kernel/kernel.h"

namespace lamina {

// Rows of the table as numbers.
enum class UnaryId : int {
#define UNARY(name, ...) name,
#define UNARY_ATTRS(name, ...) name,
#include "ops.def"
};
enum class BinaryId : int {
#define BINARY(name, ...) name,
#include "ops.def"
};

// out[i] = f(in[0][i], ...) for i < n; `functor` points at the formula's attributes.
using Loop = void (*)(int64_t n, const void* const* in, void* out, const void* functor);

// A row of the table and which side of it: the formula itself, or its derivative times the incoming gradient.
struct Formula {
  enum Kind : uint8_t { Unary, UnaryGrad, Binary, BinaryGradA, BinaryGradB, Select } kind;
  int id;
};

struct ElementwiseArg {
  const void* data;
  DType dtype;             // in memory
  DType compute;           // in the loop
  const int64_t* strides;  // in elements, 0 repeats
  bool on_host = false;    // a number in host memory, whatever the device
};

struct ElementwiseJob {
  Formula formula;
  Loop loop;            // of `formula`; the CPU's
  const void* functor;  // the formula's attributes, in host memory
  int ndim;
  const int64_t* sizes;
  ElementwiseArg out;
  const ElementwiseArg* in;
  int n_in;
};

// Runs a formula over `sizes`. The output's strides must be those of a dense tensor or a view without repeats.
LM_JOB(void, elementwise, (const ElementwiseJob& job))

}  // namespace lamina
