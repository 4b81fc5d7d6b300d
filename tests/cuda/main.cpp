// Runs the emulator tests of one family: every test starts from the same seed, which is printed when it fails, and the
// names of the kernels that were launched are left for coverage.py.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "cuda/emulate/launch.h"

namespace {

class Seed : public testing::EmptyTestEventListener {
 public:
  explicit Seed(uint64_t seed) : seed_(seed) {}

 private:
  void OnTestStart(const testing::TestInfo&) override { lamina::emulate::set_seed(seed_); }
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (result.failed()) std::printf("LAMINA_EMULATE_SEED=%llu\n", (unsigned long long)(seed_));
  }
  uint64_t seed_;
};

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  testing::UnitTest::GetInstance()->listeners().Append(new Seed(lamina::emulate::seed()));
  const int result = RUN_ALL_TESTS();
  if (const char* path = std::getenv("LAMINA_EMULATE_COVERAGE")) {
    std::ofstream file(path);
    for (const std::string& name : lamina::emulate::launched_kernels()) file << name << "\n";
  }
  return result;
}
