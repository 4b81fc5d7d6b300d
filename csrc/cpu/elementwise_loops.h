// One loop over contiguous memory per formula and type; cpu/elementwise.cpp brings any operands to it. Next:
// kernels/loops.h.
#pragma once
#include "kernel/elementwise.h"

namespace lamina {

// nullptr where the formula is not defined for the dtype (f32, f64, integers; bool counts as u8).
LM_LOOP(Loop, unary_float_loop, (UnaryId id, DType dtype))
LM_LOOP(Loop, unary_int_loop, (UnaryId id, DType dtype))
LM_LOOP(Loop, binary_float_loop, (BinaryId id, DType dtype))
LM_LOOP(Loop, binary_int_loop, (BinaryId id, DType dtype))
// in: gradient of the output, then what the derivative's name asks for (x or y; a and b).
LM_LOOP(Loop, unary_grad_loop, (UnaryId id, DType dtype))
LM_LOOP(Loop, binary_grad_loop, (BinaryId id, int side, DType dtype))
// in: condition (bool), a, b, by element size.
LM_LOOP(Loop, select_loop, (DType dtype))

#ifndef LM_ISA
// The CPU's loop for a formula, nullptr where it is not defined for the dtype it would compute in: on any device.
inline Loop find_loop(Formula f, DType dtype) {
  switch (f.kind) {
    case Formula::Unary:
      return is_floating(dtype) ? cpu::loop::unary_float_loop(UnaryId(f.id), dtype)
                                : cpu::loop::unary_int_loop(UnaryId(f.id), dtype);
    case Formula::UnaryGrad:
      return cpu::loop::unary_grad_loop(UnaryId(f.id), dtype);
    case Formula::Binary:
      return is_floating(dtype) ? cpu::loop::binary_float_loop(BinaryId(f.id), dtype)
                                : cpu::loop::binary_int_loop(BinaryId(f.id), dtype);
    case Formula::BinaryGradA:
      return cpu::loop::binary_grad_loop(BinaryId(f.id), 0, dtype);
    case Formula::BinaryGradB:
      return cpu::loop::binary_grad_loop(BinaryId(f.id), 1, dtype);
    default:
      return cpu::loop::select_loop(dtype);
  }
}

namespace cpu {
// Where everything is already contiguous and of the loop's type.
void elementwise_flat(Loop loop, const void* functor, int64_t n, void* out, int64_t out_size, const void* const* in,
                      const int64_t* in_sizes, int n_in);
}  // namespace cpu
#endif

}  // namespace lamina
