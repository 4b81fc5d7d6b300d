#include "core/storage.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>
#include <vector>

#include "core/errors.h"

namespace lamina {
namespace {

TEST(Storage, AlignedWritableAtEverySize) {
  for (size_t n : {0, 1, 4, 63, 64, 65, 1000, 4096, 4097, 5000, 70000, 1 << 20, 5 << 20}) {
    Ref<Storage> s = Storage::create(n);
    EXPECT_EQ(s->nbytes, n);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(s->data) % kAlignment, 0u);
    std::memset(s->data, 0x5a, n);
    EXPECT_EQ(s->version.load(), 0u);
  }
}

TEST(Storage, DistinctWhileAlive) {
  std::vector<Ref<Storage>> all;
  for (int i = 0; i < 5000; ++i) {
    all.push_back(Storage::create(16 * (i % 40)));
    std::memset(all.back()->data, i, all.back()->nbytes);
  }
  for (int i = 0; i < 5000; ++i) {
    const char* bytes = static_cast<char*>(all[i]->data);
    for (size_t k = 0; k < all[i]->nbytes; ++k) ASSERT_EQ(bytes[k], static_cast<char>(i));
  }
}

TEST(Storage, LargeBlocksAreReused) {
  empty_cache();
  Storage::create(3 << 20);
  const MemoryStats before = memory_stats();
  for (int i = 0; i < 10; ++i) Storage::create((3 << 20) - 100 * i);
  const MemoryStats after = memory_stats();
  EXPECT_EQ(after.allocations - before.allocations >= 10, true);
#if !defined(__SANITIZE_ADDRESS__)
  EXPECT_EQ(after.system_calls, before.system_calls);
  EXPECT_GE(after.cached, 3 << 20);
#endif
  empty_cache();
  EXPECT_EQ(memory_stats().cached, 0);
}

TEST(Storage, StatisticsFollowLiveBlocks) {
  const int64_t before = memory_stats().allocated;
  {
    Ref<Storage> big = Storage::create(8 << 20);
    EXPECT_GE(memory_stats().allocated - before, 8 << 20);
    EXPECT_GE(memory_stats().peak, before + (8 << 20));
  }
  EXPECT_EQ(memory_stats().allocated, before);
  reset_peak_memory();
  EXPECT_EQ(memory_stats().peak, memory_stats().allocated);
}

TEST(Storage, CacheLimitIsKept) {
  set_cache_limit(4 << 20);
  {
    Ref<Storage> a = Storage::create(3 << 20), b = Storage::create(3 << 20);
  }
  EXPECT_LE(memory_stats().cached, 4 << 20);
  set_cache_limit(1 << 30);
}

TEST(Storage, ExternalMemoryIsHandedBackOnce) {
  int released = 0;
  float data[4] = {1, 2, 3, 4};
  {
    auto release = [](void* count) { ++*static_cast<int*>(count); };
    Ref<Storage> s = Storage::external(data, sizeof(data), Device{}, release, &released);
    Ref<Storage> view = s;
    EXPECT_EQ(view->data, data);
    EXPECT_EQ(view.use_count(), 2);
    EXPECT_EQ(released, 0);
  }
  EXPECT_EQ(released, 1);
}

TEST(Storage, OutOfMemoryNamesTheLargestLiveTensors) {
  Ref<Storage> big = Storage::create(6 << 20), other = Storage::create(6 << 20);
  for (size_t impossible : {size_t{1} << 46, size_t{1} << 60, ~size_t{0} - 100}) {
    try {
      Storage::create(impossible);
      ADD_FAILURE() << "no error for " << impossible;
    } catch (const OutOfMemoryError& error) {
      EXPECT_NE(std::string(error.what()).find("2 x 6.0 MiB"), std::string::npos) << error.what();
    }
  }
}

TEST(Storage, CudaNeedsACudaBuild) { EXPECT_THROW(Storage::create(4, Device{DeviceType::CUDA, 0}), RuntimeError); }

TEST(Allocator, ProducerAndConsumerThreads) {
  const int64_t before = memory_stats().allocated;
  for (int round = 0; round < 5; ++round) {
    std::vector<Ref<Storage>> made;
    std::thread producer([&] {
      for (int i = 0; i < 3000; ++i) made.push_back(Storage::create(100 + i));
    });
    producer.join();
    std::thread consumer([&] { made.clear(); });
    consumer.join();
  }
  EXPECT_EQ(memory_stats().allocated, before);
}

TEST(Allocator, ThreadsTogether) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      std::vector<Ref<Storage>> held;
      for (int i = 0; i < 4000; ++i) {
        held.push_back(Storage::create((i * 37 + t) % 9000));
        std::memset(held.back()->data, t, held.back()->nbytes);
        if (held.size() > 50) held.erase(held.begin(), held.begin() + 25);
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

#if !defined(__SANITIZE_ADDRESS__)
TEST(Allocator, MemoryOfEndedThreadsIsReused) {
  for (int round = 0; round < 2; ++round) std::thread([] { small_free(small_alloc(700), 700); }).join();
  const int64_t slabs = memory_stats().slabs;
  for (int round = 0; round < 50; ++round) std::thread([] { small_free(small_alloc(700), 700); }).join();
  EXPECT_EQ(memory_stats().slabs, slabs);
}
#endif

}  // namespace
}  // namespace lamina
