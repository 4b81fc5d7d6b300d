#include "cuda/emulate/fibre.h"

#include <sys/mman.h>

#include <cstdint>

#include "core/errors.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace lamina::emulate {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kStack = 512 << 10;  // red zones make frames large
Fibre* came_from = nullptr;
#else
constexpr size_t kStack = 128 << 10;
#endif
constexpr size_t kGuard = 4096;

// One mapping for all stacks, made once; pages that are never touched cost nothing.
char* stacks() {
  static char* base = [] {
    void* p =
        mmap(nullptr, kMaxFibres * kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    LM_CHECK(p != MAP_FAILED, RuntimeError, "emulate: no memory for fibre stacks");
    for (int i = 0; i < kMaxFibres; ++i) mprotect(static_cast<char*>(p) + i * kStack, kGuard, PROT_NONE);
    return static_cast<char*>(p);
  }();
  return base;
}

}  // namespace

#if defined(__x86_64__)

// Ends in a jump: a ret would go where the processor remembers the last call, on another stack, and always be
// mispredicted.
extern "C" void lamina_switch(void** save, void* load);
asm(R"(
.text
.globl lamina_switch
.hidden lamina_switch
.type lamina_switch, @function
lamina_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rcx
  jmp *%rcx
.size lamina_switch, .-lamina_switch
)");

#endif

void prepare(Fibre& fibre, int slot, void (*entry)()) {
  char* bottom = stacks() + slot * kStack + kGuard;
  // Stacks that begin at the same address modulo 4096 would fight for the same lines of the cache.
  const size_t colour = size_t(slot % 64) * 320;
  fibre.bottom = bottom;
  fibre.size = kStack - kGuard - colour;
  fibre.fake_stack = nullptr;
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(bottom,
                                kStack - kGuard);  // the frames of the fibre before were left, not returned from
#endif
#if defined(__x86_64__)
  auto** top = reinterpret_cast<void**>((reinterpret_cast<uintptr_t>(bottom) + fibre.size) & ~uintptr_t(15));
  *--top = nullptr;  // the return address of entry()
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;  // the six registers that lamina_switch pops
  fibre.stack_pointer = top;
#else
  getcontext(&fibre.context);
  fibre.context.uc_stack.ss_sp = bottom;
  fibre.context.uc_stack.ss_size = fibre.size;
  fibre.context.uc_link = nullptr;
  makecontext(&fibre.context, entry, 0);
#endif
}

void switch_to(Fibre& from, Fibre& to, [[maybe_unused]] bool leaving) {
#if defined(__SANITIZE_ADDRESS__)
  came_from = &from;
  __sanitizer_start_switch_fiber(leaving ? nullptr : &from.fake_stack, to.bottom, to.size);
#endif
#if defined(__x86_64__)
  lamina_switch(&from.stack_pointer, to.stack_pointer);
#else
  swapcontext(&from.context, &to.context);
#endif
#if defined(__SANITIZE_ADDRESS__)
  const void* bottom;
  size_t size;
  __sanitizer_finish_switch_fiber(from.fake_stack, &bottom, &size);
  came_from->bottom = const_cast<void*>(bottom);
  came_from->size = size;
#endif
}

void entered() {
#if defined(__SANITIZE_ADDRESS__)
  const void* bottom;
  size_t size;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &size);
  came_from->bottom = const_cast<void*>(bottom);  // this is how the main fibre gets to know its own stack
  came_from->size = size;
#endif
}

void abandon_stacks() {
#if defined(__SANITIZE_ADDRESS__)
  for (int i = 0; i < kMaxFibres; ++i) __asan_unpoison_memory_region(stacks() + i * kStack + kGuard, kStack - kGuard);
#endif
}

}  // namespace lamina::emulate
