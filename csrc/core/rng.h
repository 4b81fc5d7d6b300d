// Who hands out random numbers. The one idea: a Generator is a seed and a position; an operator takes a range of
// counters from it and computes value i from (seed, position, i) alone (philox.h). So a fill may be cut among any
// number of threads, or run on another device, and gives the same stream.
#pragma once
#include <mutex>

#include "core/philox.h"

namespace lamina {

class Generator {
 public:
  static constexpr uint64_t kDefaultSeed = 67280421310721;
  explicit Generator(uint64_t seed = kDefaultSeed) : state_{seed, 0} {}

  void manual_seed(uint64_t seed) { set_state({seed, 0}); }
  uint64_t seed();  // a fresh seed from the system, which is also returned
  uint64_t initial_seed() const { return state().seed; }
  Philox state() const;  // the position in the stream
  void set_state(Philox state);
  Philox take(uint64_t blocks);  // the current position, moving past `blocks` blocks

 private:
  mutable std::mutex mutex_;
  Philox state_;
};

Generator& default_generator();
void manual_seed(uint64_t seed);  // of the default generator

}  // namespace lamina
