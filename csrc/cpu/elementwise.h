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
namespace cpu {

struct ElementwiseArg {
  const void* data;
  DType dtype;             // in memory
  DType compute;           // in the loop
  const int64_t* strides;  // in elements, 0 repeats
};

// Runs `loop` over `sizes`. The output's strides must be those of a dense tensor or a view without repeats.
void elementwise(Loop loop, const void* functor, int ndim, const int64_t* sizes, const ElementwiseArg& out,
                 const ElementwiseArg* in, int n_in);
// The same where everything is already contiguous and of the loop's type.
void elementwise_flat(Loop loop, const void* functor, int64_t n, void* out, int64_t out_size, const void* const* in,
                      const int64_t* in_sizes, int n_in);

}  // namespace cpu
#endif

}  // namespace lamina
