#include "kernel/kernel.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "core/errors.h"

namespace lamina {

// A kernel that tells which build of it ran.
LM_KERNEL(std::string, probe, (const char* text, int n))

namespace cpu::base {
std::string probe(const char* text, int n) { return std::string(text) + " base " + std::to_string(n); }
}  // namespace cpu::base
#if defined(__x86_64__)
namespace cpu::avx2 {
std::string probe(const char* text, int n) { return std::string(text) + " avx2 " + std::to_string(n); }
}  // namespace cpu::avx2
namespace cpu::avx512 {
std::string probe(const char* text, int n) { return std::string(text) + " avx512 " + std::to_string(n); }
}  // namespace cpu::avx512
#endif

namespace {

TEST(Kernel, RunsTheChosenInstructionSet) {
  EXPECT_EQ(kernel::probe(Stream{}, "ran", 3), std::string("ran ") + isa_name() + " 3");
  const char* wanted = std::getenv("LAMINA_ISA");
  if (wanted) {
    EXPECT_STREQ(isa_name(), wanted);
  }
}

TEST(Kernel, CudaNeedsACudaBuild) {
  try {
    kernel::probe(Stream{Device{DeviceType::CUDA, 0}}, "ran", 3);
    FAIL();
  } catch (const RuntimeError& error) {
    EXPECT_STREQ(error.what(), "probe: this build of lamina has no CUDA support");
  }
}

}  // namespace
}  // namespace lamina
