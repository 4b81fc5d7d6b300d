// See rng.h.
#include "core/rng.h"

#include <random>

#include "core/capture.h"

namespace lamina {

uint64_t Generator::seed() {
  std::random_device device;
  const uint64_t fresh = uint64_t(device()) << 32 | device();
  manual_seed(fresh);
  return fresh;
}

void Generator::set_state(Philox philox) {
  std::lock_guard lock(state_->mutex);
  state_->philox = philox;
}

Philox Generator::State::take(uint64_t blocks) {
  std::lock_guard lock(mutex);
  const Philox now = philox;
  philox.offset += blocks;
  return now;
}

Philox Generator::take(uint64_t blocks, Device device) {
  CapturedGraph* graph = CapturedGraph::current();
  if (graph && device == graph->device()) [[unlikely]]
    return graph->take(state_, blocks);
  return state_->take(blocks);
}

Generator& default_generator() {
  static Generator generator;
  return generator;
}

void manual_seed(uint64_t seed) { default_generator().manual_seed(seed); }

}  // namespace lamina
