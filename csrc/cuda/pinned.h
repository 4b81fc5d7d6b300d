// Page-locked host memory, which the device reads and writes by itself: copies from and to it need no waiting. The one
// idea: the host frees such memory when it likes, but a block is handed out again only when the copies that were queued
// on it have happened; use() leaves an event behind each of them. Locking pages takes milliseconds, so blocks are kept.
// It knows the device only as a table of functions (caching.h), so all of it is tested without one. Next: pinned.cpp.
#pragma once
#include <deque>
#include <map>
#include <mutex>
#include <vector>

#include "cuda/caching.h"

namespace lamina::cuda {

struct PinnedStats {
  int64_t allocated_bytes = 0;  // of blocks in use, rounded
  int64_t waiting_bytes = 0;    // freed, but a copy is still queued
  int64_t reserved_bytes = 0;   // held from the system
};

class PinnedAllocator {
 public:
  explicit PinnedAllocator(MemorySource source) : source_(source) {}
  ~PinnedAllocator();  // releases everything, in use or not
  PinnedAllocator(const PinnedAllocator&) = delete;

  // At least `bytes` bytes, aligned to a page. Throws OutOfMemoryError.
  void* allocate(size_t bytes);
  void free(void* p);
  // Whether p lies in a block in use.
  bool owns(const void* p) const;
  // A copy from or to `p` has just been queued in `stream`. False: p is not ours, nobody will wait.
  bool use(const void* p, void* stream);
  // The same for a copy of a captured graph, which every replay repeats: the block is never handed out again.
  bool keep(const void* p);
  // Returns to the system what nobody uses.
  void empty_cache();
  PinnedStats stats() const;

 private:
  struct Block {
    size_t bytes;
    bool kept = false;
    std::deque<void*> events = {};  // of the copies that may not have happened yet, oldest first
  };
  Block* find(const void* p);
  void forget_past(Block& block);
  void poll();
  void drain();
  void release_free();

  MemorySource source_;
  mutable std::mutex mutex_;
  std::map<const char*, Block> used_;             // by address, as views start inside a block
  std::vector<std::pair<void*, Block>> waiting_;  // freed, copies queued
  std::map<size_t, std::vector<void*>> free_;     // by size
  PinnedStats stats_;
};

}  // namespace lamina::cuda
