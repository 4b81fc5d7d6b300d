// The instruction sets that the CPU's loops are compiled for. LM_LOOP(void, gemm_tile, (const GemmTile& tile)) declares
// one function per instruction set and lamina::cpu::loop::gemm_tile(tile), which calls the chosen one. The one idea:
// each file of csrc/cpu/kernels is compiled once per instruction set with -DLM_ISA=<isa> (cmake/kernels.cmake) and puts
// everything into namespace lamina::cpu::LM_ISA; the choice is one number, made when the library is loaded. Next:
// kernel.h.
#pragma once
#include <cstdint>

#ifdef LM_ISA

// A kernel file sees its own instruction set only.
#define LM_LOOP(RESULT, NAME, PARAMETERS) \
  namespace cpu::LM_ISA {                 \
  RESULT NAME PARAMETERS;                 \
  }

#else

namespace lamina {

enum class Isa : int { base, avx2, avx512 };

namespace cpu {
// Constant after load; `base`, which runs everywhere, until then. LAMINA_ISA=base|avx2|avx512 can lower it.
extern const Isa kIsa;
}  // namespace cpu

inline Isa isa() { return cpu::kIsa; }
const char* isa_name();

template <class Signature>
struct PerIsa;

template <class R, class... Args>
struct PerIsa<R(Args...)> {
  using Function = R (*)(Args...);
  Function base, avx2, avx512;

  [[gnu::always_inline]] R operator()(Args... args) const {
#if defined(__x86_64__)
    if (cpu::kIsa == Isa::avx512) return avx512(args...);
    if (cpu::kIsa == Isa::avx2) return avx2(args...);
#endif
    return base(args...);
  }
};

}  // namespace lamina

#if defined(__x86_64__)
#define LM_LOOP(RESULT, NAME, PARAMETERS)                                                                  \
  namespace cpu::base {                                                                                    \
  RESULT NAME PARAMETERS;                                                                                  \
  }                                                                                                        \
  namespace cpu::avx2 {                                                                                    \
  RESULT NAME PARAMETERS;                                                                                  \
  }                                                                                                        \
  namespace cpu::avx512 {                                                                                  \
  RESULT NAME PARAMETERS;                                                                                  \
  }                                                                                                        \
  namespace cpu::loop {                                                                                    \
  inline constexpr PerIsa<RESULT PARAMETERS> NAME{&cpu::base::NAME, &cpu::avx2::NAME, &cpu::avx512::NAME}; \
  }
#else
#define LM_LOOP(RESULT, NAME, PARAMETERS)                                              \
  namespace cpu::base {                                                                \
  RESULT NAME PARAMETERS;                                                              \
  }                                                                                    \
  namespace cpu::loop {                                                                \
  inline constexpr PerIsa<RESULT PARAMETERS> NAME{&cpu::base::NAME, nullptr, nullptr}; \
  }
#endif

#endif  // LM_ISA
