// One thread block on the CPU: its threads are fibres, and this decides whose turn it is. The one idea: whoever waits
// (barrier, warp operation) hands over to a *random* thread that can run, so an order that a GPU may choose rarely is
// chosen here often. When nobody can run, the kernel has diverged, and the report says who waits where.
// Next: shared.h (memory with a history), warp.h (shuffles), launch.h (grids).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/errors.h"
#include "cuda/emulate/fibre.h"
#include "cuda/emulate/vector_types.h"

namespace lamina::emulate {

// What a kernel did wrong: the text names kernel, block, thread and the seed that reproduces it.
struct Fault : Error {
  using Error::Error;
};

// A line of kernel source, taken by the default arguments of __syncthreads() and its like.
struct Site {
  const char* file = "";
  int line = 0;
};

struct AsyncCopy {
  unsigned char* shared;
  const void* global;
  unsigned bytes, valid;  // the rest is filled with zeros
};

enum class State : uint8_t { Ready, Barrier, Warp, Exited };

struct Thread {
  Fibre fibre;
  uint3 index;
  uint16_t id, lane, warp;
  uint16_t warp_epoch;  // __syncwarp()s since the last barrier of the block
  State state;
  Site site;                        // where it waits
  const char* what;                 // and for what
  unsigned mask;                    // of a warp operation
  uint8_t slot;                     // of its result
  std::vector<AsyncCopy> copies;    // issued and not waited for
  std::vector<size_t> copy_groups;  // copies.size() at each commit
};

inline constexpr int kWarp = 32;
inline constexpr size_t kLaneBytes = 32;  // what a lane can show to its warp in one operation

// The operations in flight of one warp. A finished operation keeps its values in a slot until every lane has read them;
// each lane has at most one unread result, so 33 slots are enough.
struct Warp {
  unsigned lanes;    // that exist
  unsigned waiting;  // lanes in a warp operation
  alignas(16) unsigned char pending[kWarp][kLaneBytes];
  uint8_t unread[kWarp + 1];
  alignas(16) unsigned char slots[kWarp + 1][kWarp][kLaneBytes];
};

struct Block {
  Thread* current = nullptr;
  dim3 grid, dim;
  uint3 index;
  unsigned count = 0;    // threads of the block
  uint32_t epoch = 1;    // grows at every barrier and every block: what lies between two barriers is unordered
  uint32_t begin = 1;    // the epoch in which this block began
  unsigned preempt = 1;  // memory operations until the next random switch
  uint64_t random = 1;
  // private to block.cpp
  Fibre main;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::vector<uint16_t> ready;
  unsigned arrived = 0, exited = 0, vote = 0, result = 0;
  Site barrier_site;
  const char* barrier_what = "";
  void (*body)(const void*) = nullptr;
  const void* closure = nullptr;
  std::string fault;
};
extern Block block;

// Runs body(closure) once per thread; throws Fault.
void run_block(void (*body)(const void*), const void* closure);
// For the text of faults: what is running.
extern std::string kernel_name;

[[noreturn]] void fault(std::string message);       // called on a fibre: unwinds it
[[noreturn]] void fault_here(std::string message);  // the same where unwinding is impossible
uint64_t next_random();
void preempt();  // perhaps somebody else goes on
inline void maybe_preempt() {
  if (--block.preempt == 0) preempt();
}

// All threads of the block; `what` says which flavour, the result combines the predicates as it asks.
enum class Vote { None, Or, And, Count };
int barrier(const char* what, Vote vote, int predicate, Site site);
// Lanes of `mask` meet, each showing `bytes` bytes; afterwards shown(lane) is what that lane showed, until finish().
class Meeting {
 public:
  Meeting(const char* what, unsigned mask, const void* value, size_t bytes, Site site);
  ~Meeting();
  const void* shown(unsigned lane) const;

 private:
  Warp& warp_;
  unsigned mask_;
  uint8_t slot_;
};

}  // namespace lamina::emulate
