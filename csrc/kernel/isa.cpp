// Which instruction set the kernels use: the best one the CPU has, or a lower one named by LAMINA_ISA.
#include <cstdlib>
#include <cstring>

#include "core/errors.h"
#include "kernel/isa.h"

namespace lamina {
namespace {

constexpr const char* kNames[] = {"base", "avx2", "avx512"};

// What cmake/kernels.cmake compiles for: x86-64-v3 and v4. A CPU with FMA and BMI2 has the rest of v3.
Isa supported() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  if (avx2) return avx512 ? Isa::avx512 : Isa::avx2;
#endif
  return Isa::base;
}

Isa choose() {
  const Isa best = supported();
  if (const char* wanted = std::getenv("LAMINA_ISA")) {
    for (int i = 0; i < static_cast<int>(best); ++i) {
      if (std::strcmp(wanted, kNames[i]) == 0) return static_cast<Isa>(i);
    }
  }
  return best;
}

}  // namespace

// Other files' initializers may run before this one; until then the value is zero, which is `base`.
const Isa cpu::kIsa = choose();

const char* isa_name() { return kNames[static_cast<int>(isa())]; }

}  // namespace lamina
