// The allocator of page-locked memory on a pretended device: what is handed out again and when, and a random walk
// against a model that knows which bytes a queued copy still reads.
#include "cuda/pinned.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "core/errors.h"

namespace lamina::cuda {
namespace {

// Streams are numbers, and run only when told to.
struct Device {
  struct Event {
    size_t stream;
    int64_t position;
  };
  size_t capacity = size_t{1} << 30, reserved = 0;
  int reserves = 0, events = 0;
  int64_t queued[4] = {}, run[4] = {};

  MemorySource source() {
    return {this,
            [](void* context, size_t bytes) -> void* {
              auto& self = *static_cast<Device*>(context);
              if (self.reserved + bytes > self.capacity) return nullptr;
              self.reserved += bytes;
              ++self.reserves;
              return std::malloc(bytes);
            },
            [](void* context, void* p, size_t bytes) {
              static_cast<Device*>(context)->reserved -= bytes;
              std::free(p);
            },
            [](void* context, void* stream) -> void* {
              auto& self = *static_cast<Device*>(context);
              const auto i = reinterpret_cast<size_t>(stream);
              ++self.events;
              return new Event{i, ++self.queued[i]};
            },
            [](void* context, void* event) {
              auto& self = *static_cast<Device*>(context);
              const auto* e = static_cast<Event*>(event);
              if (self.run[e->stream] < e->position) return false;
              --self.events;
              delete e;
              return true;
            },
            [](void* context, void* event) {
              auto& self = *static_cast<Device*>(context);
              const auto* e = static_cast<Event*>(event);
              self.run[e->stream] = std::max(self.run[e->stream], e->position);
              --self.events;
              delete e;
            }};
  }
  static void* stream(size_t i) { return reinterpret_cast<void*>(i); }
};

TEST(Pinned, ABlockIsReusedAfterTheCopiesOnIt) {
  Device device;
  PinnedAllocator pinned(device.source());
  auto* a = static_cast<char*>(pinned.allocate(10000));
  EXPECT_TRUE(pinned.use(a, Device::stream(1)));
  EXPECT_TRUE(pinned.use(a + 9999, Device::stream(2)));  // a view
  pinned.free(a);
  EXPECT_FALSE(pinned.owns(a));
  void* b = pinned.allocate(10000);
  EXPECT_NE(b, a);
  device.run[1] = device.queued[1];
  void* c = pinned.allocate(10000);
  EXPECT_NE(c, a);
  device.run[2] = device.queued[2];
  EXPECT_EQ(pinned.allocate(10200), a);  // the same size, rounded
  EXPECT_EQ(device.reserves, 3);
  EXPECT_EQ(device.events, 0);
}

TEST(Pinned, KnowsItsOwnAddresses) {
  Device device;
  PinnedAllocator pinned(device.source());
  auto* a = static_cast<char*>(pinned.allocate(0));
  int foreign = 0;
  EXPECT_TRUE(pinned.owns(a) && pinned.owns(a + 4095));
  EXPECT_FALSE(pinned.owns(a - 1) || pinned.owns(a + 4096) || pinned.owns(&foreign));
  EXPECT_FALSE(pinned.use(&foreign, nullptr) || pinned.keep(&foreign));
  EXPECT_THROW(pinned.free(&foreign), RuntimeError);
  pinned.free(a);
  EXPECT_THROW(pinned.free(a), RuntimeError);
}

TEST(Pinned, FreeingAsksNothingOfTheDevice) {
  Device device;
  MemorySource source = device.source();
  source.done = [](void*, void*) -> bool { throw RuntimeError("a fault"); };
  PinnedAllocator pinned(source);
  void* a = pinned.allocate(1);
  pinned.use(a, Device::stream(1));
  pinned.free(a);
  EXPECT_THROW(pinned.allocate(1), RuntimeError);
}

TEST(Pinned, WhatAGraphReadsIsKept) {
  Device device;
  PinnedAllocator pinned(device.source());
  void* a = pinned.allocate(5000);
  EXPECT_TRUE(pinned.keep(a));
  pinned.free(a);
  pinned.empty_cache();
  EXPECT_NE(pinned.allocate(5000), a);
  EXPECT_GT(pinned.stats().waiting_bytes, 0);
}

TEST(Pinned, OutOfMemoryWaitsForCopiesAndGivesBackWhatIsFree) {
  Device device;
  device.capacity = 64 << 10;
  PinnedAllocator pinned(device.source());
  void* a = pinned.allocate(32 << 10);
  void* b = pinned.allocate(16 << 10);
  pinned.use(b, Device::stream(3));
  pinned.free(b);
  EXPECT_EQ(device.run[3], 0);
  void* c = pinned.allocate(24 << 10);
  EXPECT_EQ(device.run[3], 1);
  EXPECT_THROW(pinned.allocate(32 << 10), OutOfMemoryError);
  EXPECT_THROW(pinned.allocate(size_t{1} << 50), OutOfMemoryError);
  pinned.free(a);
  pinned.free(c);
  pinned.empty_cache();
  EXPECT_EQ(device.reserved, 0u);
  EXPECT_EQ(pinned.stats().reserved_bytes, 0);
}

TEST(Pinned, RandomWalk) {
  struct Owned {
    char* p;
    size_t bytes;
  };
  Device device;
  std::mt19937 random(7);
  std::vector<Owned> live;
  // Copies that have not run, with the bytes they touch.
  struct Copy {
    size_t stream;
    int64_t position;
    Owned of;
  };
  std::vector<Copy> copies;
  {
    PinnedAllocator pinned(device.source());
    for (int step = 0; step < 20000; ++step) {
      const unsigned action = random() % 10;
      if (action < 3 || live.empty()) {
        const size_t bytes = size_t{1} << (random() % 17);
        auto* p = static_cast<char*>(pinned.allocate(bytes + random() % bytes));
        for (const Owned& o : live) ASSERT_TRUE(p + bytes <= o.p || o.p + o.bytes <= p);
        std::erase_if(copies, [&](const Copy& c) { return device.run[c.stream] >= c.position; });
        for (const Copy& c : copies) ASSERT_TRUE(p + bytes <= c.of.p || c.of.p + c.of.bytes <= p);
        live.push_back({p, bytes});
      } else if (action < 6) {
        const size_t i = random() % live.size(), stream = random() % 4;
        ASSERT_TRUE(pinned.use(live[i].p + random() % live[i].bytes, Device::stream(stream)));
        copies.push_back({stream, device.queued[stream], live[i]});
      } else if (action < 8) {
        const size_t i = random() % live.size();
        pinned.free(live[i].p);
        live.erase(live.begin() + ptrdiff_t(i));
      } else {
        const size_t i = random() % 4;
        device.run[i] = std::max(device.run[i], device.queued[i] - int64_t(random() % 5));
      }
    }
  }
  EXPECT_EQ(device.reserved, 0u);
  EXPECT_EQ(device.events, 0);
}

}  // namespace
}  // namespace lamina::cuda
