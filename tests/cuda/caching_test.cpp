// The caching allocator on a pretended device: its policy, its order across streams, its report, and a million random
// operations against a model that knows who may use which bytes.
#include "cuda/caching.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>

#include "core/errors.h"

namespace lamina::cuda {
namespace {

constexpr size_t kKilo = 1024, kMega = kKilo * kKilo;

// Addresses without memory behind them; streams are numbers, and run only when told to.
struct Device {
  struct Event {
    size_t stream;
    int64_t position;
  };
  struct Segment {
    size_t bytes, serial;
  };
  size_t capacity;
  std::map<uintptr_t, Segment> segments;
  size_t reserved = 0, calls = 0;
  int events = 0;
  int64_t queued[8] = {}, run[8] = {};

  explicit Device(size_t bytes) : capacity(bytes) {}
  MemorySource source() { return {this, reserve, release, record, done, wait}; }
  static void* stream(size_t i) { return reinterpret_cast<void*>(i); }

  static void* reserve(void* context, size_t bytes) {
    auto& self = *static_cast<Device*>(context);
    ++self.calls;
    if (self.reserved + bytes > self.capacity) return nullptr;
    uintptr_t p = 0x10000000;  // the first gap
    for (const auto& [begin, segment] : self.segments) {
      if (begin - p >= bytes) break;
      p = begin + segment.bytes;
    }
    self.segments[p] = {bytes, self.calls};
    self.reserved += bytes;
    return reinterpret_cast<void*>(p);
  }
  static void release(void* context, void* p, size_t bytes) {
    auto& self = *static_cast<Device*>(context);
    ++self.calls;
    const auto it = self.segments.find(reinterpret_cast<uintptr_t>(p));
    ASSERT_TRUE(it != self.segments.end() && it->second.bytes == bytes);
    self.segments.erase(it);
    self.reserved -= bytes;
    for (size_t i = 0; i < 8; ++i) self.run[i] = self.queued[i];
  }
  static void* record(void* context, void* stream) {
    auto& self = *static_cast<Device*>(context);
    const auto i = reinterpret_cast<size_t>(stream);
    ++self.events;
    return new Event{i, ++self.queued[i]};
  }
  static bool done(void* context, void* event) {
    auto& self = *static_cast<Device*>(context);
    const auto* e = static_cast<Event*>(event);
    if (self.run[e->stream] < e->position) return false;
    --self.events;
    delete e;
    return true;
  }
  static void wait(void* context, void* event) {
    auto& self = *static_cast<Device*>(context);
    const auto* e = static_cast<Event*>(event);
    self.run[e->stream] = std::max(self.run[e->stream], e->position);
    done(context, event);
  }
};

TEST(Caching, SegmentsSplitAndCoalesce) {
  Device device(1024 * kMega);
  CachingAllocator cache(device.source());
  void* const s = Device::stream(1);
  auto* a = static_cast<char*>(cache.allocate(1, s));
  auto* b = static_cast<char*>(cache.allocate(513, s));
  auto* c = static_cast<char*>(cache.allocate(kMega, s));
  EXPECT_EQ(b - a, 512);
  EXPECT_EQ(c - b, 1024);
  EXPECT_EQ(device.reserved, 2 * kMega);
  cache.free(a);
  EXPECT_EQ(cache.allocate(100, s), a);  // at once, in the same stream
  EXPECT_NE(cache.allocate(100, Device::stream(2)), a);
  EXPECT_EQ(device.reserved, 4 * kMega);
  void* d = cache.allocate(kMega + 1, s);
  EXPECT_EQ(device.reserved, 36 * kMega);
  void* e = cache.allocate(33 * kMega + 1, s);
  EXPECT_EQ(device.reserved, 70 * kMega);
  EXPECT_EQ(cache.stats().allocated_bytes.current,
            int64_t(512 + 1024 + kMega + 512 + kMega + 512 + 33 * kMega + 512 + kMega - 512));
  for (void* p : {static_cast<void*>(b), static_cast<void*>(c), static_cast<void*>(a), d, e}) cache.free(p);
  EXPECT_EQ(cache.stats().largest_free, int64_t(34 * kMega));
  const size_t calls = device.calls;
  EXPECT_EQ(cache.allocate(2 * kMega - 512, s) == nullptr, false);
  cache.allocate(34 * kMega, s);
  EXPECT_EQ(device.calls, calls);  // hits do not ask the device
  EXPECT_THROW(cache.free(e == d ? nullptr : &device), RuntimeError);
}

TEST(Caching, BestFitPrefersTheLowestAddress) {
  Device device(64 * kMega);
  CachingAllocator cache(device.source());
  std::vector<void*> blocks;
  for (size_t kilo : {8, 1, 4, 1, 16, 1, 4, 1}) blocks.push_back(cache.allocate(kilo * kKilo, nullptr));
  for (size_t i = 0; i < 8; i += 2) cache.free(blocks[i]);
  EXPECT_EQ(cache.allocate(4 * kKilo, nullptr), blocks[2]);
  EXPECT_EQ(cache.allocate(3 * kKilo, nullptr), blocks[6]);
  EXPECT_EQ(cache.allocate(5 * kKilo, nullptr), blocks[0]);
  EXPECT_EQ(cache.allocate(9 * kKilo, nullptr), blocks[4]);
}

TEST(Caching, ABlockWaitsForTheOtherStreamsThatUsedIt) {
  Device device(64 * kMega);
  CachingAllocator cache(device.source());
  void *const s = Device::stream(1), *const t = Device::stream(2);
  void* p = cache.allocate(kMega, s);
  cache.record_stream(p, t);
  cache.record_stream(p, s);
  cache.free(p);
  EXPECT_EQ(cache.stats().allocated_bytes.current, 0);
  EXPECT_EQ(cache.stats().active_bytes.current, int64_t(kMega));
  void* q = cache.allocate(kMega, s);
  EXPECT_NE(q, p);
  device.run[2] = device.queued[2];
  cache.free(q);
  EXPECT_EQ(cache.allocate(kMega, s), p);
  EXPECT_EQ(device.events, 0);
}

TEST(Caching, EmptiesItselfBeforeItGivesUp) {
  Device device(100 * kMega);
  CachingAllocator cache(device.source(), "cuda:0");
  void *const s = Device::stream(1), *const t = Device::stream(2);
  void* p = cache.allocate(60 * kMega, s);
  cache.record_stream(p, t);
  cache.free(p);
  void* q = cache.allocate(50 * kMega, t);  // waits for t, then returns p's segment
  EXPECT_EQ(device.reserved, 50 * kMega);
  EXPECT_EQ(cache.stats().retries, 1);
  try {
    cache.allocate(60 * kMega, s, "matmul");
    FAIL();
  } catch (const OutOfMemoryError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("matmul: out of memory on cuda:0\n  requested               60.0 MiB"), std::string::npos)
        << text;
    EXPECT_NE(text.find("allocated               50.0 MiB in 1 blocks"), std::string::npos) << text;
  }
  EXPECT_EQ(cache.stats().out_of_memory, 1);
  void* r = cache.allocate(40 * kMega, s);
  void* small = cache.allocate(5 * kMega, s);  // no room for 32 MB: a segment as small as possible
  EXPECT_EQ(device.reserved, 96 * kMega);
  for (void* x : {q, r, small}) cache.free(x);
  cache.empty_cache();
  EXPECT_EQ(device.reserved, 0u);
}

TEST(Caching, AGraphKeepsItsMemory) {
  Device device(200 * kMega);
  CachingAllocator cache(device.source());
  void *const s = Device::stream(1), *const t = Device::stream(2);
  void* outside = cache.allocate(kKilo, s);
  cache.free(outside);
  const auto pool = cache.create_pool();
  cache.begin_capture(pool, s);
  void* p = cache.allocate(kKilo, s);
  EXPECT_NE(p, outside);
  cache.free(p);
  EXPECT_EQ(cache.allocate(kKilo, s), p);  // reused within the graph
  cache.record_stream(p, t);
  cache.free(p);
  EXPECT_EQ(device.events, 0);  // not while it is captured
  EXPECT_NE(cache.allocate(kKilo, s), p);
  cache.end_capture(s);
  EXPECT_EQ(device.events, 1);
  device.run[2] = device.queued[2];
  EXPECT_EQ(cache.allocate(kKilo, s), outside);  // eager work never gets the graph's blocks
  cache.free(outside);
  cache.empty_cache();
  EXPECT_EQ(device.reserved, 2 * kMega);  // the graph's
  cache.begin_capture(pool, s);           // a second graph may share the pool
  EXPECT_EQ(cache.allocate(kKilo, s), p);
  cache.end_capture(s);
  cache.free(p);
  cache.release_pool(pool);
  EXPECT_EQ(device.reserved, 2 * kMega);  // one block is still in use
  EXPECT_THROW(cache.begin_capture(pool, s), RuntimeError);
}

// What may not be handed out: blocks in use, and freed ones that another stream may still be using.
class Model {
 public:
  Model() : device_(768 * kMega), cache_(device_.source()) {}

  void step(std::mt19937_64& random) {
    const auto below = [&](uint64_t n) { return size_t(random() % n); };
    const size_t action = below(1000);
    if (action < 480 && live_.size() < 400) {
      const size_t kind = below(100), stream = below(4);
      const size_t bytes = kind < 70   ? below(64 * kKilo)
                           : kind < 90 ? below(kMega)
                           : kind < 98 ? below(24 * kMega)
                                       : below(90 * kMega);
      allocate(bytes, stream);
    } else if (action < 960) {
      if (!live_.empty()) free(below(live_.size()));
    } else if (action < 975) {
      if (!live_.empty()) {
        Live& block = live_[below(live_.size())];
        const size_t stream = below(4);
        cache_.record_stream(block.p, Device::stream(stream));
        if (stream != block.stream) block.users.insert({stream, 0});
      }
    } else if (action < 999) {
      const size_t stream = below(4);
      device_.run[stream] += int64_t(below(uint64_t(device_.queued[stream] - device_.run[stream]) + 1));
    } else if (below(20) == 0) {
      cache_.empty_cache();
    }
  }

  void check_stats() {
    const CacheStats stats = cache_.stats();
    ASSERT_EQ(stats.allocations.current, int64_t(live_.size()));
    ASSERT_EQ(stats.allocations.total, allocations_);
    ASSERT_EQ(stats.requested_bytes.current, requested_);
    ASSERT_EQ(stats.allocated_bytes.current, allocated_);
    ASSERT_EQ(stats.allocated_bytes.peak, peak_);
    ASSERT_EQ(stats.reserved_bytes.current, int64_t(device_.reserved));
    ASSERT_EQ(stats.segments.current, int64_t(device_.segments.size()));
    ASSERT_GE(stats.active_bytes.current, allocated_);
    ASSERT_LE(stats.active_bytes.current, stats.reserved_bytes.current);
  }

  void finish() {
    while (!live_.empty()) free(live_.size() - 1);
    check_stats();
    cache_.empty_cache();
    EXPECT_EQ(device_.reserved, 0u);
    EXPECT_EQ(device_.events, 0);
    EXPECT_EQ(cache_.stats().active_bytes.current, 0);
    std::printf("%lld blocks, %zu calls to the device, %lld times out of memory, %lld of them recovered\n",
                (long long)(allocations_), device_.calls, (long long)(cache_.stats().retries),
                (long long)(cache_.stats().retries - cache_.stats().out_of_memory));
  }

 private:
  struct Live {
    uintptr_t begin, end;
    void* p;
    size_t bytes, size, stream;
    std::map<size_t, int64_t> users;  // other streams, and after free() the position that must have run
  };

  void allocate(size_t bytes, size_t stream) {
    void* p;
    try {
      p = cache_.allocate(bytes, Device::stream(stream));
    } catch (const OutOfMemoryError&) {
      ASSERT_GT(device_.reserved + bytes + 32 * kMega, device_.capacity);
      return;
    }
    const auto begin = reinterpret_cast<uintptr_t>(p);
    const size_t size = cache_.block_bytes(p);
    ASSERT_EQ(begin % 512, 0u);
    ASSERT_GE(size, bytes);
    // Inside one segment, and one that serves this stream only.
    auto segment = device_.segments.upper_bound(begin);
    ASSERT_NE(segment, device_.segments.begin());
    --segment;
    ASSERT_LE(begin + size, segment->first + segment->second.bytes);
    const auto owner = owners_.try_emplace(segment->second.serial, stream).first;
    ASSERT_EQ(owner->second, stream) << "memory went to another stream";
    // No overlap with anything in use, here or in another stream.
    const auto after = busy_.lower_bound(begin);
    ASSERT_TRUE(after == busy_.end() || after->first >= begin + size) << "overlap";
    ASSERT_TRUE(after == busy_.begin() || std::prev(after)->second <= begin) << "overlap";
    for (auto it = waiting_.begin(); it != waiting_.end();) {
      const bool over =
          std::all_of(it->users.begin(), it->users.end(), [&](auto& u) { return device_.run[u.first] >= u.second; });
      ASSERT_TRUE(over || it->end <= begin || it->begin >= begin + size) << "another stream still uses these bytes";
      it = over ? waiting_.erase(it) : it + 1;
    }
    busy_[begin] = begin + size;
    live_.push_back({begin, begin + size, p, bytes, size, stream, {}});
    ++allocations_;
    requested_ += int64_t(bytes);
    allocated_ += int64_t(size);
    peak_ = std::max(peak_, allocated_);
  }

  void free(size_t i) {
    std::swap(live_[i], live_.back());
    Live block = std::move(live_.back());
    live_.pop_back();
    cache_.free(block.p);
    busy_.erase(block.begin);
    requested_ -= int64_t(block.bytes);
    allocated_ -= int64_t(block.size);
    for (auto& [stream, position] : block.users) position = device_.queued[stream];
    if (!block.users.empty()) waiting_.push_back(std::move(block));
  }

  Device device_;
  CachingAllocator cache_;
  std::vector<Live> live_, waiting_;
  std::map<uintptr_t, uintptr_t> busy_;
  std::map<size_t, size_t> owners_;  // stream by serial number of the segment
  int64_t allocations_ = 0, requested_ = 0, allocated_ = 0, peak_ = 0;
};

TEST(Caching, AMillionRandomOperations) {
  const char* text = std::getenv("LAMINA_FUZZ_SEED");
  const uint64_t seed = text ? std::strtoull(text, nullptr, 0) : 20261122;
  std::mt19937_64 random(seed);
  Model model;
  for (int i = 0; i < 1000000; ++i) {
    model.step(random);
    if (i % 1000 == 0) model.check_stats();
    ASSERT_FALSE(HasFatalFailure()) << "operation " << i << ", LAMINA_FUZZ_SEED=" << seed;
  }
  model.finish();
}

TEST(Caching, CostOfAHit) {
  Device device(4096 * kMega);
  CachingAllocator cache(device.source());
  std::mt19937_64 random(1);
  std::vector<void*> kept;
  for (int i = 0; i < 400; ++i) kept.push_back(cache.allocate(random() % (256 * kKilo), nullptr));
  for (size_t i = 0; i < kept.size(); i += 2) cache.free(kept[i]);  // about 200 holes
  constexpr int kBlocks = 64;
  size_t sizes[kBlocks];
  for (size_t& size : sizes) size = random() % (128 * kKilo);
  void* blocks[kBlocks];
  double best = 1e9;
  for (int round = 0; round < 200; ++round) {
    const size_t calls = device.calls;
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kBlocks; ++i) blocks[i] = cache.allocate(sizes[i], nullptr);
    const double ns = std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
    if (device.calls == calls) best = std::min(best, ns / kBlocks);
    for (int i = 0; i < kBlocks; ++i) cache.free(blocks[i * 37 % kBlocks]);
  }
  std::printf("a hit costs %.0f ns\n", best);
}

}  // namespace
}  // namespace lamina::cuda
