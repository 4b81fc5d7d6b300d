// See caching.h.
#include "cuda/caching.h"

#include <algorithm>
#include <cstdio>

#include "core/errors.h"

namespace lamina::cuda {
namespace {

constexpr size_t kUnit = 512, kMega = size_t{1} << 20;
constexpr size_t kLargest[2] = {kMega, 32 * kMega};  // block of each kind; what is larger has its own segment
constexpr size_t kSegment[2] = {2 * kMega, 32 * kMega};
// The smallest remainder that is worth splitting off: what the pool can be asked for.
constexpr size_t kRemainder[3] = {kUnit, kMega + kUnit, 32 * kMega + kUnit};

size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }
int kind_of(size_t size) { return size <= kLargest[0] ? 0 : size <= kLargest[1] ? 1 : 2; }

std::string human(size_t bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = double(bytes);
  int unit = 0;
  for (; value >= 1024 && unit < 4; ++unit) value /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
  return text;
}

}  // namespace

CachingAllocator::CachingAllocator(MemorySource source, std::string device_name)
    : source_(source), device_name_(std::move(device_name)) {}

CachingAllocator::~CachingAllocator() {
  drain();
  std::vector<Block*> used;
  used_.for_each([&](Block* block) { used.push_back(block); });
  for (Block* block : used) give_back(block);
  for (Block* block : deferred_) give_back(block);
  for (auto& pool : pools_) release_segments(*pool);
}

void* CachingAllocator::allocate(size_t bytes, void* stream, const char* op) {
  LM_CHECK(bytes <= size_t{1} << 47, OutOfMemoryError, op, ": needs ", bytes, " bytes, more than an address space has");
  std::lock_guard lock(mutex_);
  if (pending_events_) poll();
  const size_t size = round_up(std::max<size_t>(bytes, 1), kUnit);
  BlockPool& pool = pool_for(size, stream);
  Block* block = take(pool, size, false);
  if (!block) block = allocate_slowly(pool, size, bytes, op);
  split(block, size);
  block->requested = bytes;
  used_.insert(block);
  stats_.requested_bytes.add(int64_t(bytes));
  stats_.allocated_bytes.add(int64_t(block->bytes));
  stats_.active_bytes.add(int64_t(block->bytes));
  stats_.allocations.add(1);
  return block->data;
}

void CachingAllocator::free(void* p) {
  std::lock_guard lock(mutex_);
  Block* block = used_.find(p);
  LM_CHECK(block, RuntimeError, "free: ", p, " is not a block in use of ", device_name_);
  used_.erase(p);
  stats_.requested_bytes.remove(int64_t(block->requested));
  stats_.allocated_bytes.remove(int64_t(block->bytes));
  stats_.allocations.remove(1);
  if (block->users.empty()) [[likely]]
    give_back(block);
  else if (captures_.empty())
    record_uses(block);
  else
    deferred_.push_back(block);
}

void CachingAllocator::record_stream(void* p, void* stream) {
  std::lock_guard lock(mutex_);
  Block* block = used_.find(p);
  LM_CHECK(block, RuntimeError, "record_stream: ", p, " is not a block in use of ", device_name_);
  auto& users = block->users;
  if (stream != block->pool->stream && std::find(users.begin(), users.end(), stream) == users.end())
    users.push_back(stream);
}

size_t CachingAllocator::block_bytes(const void* p) const {
  std::lock_guard lock(mutex_);
  const Block* block = used_.find(p);
  LM_CHECK(block, RuntimeError, "block_bytes: ", p, " is not a block in use of ", device_name_);
  return block->bytes;
}

// ---- pools and blocks

BlockPool& CachingAllocator::pool_for(size_t size, void* stream) {
  const int kind = kind_of(size);
  PoolId owner = 0;
  for (const Capture& capture : captures_)
    if (capture.stream == stream) owner = capture.pool;
  if (BlockPool* recent = recent_[kind]; recent && recent->stream == stream && recent->owner == owner) return *recent;
  for (auto& pool : pools_)
    if (pool->stream == stream && pool->kind == kind && pool->owner == owner) return *(recent_[kind] = pool.get());
  pools_.push_back(std::make_unique<BlockPool>());
  BlockPool* pool = pools_.back().get();
  pool->stream = stream;
  pool->kind = kind;
  pool->owner = owner;
  pool->segments = 0;
  return *(recent_[kind] = pool);
}

// The best fit, out of the pool. A block of its own that is much too large is left for somebody else.
Block* CachingAllocator::take(BlockPool& pool, size_t size, bool any_waste) {
  Block* block = pool.blocks.best_fit(size);
  if (!block) return nullptr;
  const size_t rest = block->bytes - size;
  if (pool.kind == 2 && rest > size / 8 && rest < kRemainder[2] && !any_waste) {
    block = pool.blocks.best_fit(size + kRemainder[2]);
    if (!block) return nullptr;
  }
  pool.blocks.erase(block);
  block->free = false;
  return block;
}

void CachingAllocator::split(Block* block, size_t size) {
  const size_t rest = block->bytes - size;
  if (rest < kRemainder[block->pool->kind]) return;
  Block* remainder = store_.make(block->data + size, rest, block->pool);
  remainder->previous = block;
  remainder->next = block->next;
  if (block->next) block->next->previous = remainder;
  block->next = remainder;
  block->bytes = size;
  remainder->free = true;
  block->pool->blocks.insert(remainder);
}

// `block` takes over its right neighbour.
Block* CachingAllocator::absorb_next(Block* block) {
  Block* next = block->next;
  block->bytes += next->bytes;
  block->next = next->next;
  if (next->next) next->next->previous = block;
  store_.discard(next);
  return block;
}

void CachingAllocator::give_back(Block* block) {
  stats_.active_bytes.remove(int64_t(block->bytes));
  block->users.clear();
  FreeBlocks& blocks = block->pool->blocks;
  if (block->next && block->next->free) {
    blocks.erase(block->next);
    absorb_next(block);
  }
  if (block->previous && block->previous->free) {
    blocks.erase(block->previous);
    block = absorb_next(block->previous);
  }
  block->free = true;
  blocks.insert(block);
}

// ---- the device

Block* CachingAllocator::reserve_segment(BlockPool& pool, size_t bytes) {
  void* data = source_.reserve(source_.context, bytes);
  if (!data) return nullptr;
  stats_.reserved_bytes.add(int64_t(bytes));
  stats_.segments.add(1);
  ++pool.segments;
  return store_.make(static_cast<char*>(data), bytes, &pool);
}

// No block fits. When the device has no more memory: first what waits for other streams, then the segments nobody uses.
Block* CachingAllocator::allocate_slowly(BlockPool& pool, size_t size, size_t requested, const char* op) {
  const size_t least = round_up(size, 2 * kMega), usual = pool.kind < 2 ? kSegment[pool.kind] : least;
  if (Block* block = reserve_segment(pool, usual)) return block;
  ++stats_.retries;
  if (captures_.empty()) {  // neither may be done while a graph is captured
    drain();
    if (Block* block = take(pool, size, true)) return block;
    release_segments();
  }
  if (Block* block = reserve_segment(pool, usual)) return block;
  if (least < usual)
    if (Block* block = reserve_segment(pool, least)) return block;
  if (Block* block = take(pool, size, true)) return block;
  ++stats_.out_of_memory;
  report(op, requested, size);
}

void CachingAllocator::release_segments(BlockPool& pool) {
  std::vector<Block*> whole;
  pool.blocks.for_each([&](Block* block) {
    if (!block->previous && !block->next) whole.push_back(block);
  });
  for (Block* block : whole) {
    pool.blocks.erase(block);
    source_.release(source_.context, block->data, block->bytes);
    stats_.reserved_bytes.remove(int64_t(block->bytes));
    stats_.segments.remove(1);
    --pool.segments;
    store_.discard(block);
  }
}

// Whatever no graph may come back to. Pools of graphs that are gone go too, once nothing of them is in use.
void CachingAllocator::release_segments() {
  for (auto& pool : pools_)
    if (pool->owner == 0 || pool_released(pool->owner)) release_segments(*pool);
  std::fill(std::begin(recent_), std::end(recent_), nullptr);
  std::erase_if(
      pools_, [&](const auto& pool) { return pool->segments == 0 && pool->owner != 0 && pool_released(pool->owner); });
}

void CachingAllocator::empty_cache() {
  std::lock_guard lock(mutex_);
  if (!captures_.empty()) return;
  drain();
  release_segments();
}

// ---- other streams

void CachingAllocator::record_uses(Block* block) {
  for (void* stream : block->users) {
    auto it = std::find_if(pending_.begin(), pending_.end(), [&](const Pending& p) { return p.stream == stream; });
    if (it == pending_.end()) it = pending_.insert(it, Pending{stream, {}});
    it->events.emplace_back(source_.record(source_.context, stream), block);
    ++block->events;
    ++pending_events_;
  }
}

void CachingAllocator::poll() {
  if (!captures_.empty()) return;
  for (Pending& pending : pending_)
    while (!pending.events.empty() && source_.done(source_.context, pending.events.front().first)) {
      Block* block = pending.events.front().second;
      pending.events.pop_front();
      --pending_events_;
      if (--block->events == 0) give_back(block);
    }
}

void CachingAllocator::drain() {
  for (Pending& pending : pending_)
    for (; !pending.events.empty(); pending.events.pop_front()) {
      auto [event, block] = pending.events.front();
      source_.wait(source_.context, event);
      --pending_events_;
      if (--block->events == 0) give_back(block);
    }
}

// ---- captures

CachingAllocator::PoolId CachingAllocator::create_pool() {
  std::lock_guard lock(mutex_);
  private_pools_.push_back(next_pool_);
  return next_pool_++;
}

bool CachingAllocator::pool_released(PoolId pool) const {
  return std::find(private_pools_.begin(), private_pools_.end(), pool) == private_pools_.end();
}

void CachingAllocator::begin_capture(PoolId pool, void* stream) {
  std::lock_guard lock(mutex_);
  LM_CHECK(!pool_released(pool), RuntimeError, "begin_capture: there is no memory pool ", pool);
  for (const Capture& capture : captures_)
    LM_CHECK(capture.stream != stream, RuntimeError, "begin_capture: this stream is being captured already");
  captures_.push_back({stream, pool});
}

void CachingAllocator::end_capture(void* stream) {
  std::lock_guard lock(mutex_);
  const auto it =
      std::find_if(captures_.begin(), captures_.end(), [&](const Capture& c) { return c.stream == stream; });
  LM_CHECK(it != captures_.end(), RuntimeError, "end_capture: this stream is not being captured");
  captures_.erase(it);
  if (!captures_.empty()) return;
  for (Block* block : deferred_) record_uses(block);
  deferred_.clear();
}

void CachingAllocator::release_pool(PoolId pool) {
  std::lock_guard lock(mutex_);
  std::erase(private_pools_, pool);
  if (!captures_.empty()) return;  // a later empty_cache() or shortage does it
  for (auto& p : pools_)
    if (p->owner == pool) release_segments(*p);
}

// ---- what is going on

CacheStats CachingAllocator::stats() const {
  std::lock_guard lock(mutex_);
  CacheStats stats = stats_;
  for (const auto& pool : pools_)
    pool->blocks.for_each([&](const Block* block) {
      stats.largest_free = std::max(stats.largest_free, int64_t(block->bytes));
      if (block->previous || block->next) stats.split_bytes += int64_t(block->bytes);
    });
  return stats;
}

void CachingAllocator::reset_peaks() {
  std::lock_guard lock(mutex_);
  for (MemoryCounter* counter : {&stats_.requested_bytes, &stats_.allocated_bytes, &stats_.allocations,
                                 &stats_.active_bytes, &stats_.reserved_bytes, &stats_.segments})
    counter->peak = counter->current;
}

void CachingAllocator::report(const char* op, size_t requested, size_t size) {
  size_t largest = 0, unused = 0, elsewhere = 0;
  for (const auto& pool : pools_)
    pool->blocks.for_each([&](const Block* block) {
      largest = std::max(largest, block->bytes);
      (pool->owner ? elsewhere : unused) += block->bytes;
    });
  const auto waiting = size_t(stats_.active_bytes.current - stats_.allocated_bytes.current);
  fail<OutOfMemoryError>(
      op, ": out of memory on ", device_name_, "\n  requested               ", human(requested),
      " (rounded: ", human(size), ")\n  allocated               ", human(size_t(stats_.allocated_bytes.current)),
      " in ", stats_.allocations.current, " blocks (peak ", human(size_t(stats_.allocated_bytes.peak)),
      ")\n  reserved                ", human(size_t(stats_.reserved_bytes.current)), " in ", stats_.segments.current,
      " segments\n  free, in used segments  ", human(unused), "\n  free, kept by graphs    ", human(elsewhere),
      "\n  waiting for streams     ", human(waiting), "\n  largest free block      ", human(largest));
}

}  // namespace lamina::cuda
