// How kernels are declared and called. LM_KERNEL(void, relu, (const float* x, float* y, int64_t n)) declares one CPU
// function per instruction set, cuda::relu(stream, x, y, n), and lamina::kernel::relu(stream, x, y, n), which picks the
// device, then the instruction set. LM_JOB does the same for a function that the CPU has once and that cuts work for
// the thread pool. The one idea: kernels know pointers and sizes only, so a device is a second set of functions with
// the same parameters. Each file of CPU kernels is compiled once per instruction set with -DLM_ISA=<isa>
// (cmake/kernels.cmake) and puts everything into namespace lamina::cpu::LM_ISA; the choice is one number, made when the
// library is loaded.
#pragma once
#include <cstdint>

#ifndef LM_ISA
#include "core/backend.h"
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
}  // namespace cpu

template <class Signature>
struct Kernel;

template <class R, class... Args>
struct Kernel<R(Args...)> {
  using Function = R (*)(Args...);
  using OnDevice = R(Stream, Args...);
  CudaKernel& cuda;
  Function base, avx2, avx512;

  R operator()(Stream stream, Args... args) const {
    if (!stream.device.is_cpu()) [[unlikely]]
      return reinterpret_cast<OnDevice*>(cuda.function())(stream, args...);
#if defined(__x86_64__)
    if (cpu::kIsa == Isa::avx512) return avx512(args...);
    if (cpu::kIsa == Isa::avx2) return avx2(args...);
#endif
    return base(args...);
  }
};

template <class Signature>
struct Job;

template <class R, class... Args>
struct Job<R(Args...)> {
  using OnDevice = R(Stream, Args...);
  CudaKernel& cuda;
  R (*cpu)(Args...);

  R operator()(Stream stream, Args... args) const {
    if (stream.device.is_cpu()) [[likely]]
      return cpu(args...);
    return reinterpret_cast<OnDevice*>(cuda.function())(stream, args...);
  }
};

// The same function on the other device: lamina::cuda::NAME(stream, ...), defined in csrc/cuda/*.cu, which are a
// library of their own (Note [The CUDA library]).
#ifndef LM_CUDA_KERNEL
#define LM_CUDA_KERNEL(RESULT, NAME, PARAMETERS)   \
  namespace cuda {                                 \
  ::lamina::Job<RESULT PARAMETERS>::OnDevice NAME; \
  }                                                \
  namespace cuda_kernel {                          \
  inline constinit CudaKernel NAME{#NAME};         \
  }
#endif

#define LM_JOB(RESULT, NAME, PARAMETERS)                                                 \
  namespace cpu {                                                                        \
  RESULT NAME PARAMETERS;                                                                \
  }                                                                                      \
  LM_CUDA_KERNEL(RESULT, NAME, PARAMETERS)                                               \
  namespace kernel {                                                                     \
  inline constexpr Job<RESULT PARAMETERS> NAME{cuda_kernel::NAME, &::lamina::cpu::NAME}; \
  }

inline Isa isa() { return cpu::kIsa; }
const char* isa_name();

#if defined(__x86_64__)
#define LM_KERNEL(RESULT, NAME, PARAMETERS)                                                              \
  namespace cpu::base {                                                                                  \
  RESULT NAME PARAMETERS;                                                                                \
  }                                                                                                      \
  namespace cpu::avx2 {                                                                                  \
  RESULT NAME PARAMETERS;                                                                                \
  }                                                                                                      \
  namespace cpu::avx512 {                                                                                \
  RESULT NAME PARAMETERS;                                                                                \
  }                                                                                                      \
  LM_CUDA_KERNEL(RESULT, NAME, PARAMETERS)                                                               \
  namespace kernel {                                                                                     \
  inline constexpr Kernel<RESULT PARAMETERS> NAME{cuda_kernel::NAME, &cpu::base::NAME, &cpu::avx2::NAME, \
                                                  &cpu::avx512::NAME};                                   \
  }
#else
#define LM_KERNEL(RESULT, NAME, PARAMETERS)                                                               \
  namespace cpu::base {                                                                                   \
  RESULT NAME PARAMETERS;                                                                                 \
  }                                                                                                       \
  LM_CUDA_KERNEL(RESULT, NAME, PARAMETERS)                                                                \
  namespace kernel {                                                                                      \
  inline constexpr Kernel<RESULT PARAMETERS> NAME{cuda_kernel::NAME, &cpu::base::NAME, nullptr, nullptr}; \
  }
#endif

#endif  // LM_ISA

}  // namespace lamina
