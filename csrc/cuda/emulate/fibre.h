// A fibre: a stack and a place to continue, so that a thousand GPU threads take turns on one CPU thread. The one idea:
// a switch is an ordinary function call that returns on another stack; it saves the callee-saved registers only, about
// 5 ns on x86-64 (ucontext elsewhere). Next: block.h, which decides who runs.
#pragma once
#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace lamina::emulate {

struct Fibre {
#if defined(__x86_64__)
  void* stack_pointer = nullptr;
#else
  ucontext_t context;
#endif
  void* bottom = nullptr;  // of the stack, and its size: AddressSanitizer wants to know where it runs
  size_t size = 0;
  void* fake_stack = nullptr;
};

// `fibre` will run entry() on stack number `slot` when it is switched to; entry must never return.
void prepare(Fibre& fibre, int slot, void (*entry)());
// Continues `to`; returns when somebody switches back to `from`. A leaving fibre never comes back.
void switch_to(Fibre& from, Fibre& to, bool leaving = false);
// The first thing a fibre does.
void entered();
// Fibres were left in the middle of a call: forget what their stacks held.
void abandon_stacks();

inline constexpr int kMaxFibres = 1024;

}  // namespace lamina::emulate
