// First-order gradients of the elementwise formulas, fused with the product by the incoming gradient.
#include "cpu/elementwise_loops.h"
#include "cpu/kernels/loops.h"

namespace lamina::cpu::LM_ISA {

template <class F, class T>
void unary_grad(int64_t n, const void* const* in, void* out, const void* functor) {
  const F f = attributes<F>(functor);
  map_loop<T>(
      n,
      [&](auto g, auto s) LM_INLINE {
        if constexpr (requires { f.df_y(s); })
          return g * f.df_y(s);
        else
          return g * f.df_x(s);
      },
      static_cast<T*>(out), static_cast<const T*>(in[0]), static_cast<const T*>(in[1]));
}

// Which operands a derivative reads is in its name; the others are not even loaded.
template <class F, class T, int side>
void binary_grad(int64_t n, const void* const* in, void* out, const void* functor) {
  const F f = attributes<F>(functor);
  T* y = static_cast<T*>(out);
  const T *g = static_cast<const T*>(in[0]), *a = static_cast<const T*>(in[1]), *b = static_cast<const T*>(in[2]);
  if constexpr (side == 0) {
    if constexpr (requires { f.da_b(T()); })
      map_loop<T>(n, [&](auto u, auto v) LM_INLINE { return u * f.da_b(v); }, y, g, b);
    else
      map_loop<T>(n, [&](auto u, auto v, auto w) LM_INLINE { return u * f.da(v, w); }, y, g, a, b);
  } else {
    if constexpr (requires { f.db_a(T()); })
      map_loop<T>(n, [&](auto u, auto v) LM_INLINE { return u * f.db_a(v); }, y, g, a);
    else
      map_loop<T>(n, [&](auto u, auto v, auto w) LM_INLINE { return u * f.db(v, w); }, y, g, a, b);
  }
}

template <class F>
Loop unary_grad_of(DType dtype) {
  using V = math::Simd<float>;
  if constexpr (requires(F f, V v) { f.df_y(v); } || requires(F f, V v) { f.df_x(v); })
    return dtype == DType::F64 ? &unary_grad<F, double> : &unary_grad<F, float>;
  return nullptr;
}
Loop unary_grad_loop(UnaryId id, DType dtype) {
  switch (id) {
#define UNARY(name, Functor, ...) \
  case UnaryId::name:             \
    return unary_grad_of<math::Functor>(dtype);
#define UNARY_ATTRS(name, Functor, ...) \
  case UnaryId::name:                   \
    return unary_grad_of<math::Functor>(dtype);
#include "ops.def"
  }
  return nullptr;
}

template <class F>
Loop binary_grad_of(int side, DType dtype) {
  using V = math::Simd<float>;
  bool f64 = dtype == DType::F64;
  if constexpr (requires(F f, V v) { f.da_b(v); } || requires(F f, V v) { f.da(v, v); })
    if (side == 0) return f64 ? &binary_grad<F, double, 0> : &binary_grad<F, float, 0>;
  if constexpr (requires(F f, V v) { f.db_a(v); } || requires(F f, V v) { f.db(v, v); })
    if (side == 1) return f64 ? &binary_grad<F, double, 1> : &binary_grad<F, float, 1>;
  return nullptr;
}
Loop binary_grad_loop(BinaryId id, int side, DType dtype) {
  switch (id) {
#define BINARY(name, Functor, ...) \
  case BinaryId::name:             \
    return binary_grad_of<math::Functor>(side, dtype);
#include "ops.def"
  }
  return nullptr;
}

}  // namespace lamina::cpu::LM_ISA
