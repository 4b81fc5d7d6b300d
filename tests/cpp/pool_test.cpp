#include "core/pool.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

#include "core/errors.h"

namespace lamina {
namespace {

struct PoolTest : testing::TestWithParam<int> {
  void SetUp() override { set_num_threads(GetParam()); }
};

TEST_P(PoolTest, RunsEveryChunkOnce) {
  for (int64_t chunks : {0, 1, 2, 3, 7, 64, 1000}) {
    std::vector<int> hits(chunks, 0);
    parallel_for(chunks, [&](int64_t i) { hits[i] += 1; });
    EXPECT_EQ(std::count(hits.begin(), hits.end(), 1), chunks);
  }
}

TEST_P(PoolTest, ManyShortRegions) {
  int64_t cells[8] = {};
  for (int region = 0; region < 20000; ++region) parallel_for(8, [&](int64_t i) { cells[i] += i; });
  for (int64_t i = 0; i < 8; ++i) EXPECT_EQ(cells[i], 20000 * i);
}

TEST_P(PoolTest, WakesSleepingWorkers) {
  std::atomic<int> total{0};
  for (int region = 0; region < 20; ++region) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    parallel_for(16, [&](int64_t) { total.fetch_add(1); });
  }
  EXPECT_EQ(total.load(), 320);
}

TEST_P(PoolTest, ExceptionReachesTheCallerAndThePoolSurvives) {
  for (int round = 0; round < 50; ++round) {
    EXPECT_THROW(parallel_for(32,
                              [](int64_t i) {
                                if (i % 5 == 3) throw std::out_of_range("chunk");
                              }),
                 std::out_of_range);
    std::atomic<int> total{0};
    parallel_for(32, [&](int64_t) { total.fetch_add(1); });
    EXPECT_EQ(total.load(), 32);
  }
}

TEST_P(PoolTest, NestedRegionsRunInline) {
  std::atomic<int> total{0};
  parallel_for(6, [&](int64_t) { parallel_for(7, [&](int64_t) { total.fetch_add(1); }); });
  EXPECT_EQ(total.load(), 42);
}

TEST_P(PoolTest, SeveralCallersAtOnce) {
  std::vector<int64_t> sums(4, 0);
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&sums, c] {
      for (int region = 0; region < 500; ++region) {
        int64_t parts[10] = {};
        parallel_for(10, [&](int64_t i) { parts[i] = i; });
        sums[c] += std::accumulate(parts, parts + 10, int64_t{0});
      }
    });
  }
  for (auto& caller : callers) caller.join();
  for (int64_t sum : sums) EXPECT_EQ(sum, 500 * 45);
}

TEST_P(PoolTest, SurvivesFork) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "ThreadSanitizer does not support threads after a fork";
#endif
  std::atomic<int> warm{0};
  parallel_for(8, [&](int64_t) { warm.fetch_add(1); });
  const pid_t child = fork();
  if (child == 0) {
    std::atomic<int> total{0};
    parallel_for(100, [&](int64_t) { total.fetch_add(1); });
    _exit(total.load() == 100 && get_num_threads() == GetParam() ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

INSTANTIATE_TEST_SUITE_P(Threads, PoolTest, testing::Values(1, 2, 5));

TEST(Pool, ThreadCountChangesBetweenRegions) {
  for (int n : {3, 1, 6, 2, 4}) {
    set_num_threads(n);
    EXPECT_EQ(get_num_threads(), n);
    std::atomic<int> total{0};
    parallel_for(50, [&](int64_t) { total.fetch_add(1); });
    EXPECT_EQ(total.load(), 50);
  }
  EXPECT_THROW(set_num_threads(0), ValueError);
}

}  // namespace
}  // namespace lamina
