// Elementwise computation: one loop over contiguous memory per formula and type, and one executor that brings any
// operands to it: strided, broadcast and converted operands pass through tiles that stay in L1. So a formula is
// compiled once per type, never per layout or pair of dtypes. Next: kernels/loops.h (the loops), elementwise.cpp (the
// executor).
#pragma once
#include "core/dtype.h"
#include "cpu/kernel.h"

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

// nullptr where the formula is not defined for the dtype (f32, f64, integers; bool counts as u8).
LM_KERNEL(Loop, unary_float_loop, (UnaryId id, DType dtype))
LM_KERNEL(Loop, unary_int_loop, (UnaryId id, DType dtype))
LM_KERNEL(Loop, binary_float_loop, (BinaryId id, DType dtype))
LM_KERNEL(Loop, binary_int_loop, (BinaryId id, DType dtype))
// in: gradient of the output, then what the derivative's name asks for (x or y; a and b).
LM_KERNEL(Loop, unary_grad_loop, (UnaryId id, DType dtype))
LM_KERNEL(Loop, binary_grad_loop, (BinaryId id, int side, DType dtype))
// in: condition (bool), a, b, by element size.
LM_KERNEL(Loop, select_loop, (DType dtype))

#ifndef LM_ISA
// A row of the table and which side of it: the formula itself, or its derivative times the incoming gradient.
struct Formula {
  enum Kind : uint8_t { Unary, UnaryGrad, Binary, BinaryGradA, BinaryGradB, Select } kind;
  int id;
};

// The CPU's loop for a formula, nullptr where it is not defined for the dtype it would compute in: on any device.
inline Loop find_loop(Formula f, DType dtype) {
  switch (f.kind) {
    case Formula::Unary:
      return is_floating(dtype) ? kernel::unary_float_loop({}, UnaryId(f.id), dtype)
                                : kernel::unary_int_loop({}, UnaryId(f.id), dtype);
    case Formula::UnaryGrad:
      return kernel::unary_grad_loop({}, UnaryId(f.id), dtype);
    case Formula::Binary:
      return is_floating(dtype) ? kernel::binary_float_loop({}, BinaryId(f.id), dtype)
                                : kernel::binary_int_loop({}, BinaryId(f.id), dtype);
    case Formula::BinaryGradA:
      return kernel::binary_grad_loop({}, BinaryId(f.id), 0, dtype);
    case Formula::BinaryGradB:
      return kernel::binary_grad_loop({}, BinaryId(f.id), 1, dtype);
    default:
      return kernel::select_loop({}, dtype);
  }
}

namespace cpu {

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

// Where everything is already contiguous and of the loop's type.
void elementwise_flat(Loop loop, const void* functor, int64_t n, void* out, int64_t out_size, const void* const* in,
                      const int64_t* in_sizes, int n_in);

}  // namespace cpu

// Runs a formula over `sizes`. The output's strides must be those of a dense tensor or a view without repeats.
LM_JOB(void, elementwise, (const cpu::ElementwiseJob& job))
#endif

}  // namespace lamina
