// How a CPU kernel is declared and called. LM_KERNEL(void, relu, (const float* x, float* y, int64_t n)) declares one
// function per instruction set and lamina::kernel::relu(stream, x, y, n), which picks the device, then the instruction
// set. The one idea: each kernel file is compiled once per instruction set with -DLM_ISA=<isa> (cmake/kernels.cmake)
// and puts everything into namespace lamina::cpu::LM_ISA; the choice is one number, made when the library is loaded.
#pragma once
#include <cstdint>

#ifndef LM_ISA
#include "core/device.h"
#endif

namespace lamina {

#ifdef LM_ISA

// A kernel file sees its own instruction set only.
#define LM_KERNEL(RESULT, NAME, PARAMETERS) \
  namespace cpu::LM_ISA {                   \
  RESULT NAME PARAMETERS;                   \
  }

#else

enum class Isa : int { base, avx2, avx512 };

namespace cpu {
// Constant after load; `base`, which runs everywhere, until then. LAMINA_ISA=base|avx2|avx512 can lower it.
extern const Isa kIsa;
[[noreturn]] void throw_no_cuda(const char* name);

template <class Signature>
struct Kernel;

template <class R, class... Args>
struct Kernel<R(Args...)> {
  using Function = R (*)(Args...);
  const char* name;
  Function base, avx2, avx512;

  R operator()(Stream stream, Args... args) const {
    if (!stream.device.is_cpu()) throw_no_cuda(name);
#if defined(__x86_64__)
    if (kIsa == Isa::avx512) return avx512(args...);
    if (kIsa == Isa::avx2) return avx2(args...);
#endif
    return base(args...);
  }
};
}  // namespace cpu

inline Isa isa() { return cpu::kIsa; }
const char* isa_name();

// The same kernel on the other device: lamina::cuda::NAME(stream, ...), defined in csrc/cuda/*.cu.
#define LM_UNWRAP(...) __VA_ARGS__
#define LM_CUDA_KERNEL(RESULT, NAME, PARAMETERS)    \
  namespace cuda {                                  \
  RESULT NAME(Stream stream, LM_UNWRAP PARAMETERS); \
  }

#if defined(__x86_64__)
#define LM_KERNEL(RESULT, NAME, PARAMETERS)                                                                            \
  LM_CUDA_KERNEL(RESULT, NAME, PARAMETERS)                                                                             \
  namespace cpu::base {                                                                                                \
  RESULT NAME PARAMETERS;                                                                                              \
  }                                                                                                                    \
  namespace cpu::avx2 {                                                                                                \
  RESULT NAME PARAMETERS;                                                                                              \
  }                                                                                                                    \
  namespace cpu::avx512 {                                                                                              \
  RESULT NAME PARAMETERS;                                                                                              \
  }                                                                                                                    \
  namespace kernel {                                                                                                   \
  inline constexpr cpu::Kernel<RESULT PARAMETERS> NAME{#NAME, &cpu::base::NAME, &cpu::avx2::NAME, &cpu::avx512::NAME}; \
  }
#else
#define LM_KERNEL(RESULT, NAME, PARAMETERS)                                                        \
  LM_CUDA_KERNEL(RESULT, NAME, PARAMETERS)                                                         \
  namespace cpu::base {                                                                            \
  RESULT NAME PARAMETERS;                                                                          \
  }                                                                                                \
  namespace kernel {                                                                               \
  inline constexpr cpu::Kernel<RESULT PARAMETERS> NAME{#NAME, &cpu::base::NAME, nullptr, nullptr}; \
  }
#endif

#endif  // LM_ISA

}  // namespace lamina
