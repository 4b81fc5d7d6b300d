// A Generator's state changes under a mutex: two threads that draw at once get different ranges of the stream.
#include "core/rng.h"

#include <random>

namespace lamina {

uint64_t Generator::seed() {
  std::random_device device;
  const uint64_t fresh = uint64_t(device()) << 32 | device();
  manual_seed(fresh);
  return fresh;
}

Philox Generator::state() const {
  std::lock_guard lock(mutex_);
  return state_;
}

void Generator::set_state(Philox state) {
  std::lock_guard lock(mutex_);
  state_ = state;
}

Philox Generator::take(uint64_t blocks) {
  std::lock_guard lock(mutex_);
  const Philox now = state_;
  state_.offset += blocks;
  return now;
}

Generator& default_generator() {
  static Generator generator;
  return generator;
}

void manual_seed(uint64_t seed) { default_generator().manual_seed(seed); }

}  // namespace lamina
