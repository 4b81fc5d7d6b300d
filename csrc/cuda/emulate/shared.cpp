#include "cuda/emulate/shared.h"

#include <cstdlib>

namespace lamina::emulate {
namespace {

// Who touched a byte: one thread, several of one warp, or anybody.
using Agent = uint16_t;
constexpr Agent kSeveral = 0x8000, kAnybody = 0xffff, kInFlight = 0xfffe;

struct Cell {
  uint32_t write_epoch, read_epoch;  // 0: never
  Agent writer, reader;
  uint16_t write_warp, read_warp;  // the warp epoch of that access
};

struct Arena {
  alignas(128) unsigned char bytes[kSharedLimit];
  Cell cells[kSharedLimit];
};
Arena arena;
size_t used = 0, dynamic_bytes = 0;
// The arrays of the current block, for the text of faults.
std::vector<const SharedSite*> sites;

constexpr size_t kGap = 128;  // between arrays, never initialized

std::string name_of(const void* p, const void* begin) {
  const size_t offset = size_t(static_cast<const unsigned char*>(begin) - arena.bytes);
  const auto distance = static_cast<const unsigned char*>(p) - static_cast<const unsigned char*>(begin);
  const SharedSite* found = nullptr;
  for (const SharedSite* site : sites)
    if (site->offset <= offset && (!found || site->offset > found->offset)) found = site;
  const bool dynamic = offset < dynamic_bytes || !found;
  return str("shared memory '", dynamic ? "dynamic" : found->name, "' at byte ",
             distance + ptrdiff_t(dynamic ? 0 : offset - found->offset));
}

std::string thread_name(Agent agent) {
  if (agent == kAnybody) return "several threads";
  if (agent & kSeveral) return str("threads of warp ", agent & ~kSeveral);
  const uint3 t = block.threads[agent].index;
  return str("thread (", t.x, ",", t.y, ",", t.z, ")");
}

// Is the access of `agent` in this epoch ordered before what `self` does now?
bool ordered(Agent agent, uint16_t warp_epoch, const Thread& self) {
  if (agent == self.id) return true;
  if (agent >= kInFlight) return false;
  const unsigned warp = agent & kSeveral ? agent & ~kSeveral : agent / kWarp;
  return warp == self.warp && warp_epoch < self.warp_epoch;
}

Agent together(Agent agent, const Thread& self) {
  const unsigned warp = agent & kSeveral ? agent & ~kSeveral : agent / kWarp;
  return warp == self.warp && agent < kInFlight ? Agent(kSeveral | self.warp) : kAnybody;
}

[[gnu::noinline, gnu::cold]] void race(const char* first, const char* second, Agent other, const void* p,
                                       const void* begin) {
  fault(str("race on ", name_of(p, begin), ": ", second, " after ", thread_name(other), " ", first,
            " it, without a barrier in between"));
}

void note_read(Cell& cell, const Thread& self) {
  if (cell.read_epoch == block.epoch && !ordered(cell.reader, cell.read_warp, self))
    cell.reader = together(cell.reader, self);
  else
    cell.reader = self.id;
  cell.read_epoch = block.epoch;
  cell.read_warp = self.warp_epoch;
}

Cell* check_range(const void* p, size_t bytes, const void* begin, const void* end) {
  const auto* first = static_cast<const unsigned char*>(p);
  if (first < begin || first + bytes > end)
    fault(str("out of bounds: ", name_of(p, begin), ", ", bytes, " bytes, the array has ",
              static_cast<const unsigned char*>(end) - static_cast<const unsigned char*>(begin)));
  if (reinterpret_cast<uintptr_t>(p) % bytes != 0 && (bytes & (bytes - 1)) == 0 && bytes <= 16)
    fault(str("misaligned access of ", bytes, " bytes: ", name_of(p, begin)));
  return arena.cells + (first - arena.bytes);
}

}  // namespace

void touch(Access access, const void* p, size_t bytes, const void* begin, const void* end, const void* value) {
  maybe_preempt();
  const Thread& self = *block.current;
  Cell* cells = check_range(p, bytes, begin, end);
  const auto* old_bytes = static_cast<const unsigned char*>(p);
  const auto* new_bytes = static_cast<const unsigned char*>(value);
  for (size_t i = 0; i < bytes; ++i) {
    Cell& cell = cells[i];
    const bool written_now = cell.write_epoch == block.epoch;
    if (cell.writer == kInFlight && cell.write_epoch >= block.begin)
      fault(str("cp.async: ", name_of(p, begin), " is used before the copy was waited for"));
    if (access != Access::Write && cell.write_epoch < block.begin)
      fault(str("uninitialized read: ", name_of(old_bytes + i, begin)));
    const bool unordered = written_now && !ordered(cell.writer, cell.write_warp, self);
    if (access == Access::Read) {
      if (unordered) race("wrote", "read", cell.writer, p, begin);
      note_read(cell, self);
      continue;
    }
    if (cell.read_epoch == block.epoch && !ordered(cell.reader, cell.read_warp, self))
      race("read", "written", cell.reader, p, begin);
    if (access == Access::Write) {
      if (unordered && new_bytes[i] != old_bytes[i]) race("wrote", "written", cell.writer, p, begin);
      cell.writer = self.id;
    } else {
      // Atomics do not race with each other: kSeveral marks bytes that only atomics have changed in this epoch.
      if (unordered && !(cell.writer & kSeveral)) race("wrote", "atomically changed", cell.writer, p, begin);
      cell.writer = unordered ? together(cell.writer, self) : Agent(kSeveral | self.warp);
    }
    cell.write_epoch = block.epoch;
    cell.write_warp = self.warp_epoch;
  }
}

void reserve_async(const void* p, size_t bytes, const void* begin, const void* end) {
  static const unsigned char other[16] = {};
  touch(Access::Write, p, bytes, begin, end, other);
  Cell* cells = check_range(p, bytes, begin, end);
  for (size_t i = 0; i < bytes; ++i) cells[i].writer = kInFlight;
}

void finish_async(const void* p, size_t bytes) {
  Cell* cells = arena.cells + (static_cast<const unsigned char*>(p) - arena.bytes);
  for (size_t i = 0; i < bytes; ++i) {
    cells[i].writer = block.current->id;
    cells[i].write_epoch = block.epoch;
    cells[i].write_warp = block.current->warp_epoch;
  }
}

void* shared_array(SharedSite& site, size_t bytes) {
  if (site.block != block.begin) {
    const size_t offset = (used + kGap + 127) / 128 * 128;
    if (offset + bytes > kSharedLimit) fault(str("shared memory: '", site.name, "' does not fit into 227 KB"));
    site.block = block.begin;
    site.offset = unsigned(offset);
    sites.push_back(&site);
    std::memset(arena.bytes + offset, 0xff, bytes);
    used = offset + bytes;
  }
  return arena.bytes + site.offset;
}

void* dynamic_shared(size_t& bytes) {
  bytes = dynamic_bytes;
  return arena.bytes;
}

void begin_shared(size_t bytes) {
  LM_CHECK(bytes <= kSharedLimit, RuntimeError, "launch: ", bytes, " bytes of shared memory, a block has ",
           kSharedLimit);
  dynamic_bytes = used = bytes;
  sites.clear();
  std::memset(arena.bytes, 0xff, bytes);
}

}  // namespace lamina::emulate
