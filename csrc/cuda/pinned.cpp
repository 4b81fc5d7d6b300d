// See pinned.h.
#include "cuda/pinned.h"

#include <algorithm>
#include <bit>

#include "core/errors.h"

namespace lamina::cuda {
namespace {

// Eight sizes between powers of two: at most an eighth is wasted, and batches of nearly equal size share blocks.
size_t round_size(size_t bytes) {
  constexpr size_t kSmallest = 4096;
  if (bytes <= kSmallest) return kSmallest;
  const size_t step = std::max(std::bit_floor(bytes - 1) / 8, kSmallest / 8);
  return (bytes + step - 1) / step * step;
}

}  // namespace

PinnedAllocator::~PinnedAllocator() {
  drain();
  for (auto& [p, block] : used_) {
    for (void* event : block.events) source_.wait(source_.context, event);
    free_[block.bytes].push_back(const_cast<char*>(p));
  }
  release_free();
}

void* PinnedAllocator::allocate(size_t bytes) {
  LM_CHECK(bytes <= size_t{1} << 47, OutOfMemoryError, "pin_memory: needs ", bytes,
           " bytes, more than an address space has");
  std::lock_guard lock(mutex_);
  poll();
  const size_t size = round_size(bytes);
  void* p = nullptr;
  if (auto it = free_.find(size); it != free_.end() && !it->second.empty()) {
    p = it->second.back();
    it->second.pop_back();
  } else if (p = source_.reserve(source_.context, size); p) {
    stats_.reserved_bytes += int64_t(size);
  } else {
    drain();
    release_free();
    p = source_.reserve(source_.context, size);
    LM_CHECK(p, OutOfMemoryError, "pin_memory: the system has no page-locked memory for ", size, " bytes; ",
             stats_.allocated_bytes, " are in use");
    stats_.reserved_bytes += int64_t(size);
  }
  stats_.allocated_bytes += int64_t(size);
  used_.emplace(static_cast<const char*>(p), Block{size});
  return p;
}

void PinnedAllocator::free(void* p) {
  std::lock_guard lock(mutex_);
  const auto it = used_.find(static_cast<const char*>(p));
  LM_CHECK(it != used_.end(), RuntimeError, "free: ", p, " is not a block of pinned memory in use");
  Block block = std::move(it->second);
  used_.erase(it);
  stats_.allocated_bytes -= int64_t(block.bytes);
  // Nothing is asked of the device here: after a fault on it every question throws, and a destructor may not.
  if (block.kept || !block.events.empty()) {
    stats_.waiting_bytes += int64_t(block.bytes);
    waiting_.emplace_back(p, std::move(block));
  } else {
    free_[block.bytes].push_back(p);
  }
}

PinnedAllocator::Block* PinnedAllocator::find(const void* p) {
  const auto* address = static_cast<const char*>(p);
  auto it = used_.upper_bound(address);
  if (it == used_.begin()) return nullptr;
  --it;
  return address < it->first + it->second.bytes ? &it->second : nullptr;
}

bool PinnedAllocator::owns(const void* p) const {
  std::lock_guard lock(mutex_);
  return const_cast<PinnedAllocator*>(this)->find(p) != nullptr;
}

bool PinnedAllocator::use(const void* p, void* stream) {
  std::lock_guard lock(mutex_);
  Block* block = find(p);
  if (!block) return false;
  forget_past(*block);
  block->events.push_back(source_.record(source_.context, stream));
  return true;
}

bool PinnedAllocator::keep(const void* p) {
  std::lock_guard lock(mutex_);
  Block* block = find(p);
  if (block) block->kept = true;
  return block != nullptr;
}

void PinnedAllocator::forget_past(Block& block) {
  while (!block.events.empty() && source_.done(source_.context, block.events.front())) block.events.pop_front();
}

void PinnedAllocator::poll() {
  std::erase_if(waiting_, [&](auto& entry) {
    auto& [p, block] = entry;
    if (block.kept) return false;
    forget_past(block);
    if (!block.events.empty()) return false;
    stats_.waiting_bytes -= int64_t(block.bytes);
    free_[block.bytes].push_back(p);
    return true;
  });
}

void PinnedAllocator::drain() {
  for (auto& [p, block] : waiting_) {
    for (void* event : block.events) source_.wait(source_.context, event);
    block.events.clear();
  }
  poll();
}

void PinnedAllocator::release_free() {
  for (auto& [bytes, blocks] : free_) {
    for (void* p : blocks) source_.release(source_.context, p, bytes);
    stats_.reserved_bytes -= int64_t(bytes * blocks.size());
  }
  free_.clear();
}

void PinnedAllocator::empty_cache() {
  std::lock_guard lock(mutex_);
  drain();
  release_free();
}

PinnedStats PinnedAllocator::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

}  // namespace lamina::cuda
