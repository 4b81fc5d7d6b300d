// The list of kernels that liblamina_cuda.so gives out (cuda/library.cpp) has every declaration of csrc/kernel. That
// all of them are defined is for the linker: without one of them this test is not built.
#include "cuda/library.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

namespace lamina {

const Backend cuda::backend_table{};  // nothing runs here

namespace {

TEST(Library, HasEveryDeclaredKernel) {
  const auto find = lamina_cuda_library()->find_kernel;
  const std::regex declaration("\\bLM_(?:KERNEL|JOB)\\(\\w+, (\\w+),");
  int declared = 0;
  for (const auto& entry : std::filesystem::directory_iterator(LAMINA_KERNEL_DIRECTORY)) {
    if (entry.path().filename() == "kernel.h") continue;  // the macros
    std::stringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    const std::string s = text.str();
    for (auto match = std::sregex_iterator(s.begin(), s.end(), declaration); match != std::sregex_iterator(); ++match) {
      ++declared;
      EXPECT_TRUE(find((*match)[1].str().c_str()))
          << (*match)[1] << ": cuda/library.cpp does not include kernel/" << entry.path().filename().string();
    }
  }
  EXPECT_GT(declared, 0);
  std::printf("kernels declared in csrc/kernel: %d\n", declared);
}

TEST(Library, UnknownNamesAreNull) { EXPECT_FALSE(lamina_cuda_library()->find_kernel("no_such_kernel")); }

}  // namespace
}  // namespace lamina
