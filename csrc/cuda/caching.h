// The caching allocator of one device. The one idea: a stream runs in order, so memory that its owner frees may be
// handed out in the same stream at once, without asking the device; only a block that another stream used too
// (record_stream) waits for an event. Segments come from the device and are split and coalesced: 2 MB ones for blocks
// up to 1 MB, 32 MB ones for blocks up to 32 MB, segments of their own beyond. A hit makes no call to the device.
// It knows the device only as a table of functions, so all of it is tested without one. Next: blocks.h, caching.cpp.
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "cuda/blocks.h"

namespace lamina::cuda {

// What the cache asks of a device. Streams and events are the device's own handles.
struct MemorySource {
  void* context;
  void* (*reserve)(void* context, size_t bytes);          // null: out of memory
  void (*release)(void* context, void* p, size_t bytes);  // may be called while queued work uses p: waits for it
  void* (*record)(void* context, void* stream);           // an event behind everything queued in `stream`
  bool (*done)(void* context, void* event);               // has it happened? if so the event is destroyed
  void (*wait)(void* context, void* event);               // until it has, and destroys it
};

struct MemoryCounter {
  int64_t current = 0, peak = 0;
  int64_t total = 0;  // everything ever added
  void add(int64_t n) {
    current += n;
    total += n;
    if (current > peak) peak = current;
  }
  void remove(int64_t n) { current -= n; }
};

struct CacheStats {
  MemoryCounter requested_bytes;  // as asked for
  MemoryCounter allocated_bytes;  // of blocks in use, rounded
  MemoryCounter allocations;      // their number
  MemoryCounter active_bytes;     // in use or freed and waiting for another stream
  MemoryCounter reserved_bytes;   // held from the device
  MemoryCounter segments;         // in that many pieces
  int64_t split_bytes = 0;        // free, in segments that are partly in use: cannot be returned to the device
  int64_t largest_free = 0;
  int64_t retries = 0;  // times the device was out of memory and the cache was emptied
  int64_t out_of_memory = 0;
};

class CachingAllocator {
 public:
  using PoolId = uint64_t;

  explicit CachingAllocator(MemorySource source, std::string device_name = "cuda");
  ~CachingAllocator();  // releases everything, in use or not
  CachingAllocator(const CachingAllocator&) = delete;

  // At least `bytes` bytes, aligned to 512, for work in `stream`. Throws OutOfMemoryError with a table; `op` names the
  // culprit there.
  void* allocate(size_t bytes, void* stream, const char* op = "allocate");
  // Everything queued in the block's own stream so far may still use it.
  void free(void* p);
  // `p` is used in `stream` too: freed, it waits for what is queued there at that time.
  void record_stream(void* p, void* stream);

  size_t block_bytes(const void* p) const;  // of a block in use, rounding included

  // Returns to the device every segment that is wholly free.
  void empty_cache();
  CacheStats stats() const;
  void reset_peaks();

  // A captured graph replays with the addresses it was captured with: between begin_capture() and end_capture(), what
  // `stream` asks for comes from a pool that nobody else is served from, until the graph is gone (release_pool).
  PoolId create_pool();
  void begin_capture(PoolId pool, void* stream);
  void end_capture(void* stream);
  void release_pool(PoolId pool);

 private:
  struct Pending {
    void* stream;
    std::deque<std::pair<void*, Block*>> events;  // happen in this order
  };
  struct Capture {
    void* stream;
    PoolId pool;
  };

  BlockPool& pool_for(size_t size, void* stream);
  Block* take(BlockPool& pool, size_t size, bool any_waste);
  Block* reserve_segment(BlockPool& pool, size_t bytes);
  Block* allocate_slowly(BlockPool& pool, size_t size, size_t requested, const char* op);
  void split(Block* block, size_t size);
  void give_back(Block* block);  // to its pool, coalesced
  Block* absorb_next(Block* block);
  void release_segments();
  void release_segments(BlockPool& pool);
  void record_uses(Block* block);
  void poll();
  void drain();
  bool pool_released(PoolId pool) const;
  [[noreturn]] void report(const char* op, size_t requested, size_t size);

  MemorySource source_;
  std::string device_name_;
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<BlockPool>> pools_;
  BlockPool* recent_[3] = {};  // the pools of the last stream served, by kind
  PointerMap used_;            // blocks in use, by address
  BlockStore store_;
  std::vector<Pending> pending_;
  size_t pending_events_ = 0;
  std::vector<Block*> deferred_;  // freed during a capture, in which events cannot be recorded
  std::vector<Capture> captures_;
  std::vector<PoolId> private_pools_;
  PoolId next_pool_ = 1;
  CacheStats stats_;
};

}  // namespace lamina::cuda
