// A captured graph: everything the calling thread gives to a stream between the constructor and end() is recorded, not
// run; launch() runs it, as often as wanted, on the memory it was recorded with. The one idea for random numbers: a
// replay must not repeat them, so kernels recorded here count from a position in device memory, and every launch takes
// a fresh range from the generator and writes it there (PyTorch's way: Note [CUDA Graph-safe RNG states]).
// Next: cuda/runtime.cpp, python/lamina/cuda.py.
#pragma once
#include <memory>
#include <vector>

#include "core/device.h"
#include "core/rng.h"

namespace lamina {

class CapturedGraph {
 public:
  explicit CapturedGraph(Stream stream);
  ~CapturedGraph();
  CapturedGraph(const CapturedGraph&) = delete;

  // Throws DeviceError where something of the recording was refused; abandon() ends it without a graph, silently.
  void end();
  void abandon() noexcept;
  void launch(Stream stream);

  Device device() const { return stream_.device; }
  // The next `blocks` of the generator's numbers, from wherever it stands when the graph is launched.
  Philox take(const std::shared_ptr<Generator::State>& generator, uint64_t blocks);
  static CapturedGraph* current();  // of this thread, or null

 private:
  struct Draws {
    std::shared_ptr<Generator::State> generator;
    uint64_t blocks;
  };

  Stream stream_;
  Philox* positions_;  // device memory, one per entry of draws_
  std::vector<Draws> draws_;
  void* graph_;
  bool recording_ = true;
};

}  // namespace lamina
