// See capture.h.
#include "core/capture.h"

#include "core/backend.h"
#include "core/errors.h"

namespace lamina {
namespace {

constexpr size_t kMaxGenerators = 16;
[[gnu::tls_model("initial-exec")]] constinit thread_local CapturedGraph* current_ = nullptr;

}  // namespace

CapturedGraph* CapturedGraph::current() { return current_; }

CapturedGraph::CapturedGraph(Stream stream) : stream_(stream) {
  LM_CHECK(!current_, RuntimeError, "graph: this thread is capturing one already");
  const Backend& b = backend(stream.device);
  positions_ = static_cast<Philox*>(b.allocate(stream, kMaxGenerators * sizeof(Philox)));
  try {
    graph_ = b.begin_capture(stream);
  } catch (...) {
    b.release(stream.device.index, positions_);
    throw;
  }
  current_ = this;
}

CapturedGraph::~CapturedGraph() {
  if (recording_) abandon();
  const Backend& b = backend(stream_.device);
  b.destroy_graph(graph_);
  b.release(stream_.device.index, positions_);
}

void CapturedGraph::end() {
  recording_ = false;
  current_ = nullptr;
  backend(stream_.device).end_capture(graph_, true);
}

void CapturedGraph::abandon() noexcept {
  recording_ = false;
  current_ = nullptr;
  backend(stream_.device).end_capture(graph_, false);
}

void CapturedGraph::launch(Stream stream) {
  const Backend& b = backend(stream.device);
  for (size_t i = 0; i < draws_.size(); ++i) {
    const Philox now = draws_[i].generator->take(draws_[i].blocks);
    b.copy(stream, positions_ + i, &now, sizeof(Philox), CopyKind::HostToDevice);
  }
  b.launch_graph(graph_, stream);
}

Philox CapturedGraph::take(const std::shared_ptr<Generator::State>& generator, uint64_t blocks) {
  size_t i = 0;
  while (i < draws_.size() && draws_[i].generator != generator) ++i;
  LM_CHECK(i < kMaxGenerators, RuntimeError, "graph: draws from more than ", kMaxGenerators, " generators");
  if (i == draws_.size()) draws_.push_back({generator, 0});
  const Philox relative{0, draws_[i].blocks, positions_ + i};
  draws_[i].blocks += blocks;
  return relative;
}

}  // namespace lamina
