// Size classes, the lists of free blocks, and what asks the system for more. Small blocks: a list per thread and class,
// refilled from and flushed to shared lists in batches, which are cut from slabs. Large blocks: shared lists only.
#include "core/allocator.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <new>

#include "core/errors.h"

#if defined(__SANITIZE_ADDRESS__)
#define LM_BYPASS_SMALL 1
#else
#define LM_BYPASS_SMALL 0
#endif

namespace lamina {
namespace {

// ---- size classes -------------------------------------------------------------------------------------------------

// Small: steps of 64 bytes up to 1 KiB, then of 256 bytes.
constexpr int kSmallClasses = 16 + 13;
constexpr int small_class(size_t bytes) {
  if (bytes <= 1024) return bytes == 0 ? 0 : static_cast<int>((bytes - 1) / 64);
  return 16 + static_cast<int>((bytes - 1024 - 1) / 256);
}
constexpr size_t small_size(int c) { return c < 16 ? size_t(c + 1) * 64 : 1024 + size_t(c - 15) * 256; }
static_assert(small_class(kSmallLimit) == kSmallClasses - 1 && small_size(kSmallClasses - 1) >= kSmallLimit);

// Large: 2^k * (1.25, 1.5, 1.75, 2), so at most a fifth of a block is unused.
constexpr int kLargeClasses = 4 * 36;  // up to 2^48
constexpr size_t kLargest = size_t{1} << 47;
constexpr int large_class(size_t bytes) {
  const size_t last = std::max(bytes, kSmallLimit) - 1;
  const int k = std::bit_width(last) - 1;
  return 4 * (k - 12) + static_cast<int>((last >> (k - 2)) & 3);
}
constexpr size_t large_size(int c) { return size_t(4 + c % 4 + 1) << (c / 4 + 10); }
static_assert(large_size(large_class(5120)) == 5120 && large_size(large_class(5121)) == 6144);

// A free block holds the link to the next one in its own first bytes.
struct FreeBlock {
  FreeBlock* next;
};

// A slab is cut into blocks of one class and stays so: small blocks are too many to be given back one by one.
constexpr size_t kSlab = size_t{64} << 10;
// Above this a thread gives half of its list to the others: it frees what another thread allocates.
constexpr int keep_per_thread(int c) { return std::max<int>(32, kSlab / small_size(c)); }

// ---- state --------------------------------------------------------------------------------------------------------

// The lists of one thread. Only the owner writes the counters, without a locked instruction; others read them for
// memory_stats.
struct ThreadCache {
  FreeBlock* head[kSmallClasses] = {};
  int32_t count[kSmallClasses] = {};
  std::atomic<int64_t> live_bytes{0};  // negative in a thread that frees what others allocated
  std::atomic<int64_t> allocations{0};
  ThreadCache* next = nullptr;

  void account(int64_t bytes, int64_t blocks) {
    live_bytes.store(live_bytes.load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed);
    allocations.store(allocations.load(std::memory_order_relaxed) + blocks, std::memory_order_relaxed);
  }
};

// What all threads share, behind one mutex.
struct Shared {
  std::mutex mutex;
  FreeBlock* small[kSmallClasses] = {};
  FreeBlock* large[kLargeClasses] = {};
  ThreadCache* threads = nullptr;
  ThreadCache retired;  // counters of threads that ended
  int64_t large_live = 0, peak = 0, cached = 0, slabs = 0, large_allocations = 0, system_calls = 0;
  int64_t cache_limit = 0;

  int64_t live() const {
    int64_t total = large_live + retired.live_bytes.load(std::memory_order_relaxed);
    for (ThreadCache* t = threads; t; t = t->next) total += t->live_bytes.load(std::memory_order_relaxed);
    return total;
  }
  void update_peak() { peak = std::max(peak, live()); }
};

int64_t default_cache_limit() {
  if (const char* text = std::getenv("LAMINA_CACHE_MB")) return std::max(0L, std::atol(text)) << 20;
  return int64_t(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE) / 4;
}

// Never destroyed: tensors held by static objects are freed after everything else. A fork waits for the mutex, so that
// the child never inherits it locked by a thread it does not have.
Shared& shared() {
  static Shared* instance = [] {
    Shared* created = new Shared;
    created->cache_limit = default_cache_limit();
    pthread_atfork([] { shared().mutex.lock(); }, [] { shared().mutex.unlock(); }, [] { shared().mutex.unlock(); });
    return created;
  }();
  return *instance;
}

// ---- blocks from the system ---------------------------------------------------------------------------------------

constexpr size_t kMapped = size_t{1} << 20;  // blocks from here on go back to the system when freed

// Null on failure. From 4 MiB on the block is aligned for huge pages: fewer TLB misses, and far fewer page faults on
// the first pass over fresh memory.
void* system_alloc(size_t bytes) {
  if (bytes < kMapped) return std::aligned_alloc(kAlignment, bytes);
  // Blocks of several huge pages start on one: map more than needed, give the ends back.
  const bool huge = bytes >= 2 * kHugePage;
  const size_t mapped = bytes + (huge ? kHugePage : 0);
  void* block = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) return nullptr;
  if (!huge) return block;
  char* start = static_cast<char*>(block);
  const size_t skip = -reinterpret_cast<uintptr_t>(start) % kHugePage;
  if (skip) munmap(start, skip);
  if (skip < kHugePage) munmap(start + skip + bytes, kHugePage - skip);
#if defined(MADV_HUGEPAGE)
  madvise(start + skip, bytes, MADV_HUGEPAGE);
#endif
  return start + skip;
}

void system_free(void* block, size_t bytes) {
  if (bytes < kMapped) {
    std::free(block);
  } else {
    munmap(block, bytes);
  }
}

void release_cached(Shared& s) {
  for (int c = 0; c < kLargeClasses; ++c) {
    while (FreeBlock* block = s.large[c]) {
      s.large[c] = block->next;
      system_free(block, large_size(c));
    }
  }
  s.cached = 0;
}

// ---- small blocks -------------------------------------------------------------------------------------------------

// One pointer in static thread storage: reading it is one instruction, where an object with a destructor costs a call.
[[gnu::tls_model("initial-exec")]] constinit thread_local ThreadCache* t_cache = nullptr;
thread_local bool t_ended = false;

void push(FreeBlock*& list, void* block) {
  FreeBlock* free_block = static_cast<FreeBlock*>(block);
  free_block->next = list;
  list = free_block;
}

void* pop(FreeBlock*& list) {
  FreeBlock* block = list;
  if (block) list = block->next;
  return block;
}

// Moves up to `count` blocks.
int move_blocks(FreeBlock*& from, FreeBlock*& to, int count) {
  int moved = 0;
  for (void* block; moved < count && (block = pop(from)); ++moved) push(to, block);
  return moved;
}

// Hands everything a thread holds to the others when it ends. Tensors freed still later go to the shared lists.
struct ThreadExit {
  ~ThreadExit() {
    ThreadCache* t = t_cache;
    t_cache = nullptr;
    t_ended = true;
    Shared& s = shared();
    std::lock_guard lock(s.mutex);
    for (int c = 0; c < kSmallClasses; ++c) move_blocks(t->head[c], s.small[c], t->count[c]);
    s.retired.account(t->live_bytes.load(), t->allocations.load());
    ThreadCache** link = &s.threads;
    while (*link != t) link = &(*link)->next;
    *link = t->next;
    delete t;
  }
};

ThreadCache* start_thread_cache() {
  static thread_local ThreadExit on_exit;
  (void)on_exit;
  ThreadCache* t = new ThreadCache;
  Shared& s = shared();
  std::lock_guard lock(s.mutex);
  t->next = s.threads;
  s.threads = t;
  return t_cache = t;
}

// Addresses ascend along the list, so consecutive allocations are neighbours.
void refill(Shared& s, int c) {
  char* slab = static_cast<char*>(std::aligned_alloc(kAlignment, kSlab));
  LM_CHECK(slab, OutOfMemoryError, "small_alloc: out of memory: the system refuses ", kSlab, " bytes");
  const size_t size = small_size(c);
  for (size_t offset = (kSlab / size) * size; offset > 0; offset -= size) push(s.small[c], slab + offset - size);
  s.slabs += kSlab;
  ++s.system_calls;
  s.update_peak();
}

// Out of line, so that the usual case is a handful of instructions. Takes one block and half a list in reserve.
[[gnu::noinline]] void* small_alloc_slow(int c) {
  Shared& s = shared();
  ThreadCache* t = t_cache ? t_cache : t_ended ? nullptr : start_thread_cache();
  std::lock_guard lock(s.mutex);
  if (!s.small[c]) refill(s, c);
  void* block = pop(s.small[c]);
  if (t) t->count[c] += move_blocks(s.small[c], t->head[c], keep_per_thread(c) / 2);
  (t ? *t : s.retired).account(small_size(c), 1);
  return block;
}

[[gnu::noinline]] void small_free_slow(void* block, int c) {
  Shared& s = shared();
  ThreadCache* t = t_cache ? t_cache : t_ended ? nullptr : start_thread_cache();
  std::lock_guard lock(s.mutex);
  push(s.small[c], block);
  if (t) t->count[c] -= move_blocks(t->head[c], s.small[c], t->count[c] / 2);
  (t ? *t : s.retired).account(-int64_t(small_size(c)), 0);
}

}  // namespace

void* small_alloc(size_t bytes) {
  if constexpr (LM_BYPASS_SMALL) return ::operator new(bytes, std::align_val_t{kAlignment});
  const int c = small_class(bytes);
  ThreadCache* t = t_cache;
  if (!t || !t->head[c]) [[unlikely]]
    return small_alloc_slow(c);
  --t->count[c];
  t->account(small_size(c), 1);
  return pop(t->head[c]);
}

void small_free(void* block, size_t bytes) noexcept {
  if constexpr (LM_BYPASS_SMALL) return ::operator delete(block, std::align_val_t{kAlignment});
  const int c = small_class(bytes);
  ThreadCache* t = t_cache;
  if (!t || t->count[c] >= keep_per_thread(c)) [[unlikely]]
    return small_free_slow(block, c);
  ++t->count[c];
  t->account(-int64_t(small_size(c)), 0);
  push(t->head[c], block);
}

// ---- large blocks -------------------------------------------------------------------------------------------------

void* large_alloc(size_t bytes, size_t* block_bytes) {
  if (bytes > kLargest) return nullptr;
  int c = large_class(bytes);
  Shared& s = shared();
  std::lock_guard lock(s.mutex);
  // A block of the next class serves too when at most a quarter of the request is wasted.
  if (!s.large[c] && c + 1 < kLargeClasses && s.large[c + 1] && large_size(c + 1) <= bytes + bytes / 4) ++c;
  const size_t size = large_size(c);
  void* block = pop(s.large[c]);
  if (block) {
    s.cached -= size;
  } else {
    ++s.system_calls;
    block = system_alloc(size);
    // The cache may hold the memory in blocks of other sizes.
    if (!block && s.cached > 0) {
      release_cached(s);
      block = system_alloc(size);
    }
    if (!block) return nullptr;
  }
  *block_bytes = size;
  s.large_live += size;
  ++s.large_allocations;
  s.update_peak();
  return block;
}

void large_free(void* block, size_t block_bytes) noexcept {
  Shared& s = shared();
  std::lock_guard lock(s.mutex);
  s.large_live -= block_bytes;
  // AddressSanitizer builds return every block, so that it finds uses after the free.
  if (LM_BYPASS_SMALL || s.cached + static_cast<int64_t>(block_bytes) > s.cache_limit) {
    system_free(block, block_bytes);
  } else {
    s.cached += block_bytes;
    push(s.large[large_class(block_bytes)], block);
  }
}

MemoryStats memory_stats() {
  Shared& s = shared();
  std::lock_guard lock(s.mutex);
  s.update_peak();
  int64_t allocations = s.large_allocations + s.retired.allocations.load(std::memory_order_relaxed);
  for (ThreadCache* t = s.threads; t; t = t->next) allocations += t->allocations.load(std::memory_order_relaxed);
  return {s.live(), s.peak, s.cached, s.slabs, allocations, s.system_calls};
}

void reset_peak_memory() {
  Shared& s = shared();
  std::lock_guard lock(s.mutex);
  s.peak = s.live();
}

void empty_cache() {
  Shared& s = shared();
  std::lock_guard lock(s.mutex);
  release_cached(s);
}

void set_cache_limit(int64_t bytes) {
  LM_CHECK(bytes >= 0, ValueError, "set_cache_limit: got ", bytes, " bytes; need at least 0");
  Shared& s = shared();
  std::lock_guard lock(s.mutex);
  s.cache_limit = bytes;
  if (s.cached > bytes) release_cached(s);
}

}  // namespace lamina
