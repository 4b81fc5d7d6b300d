// The caching allocator under storages, tensors and tape nodes. The one idea: memory is recycled by size class, so a
// training step that repeats allocates nothing. Blocks up to kSmallLimit come from lists of the calling thread (no
// lock, about 5 ns); larger ones from one list per class behind a mutex, four classes per power of two.
// AddressSanitizer builds bypass the small lists, so that it sees every use after free. Next: storage.h.
#pragma once
#include <cstddef>
#include <cstdint>

namespace lamina {

constexpr size_t kAlignment = 64;          // one cache line, one AVX-512 vector
constexpr size_t kSmallLimit = 4096 + 64;  // a storage header and 4 KiB of data
constexpr size_t kHugePage = size_t{2} << 20;

// `bytes` <= kSmallLimit. Any thread may free, with the same `bytes`. Throws OutOfMemoryError.
void* small_alloc(size_t bytes);
void small_free(void* block, size_t bytes) noexcept;

// Null when the system has no more memory, even after the cache was emptied. `block_bytes` receives the true size.
void* large_alloc(size_t bytes, size_t* block_bytes);
void large_free(void* block, size_t block_bytes) noexcept;

struct MemoryStats {
  int64_t allocated;     // bytes in live blocks, rounded up to their classes
  int64_t peak;          // most of that so far, sampled whenever a large block or a slab of small ones is taken
  int64_t cached;        // bytes of large blocks kept for reuse
  int64_t slabs;         // bytes taken from the system for small blocks, live or not; never returned
  int64_t allocations;   // blocks handed out so far
  int64_t system_calls;  // of these, how many had to ask the system for memory
};
MemoryStats memory_stats();
void reset_peak_memory();

// Returns cached large blocks to the system.
void empty_cache();
// Most bytes the cache keeps: the environment's LAMINA_CACHE_MB, else a quarter of the machine's memory.
void set_cache_limit(int64_t bytes);

}  // namespace lamina
