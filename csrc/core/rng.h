// Who hands out random numbers. The one idea: a Generator is a seed and a position; an operator takes a range of
// counters from it and computes value i from (seed, position, i) alone (philox.h). So a fill may be cut among any
// number of threads, or run on another device, and gives the same stream.
#pragma once
#include <memory>
#include <mutex>

#include "core/device.h"
#include "core/philox.h"

namespace lamina {

class Generator {
 public:
  static constexpr uint64_t kDefaultSeed = 67280421310721;
  explicit Generator(uint64_t seed = kDefaultSeed) { manual_seed(seed); }

  void manual_seed(uint64_t seed) { set_state({seed, 0}); }
  uint64_t seed();  // a fresh seed from the system, which is also returned
  uint64_t initial_seed() const { return state().seed; }
  Philox state() const { return state_->take(0); }  // the position in the stream
  void set_state(Philox philox);
  // The current position, moving past `blocks` blocks, for a kernel on `device`.
  Philox take(uint64_t blocks, Device device);

  // Shared with the captured graphs that draw from it. Two threads that draw at once get different ranges.
  struct State {
    std::mutex mutex;
    Philox philox;
    Philox take(uint64_t blocks);
  };

 private:
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

Generator& default_generator();
void manual_seed(uint64_t seed);  // of the default generator

}  // namespace lamina
