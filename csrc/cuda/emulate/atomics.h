// Atomic operations on global memory (T*) and shared memory (Shared<T>). Fibres switch only where the emulator says so,
// hence a plain read-modify-write is atomic; a switch may come before it.
#pragma once
#include "cuda/emulate/shared.h"

namespace lamina::emulate {

template <class T, class F>
T atomic_update(T* p, F&& f) {
  maybe_preempt();
  const T old = *p;
  *p = f(old);
  return old;
}
template <class T, class F>
T atomic_update(Shared<T> s, F&& f) {
  touch(Access::Atomic, s.p, sizeof(T), s.begin, s.end);
  const T old = *s.p;
  *s.p = f(old);
  return old;
}

}  // namespace lamina::emulate

#define LM_ATOMIC(NAME, EXPRESSION)                                                   \
  template <class T>                                                                  \
  T NAME(T* p, std::type_identity_t<T> v) {                                           \
    return lamina::emulate::atomic_update(p, [&](T old) -> T { return EXPRESSION; }); \
  }                                                                                   \
  template <class T>                                                                  \
  T NAME(lamina::emulate::Shared<T> p, std::type_identity_t<T> v) {                   \
    return lamina::emulate::atomic_update(p, [&](T old) -> T { return EXPRESSION; }); \
  }
LM_ATOMIC(atomicAdd, old + v)
LM_ATOMIC(atomicSub, old - v)
LM_ATOMIC(atomicMax, old > v ? old : v)
LM_ATOMIC(atomicMin, old < v ? old : v)
LM_ATOMIC(atomicAnd, old& v)
LM_ATOMIC(atomicOr, old | v)
LM_ATOMIC(atomicXor, old ^ v)
LM_ATOMIC(atomicInc, old >= v ? T(0) : old + 1)
LM_ATOMIC(atomicDec, old == 0 || old > v ? v : old - 1)
LM_ATOMIC(atomicExch, ((void)old, v))
#undef LM_ATOMIC

template <class P, class T>
auto atomicCAS(P p, T compare, T value) {
  return lamina::emulate::atomic_update(
      p, [&](auto old) { return old == decltype(old)(compare) ? decltype(old)(value) : old; });
}
