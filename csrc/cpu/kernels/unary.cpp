// Every unary formula of the table on float and double, and on integers where it is defined for them.
#include "cpu/elementwise_loops.h"
#include "cpu/kernels/loops.h"

namespace lamina::cpu::LM_ISA {

Loop unary_float_loop(UnaryId id, DType dtype) {
  bool f64 = dtype == DType::F64;
  switch (id) {
#define ROW(name, Functor)                                           \
  case UnaryId::name:                                                \
    if constexpr (math::Functor::kDomain == math::Domain::kIntegral) \
      return nullptr;                                                \
    else                                                             \
      return f64 ? &unary_loop<math::Functor, double> : &unary_loop<math::Functor, float>;
#define UNARY(name, Functor, ...) ROW(name, Functor)
#define UNARY_ATTRS(name, Functor, ...) ROW(name, Functor)
#include "ops.def"
#undef ROW
  }
  return nullptr;
}

template <class Functor>
Loop int_loop(DType dtype) {
  return loop_on_integers<Functor>(dtype, []<class T>() -> Loop { return &unary_loop<Functor, T>; });
}

Loop unary_int_loop(UnaryId id, DType dtype) {
  switch (id) {
#define UNARY(name, Functor, ...) \
  case UnaryId::name:             \
    return int_loop<math::Functor>(dtype);
#define UNARY_ATTRS(name, Functor, ...) \
  case UnaryId::name:                   \
    return int_loop<math::Functor>(dtype);
#include "ops.def"
  }
  return nullptr;
}

}  // namespace lamina::cpu::LM_ISA
