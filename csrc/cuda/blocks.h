// The bookkeeping of the caching allocator (caching.h): blocks, the free ones in order of size and address, the used
// ones by address. The one idea: free blocks lie in bins, eight per power of two, with a bitmap of the bins that are
// not empty, so the best fit is in the first bins looked at; within a bin they are ordered.
#pragma once
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <set>
#include <vector>

namespace lamina::cuda {

struct BlockPool;

// A piece of a segment. Neighbours in the segment are linked, so that freed neighbours grow together.
struct Block {
  char* data;
  size_t bytes;
  size_t requested;
  BlockPool* pool;
  Block *previous, *next;
  bool free;                 // in its pool, ready to be handed out
  int events;                // it waits for that many
  std::vector<void*> users;  // other streams that have used it
};

// Blocks are recycled: a hit allocates nothing from the host either.
class BlockStore {
 public:
  Block* make(char* data, size_t bytes, BlockPool* pool) {
    if (spare_.empty()) spare_.push_back(&blocks_.emplace_back());
    Block* block = spare_.back();
    spare_.pop_back();
    block->data = data;
    block->bytes = bytes;
    block->requested = 0;
    block->pool = pool;
    block->previous = block->next = nullptr;
    block->free = false;
    block->events = 0;
    block->users.clear();
    return block;
  }
  void discard(Block* block) { spare_.push_back(block); }

 private:
  std::deque<Block> blocks_;
  std::vector<Block*> spare_;
};

class FreeBlocks {
 public:
  void insert(Block* block) {
    const int bin = bin_of(block->bytes);
    occupied_[size_t(bin) / 64] |= uint64_t{1} << bin % 64;
    Bin& blocks = bins_[size_t(bin)];
    if (nodes_.empty()) {
      blocks.insert(block);
    } else {
      nodes_.back().value() = block;
      blocks.insert(std::move(nodes_.back()));
      nodes_.pop_back();
    }
  }
  void erase(Block* block) {
    const int bin = bin_of(block->bytes);
    Bin& blocks = bins_[size_t(bin)];
    nodes_.push_back(blocks.extract(block));
    if (blocks.empty()) occupied_[size_t(bin) / 64] &= ~(uint64_t{1} << bin % 64);
  }
  // The smallest block of at least `bytes`, of those the one with the lowest address; null if there is none.
  Block* best_fit(size_t bytes) const {
    int bin = bin_of(bytes);
    const Bin& own = bins_[size_t(bin)];
    if (auto it = own.lower_bound(bytes); it != own.end()) return *it;
    for (++bin; bin < kBins; bin = (bin / 64 + 1) * 64)
      if (const uint64_t bits = occupied_[size_t(bin) / 64] >> bin % 64)
        return *bins_[size_t(bin + std::countr_zero(bits))].begin();
    return nullptr;
  }
  template <class F>
  void for_each(F&& f) const {
    for (const Bin& bin : bins_)
      for (Block* block : bin) f(block);
  }

 private:
  struct Order {
    using is_transparent = void;
    bool operator()(const Block* a, const Block* b) const {
      return a->bytes != b->bytes ? a->bytes < b->bytes : a->data < b->data;
    }
    bool operator()(const Block* a, size_t bytes) const { return a->bytes < bytes; }
    bool operator()(size_t bytes, const Block* a) const { return bytes < a->bytes; }
  };
  using Bin = std::set<Block*, Order>;
  static constexpr int kBins = 320;  // 512 bytes to 2^48

  static int bin_of(size_t bytes) {
    const size_t units = bytes / 512;
    if (units < 8) return int(units);
    const int shift = int(std::bit_width(units)) - 4;  // keeps the highest bit and three more
    return 8 * shift + int(units >> shift);
  }

  std::array<Bin, kBins> bins_;
  std::array<uint64_t, kBins / 64> occupied_{};
  std::vector<Bin::node_type> nodes_;  // of erased blocks, to be inserted again
};

// The free blocks that one stream may be served, of one kind of segment.
struct BlockPool {
  void* stream;
  int kind;        // 0: 2 MB segments, 1: 32 MB, 2: each block its own
  uint64_t owner;  // the private pool this belongs to, or 0
  int segments;    // held from the device
  FreeBlocks blocks;
};

// Address -> block, open addressing with linear probing.
class PointerMap {
 public:
  void insert(Block* block) {
    if (2 * ++count_ > slots_.size()) grow();
    place(block);
  }
  Block* find(const void* p) const {
    if (slots_.empty()) return nullptr;
    size_t i = home(p);
    while (slots_[i] && slots_[i]->data != p) i = next(i);
    return slots_[i];
  }
  void erase(const void* p) {
    size_t hole = home(p);
    while (slots_[hole]->data != p) hole = next(hole);
    --count_;
    // Whoever comes later in the same run and may live in the hole moves into it.
    for (size_t i = next(hole); slots_[i]; i = next(i))
      if (((i - home(slots_[i]->data)) & mask()) >= ((i - hole) & mask())) {
        slots_[hole] = slots_[i];
        hole = i;
      }
    slots_[hole] = nullptr;
  }
  size_t size() const { return count_; }
  template <class F>
  void for_each(F&& f) const {
    for (Block* block : slots_)
      if (block) f(block);
  }

 private:
  size_t mask() const { return slots_.size() - 1; }
  size_t next(size_t i) const { return (i + 1) & mask(); }
  size_t home(const void* p) const {
    return size_t((reinterpret_cast<uintptr_t>(p) >> 9) * 0x9e3779b97f4a7c15ull >> 32) & mask();
  }
  void place(Block* block) {
    size_t i = home(block->data);
    while (slots_[i]) i = next(i);
    slots_[i] = block;
  }
  void grow() {
    std::vector<Block*> old(slots_.empty() ? 256 : 2 * slots_.size());
    old.swap(slots_);
    for (Block* block : old)
      if (block) place(block);
  }

  std::vector<Block*> slots_;
  size_t count_ = 0;
};

}  // namespace lamina::cuda
