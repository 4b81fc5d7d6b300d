// Every binary formula of the table on float and double, and on integers where it is defined for them; and selection.
#include "cpu/elementwise_loops.h"
#include "cpu/kernels/loops.h"

namespace lamina::cpu::LM_ISA {

Loop binary_float_loop(BinaryId id, DType dtype) {
  bool f64 = dtype == DType::F64;
  switch (id) {
#define BINARY(name, Functor, ...)                                   \
  case BinaryId::name:                                               \
    if constexpr (math::Functor::kDomain == math::Domain::kIntegral) \
      return nullptr;                                                \
    else                                                             \
      return f64 ? &binary_loop<math::Functor, double> : &binary_loop<math::Functor, float>;
#include "ops.def"
  }
  return nullptr;
}

template <class Functor>
Loop int_loop(DType dtype) {
  return loop_on_integers<Functor>(dtype, []<class T>() -> Loop { return &binary_loop<Functor, T>; });
}

Loop binary_int_loop(BinaryId id, DType dtype) {
  switch (id) {
#define BINARY(name, Functor, ...) \
  case BinaryId::name:             \
    return int_loop<math::Functor>(dtype);
#include "ops.def"
  }
  return nullptr;
}

// Bits are moved, not computed with: one loop per element size.
template <class T>
void select_elements(int64_t n, const void* const* in, void* out, const void*) {
  const bool* condition = static_cast<const bool*>(in[0]);
  const T *a = static_cast<const T*>(in[1]), *b = static_cast<const T*>(in[2]);
  T* y = static_cast<T*>(out);
  for (int64_t i = 0; i < n; ++i) y[i] = condition[i] ? a[i] : b[i];
}

Loop select_loop(DType dtype) {
  switch (item_size(dtype)) {
    case 1:
      return &select_elements<uint8_t>;
    case 2:
      return &select_elements<uint16_t>;
    case 4:
      return &select_elements<uint32_t>;
    default:
      return &select_elements<uint64_t>;
  }
}

}  // namespace lamina::cpu::LM_ISA
