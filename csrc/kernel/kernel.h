// How work is declared that every device can do. LM_KERNEL(void, relu, (const float* x, float* y, int64_t n)) declares
// one CPU function per instruction set (isa.h), cuda::relu(stream, x, y, n), and lamina::kernel::relu(stream, x, y, n),
// which picks the device. LM_JOB does the same for a function that the CPU has once and that cuts work for the thread
// pool. The one idea: kernels know pointers and sizes only, so a device is a second set of functions with the same
// parameters. A header of this directory declares what both devices implement, and nothing else: loops that only the
// CPU has are LM_LOOPs in csrc/cpu.
#pragma once
#include "kernel/isa.h"

#ifdef LM_ISA

#define LM_KERNEL LM_LOOP
#define LM_JOB(RESULT, NAME, PARAMETERS)

#else
#include "core/backend.h"

namespace lamina {

template <class Signature, class Cpu>
struct Kernel;

// Cpu: a function, or one per instruction set.
template <class R, class... Args, class Cpu>
struct Kernel<R(Args...), Cpu> {
  CudaKernel& cuda;
  Cpu cpu;

  R operator()(Stream stream, Args... args) const {
    if (stream.device.is_cpu()) [[likely]]
      return cpu(args...);
    return reinterpret_cast<R (*)(Stream, Args...)>(cuda.function())(stream, args...);
  }
};

template <class Signature>
struct OnStream;
template <class R, class... Args>
struct OnStream<R(Args...)> {
  using Function = R(Stream, Args...);
};

}  // namespace lamina

// The same function on the other device: lamina::cuda::NAME(stream, ...), defined in csrc/cuda/*.cu, which are a
// library of their own (Note [The CUDA library]). That library lists them all (cuda/library.cpp), so that it does not
// link where one is missing.
#ifndef LM_CUDA_KERNEL
#define LM_CUDA_KERNEL(RESULT, NAME, PARAMETERS)        \
  namespace cuda {                                      \
  ::lamina::OnStream<RESULT PARAMETERS>::Function NAME; \
  }                                                     \
  namespace cuda_kernel {                               \
  inline constinit CudaKernel NAME{#NAME};              \
  }
#endif

#define LM_KERNEL(RESULT, NAME, PARAMETERS)                                                              \
  LM_LOOP(RESULT, NAME, PARAMETERS)                                                                      \
  LM_CUDA_KERNEL(RESULT, NAME, PARAMETERS)                                                               \
  namespace kernel {                                                                                     \
  inline constexpr Kernel<RESULT PARAMETERS, PerIsa<RESULT PARAMETERS>> NAME{cuda_kernel::NAME,          \
                                                                             ::lamina::cpu::loop::NAME}; \
  }

#define LM_JOB(RESULT, NAME, PARAMETERS)                                                                          \
  namespace cpu {                                                                                                 \
  RESULT NAME PARAMETERS;                                                                                         \
  }                                                                                                               \
  LM_CUDA_KERNEL(RESULT, NAME, PARAMETERS)                                                                        \
  namespace kernel {                                                                                              \
  inline constexpr Kernel<RESULT PARAMETERS, RESULT(*) PARAMETERS> NAME{cuda_kernel::NAME, &::lamina::cpu::NAME}; \
  }

#endif  // LM_ISA
