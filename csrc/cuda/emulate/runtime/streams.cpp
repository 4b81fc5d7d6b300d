// Streams, events and captured graphs of the emulated device. A stream is a queue of functions; whoever waits runs the
// queues, in random turns, until what it waits for has happened. See cuda_runtime.h.
#include "cuda/emulate/runtime/streams.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <memory>
#include <vector>

#include "cuda/emulate/block.h"
#include "cuda/emulate/launch.h"

namespace {

using Clock = std::chrono::steady_clock;

// One recording of an event.
struct Mark {
  bool reached = false;
  Clock::time_point time;
};
struct Work {
  std::function<void()> run;
  std::shared_ptr<Mark> wait;  // not before this is reached
};

}  // namespace

struct CUgraph_st {
  std::vector<std::function<void()>> work;
  std::vector<CUstream_st*> streams;  // the first began the capture, the others joined it
  bool valid = true;
};
struct CUgraphExec_st {
  std::shared_ptr<const std::vector<std::function<void()>>> work;
};
struct CUstream_st {
  std::deque<Work> queue;
  CUgraph_st* capture = nullptr;
};
struct CUevent_st {
  std::shared_ptr<Mark> mark;     // of the last record; null before the first
  CUgraph_st* capture = nullptr;  // where that was
  bool timing = true;
};

namespace lamina::emulate {
namespace {

// Never destroyed: tensors may be freed after main().
std::vector<CUstream_st*>& streams() {
  static auto* all = new std::vector<CUstream_st*>{new CUstream_st};
  return *all;
}
CUstream_st& of(cudaStream_t stream) { return stream ? *stream : *streams().front(); }

thread_local cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
thread_local std::vector<CUgraph_st*> captures;  // that this thread began

bool ready(const CUstream_st& s) {
  return !s.queue.empty() && (!s.queue.front().wait || s.queue.front().wait->reached);
}

// Runs the first of a random queue; false if there is nothing to do.
bool step() {
  std::vector<CUstream_st*> able;
  for (CUstream_st* s : streams())
    if (ready(*s)) able.push_back(s);
  if (able.empty()) return false;
  CUstream_st& s = *able[next_random() % able.size()];
  const Work work = std::move(s.queue.front());
  s.queue.pop_front();
  if (work.run) work.run();
  return true;
}
template <class Done>
void run_until(Done&& done) {
  while (!done()) LM_CHECK(step(), RuntimeError, "emulate: waits for an event that nothing in the queues records");
}

}  // namespace

std::recursive_mutex& mutex() {
  static auto* lock = new std::recursive_mutex;
  return *lock;
}

void enqueue(cudaStream_t stream, std::function<void()> work) {
  constexpr size_t kMost = 64;  // a queue beyond that gets to work
  CUstream_st& s = of(stream);
  if (s.capture)
    s.capture->work.push_back(std::move(work));
  else
    s.queue.push_back({std::move(work), nullptr});
  while (s.queue.size() > kMost && step()) {
  }
}

bool capturing(cudaStream_t stream) { return of(stream).capture; }
cudaError_t refuse_capture(cudaStream_t stream) {
  if (CUgraph_st* graph = of(stream).capture) graph->valid = false;
  for (CUgraph_st* graph : captures) graph->valid = false;
  return cudaErrorStreamCaptureUnsupported;
}
bool unsafe_now() { return mode != cudaStreamCaptureModeRelaxed && !captures.empty(); }

void finish(cudaStream_t stream) {
  run_until([&] { return of(stream).queue.empty(); });
}
void finish_all() {
  while (step()) {
  }
}

// Kernels join the queue of their stream.
static const bool installed = [] {
  enqueue_kernel = [](void* stream, std::function<void()> kernel) {
    const Lock lock(mutex());
    enqueue(static_cast<cudaStream_t>(stream), std::move(kernel));
  };
  return true;
}();

}  // namespace lamina::emulate

using namespace lamina::emulate;

// --- streams ---

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  const Lock lock(mutex());
  streams().push_back(*stream = new CUstream_st);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Lock lock(mutex());
  if (capturing(stream)) return refuse_capture(stream);
  finish(stream);
  std::erase(streams(), stream);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Lock lock(mutex());
  if (capturing(stream) || unsafe_now()) return refuse_capture(stream);
  finish(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const Lock lock(mutex());
  if (capturing(stream)) return refuse_capture(stream);
  step();  // time passes
  return of(stream).queue.empty() ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaDeviceSynchronize() {
  const Lock lock(mutex());
  if (unsafe_now()) return refuse_capture(nullptr);
  finish_all();
  return cudaSuccess;
}

// --- events ---

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new CUevent_st;
  (*event)->timing = !(flags & cudaEventDisableTiming);
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const Lock lock(mutex());
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Lock lock(mutex());
  auto mark = std::make_shared<Mark>();
  event->mark = mark;
  event->capture = of(stream).capture;
  enqueue(stream, [mark] {
    mark->reached = true;
    mark->time = Clock::now();
  });
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event) {
  const Lock lock(mutex());
  if (!event->mark) return cudaSuccess;
  CUstream_st& s = of(stream);
  if (event->capture && !s.capture) {  // joins; what is recorded is in one order already
    s.capture = event->capture;
    s.capture->streams.push_back(&s);
  }
  if (s.capture != event->capture) {
    s.capture->valid = false;
    return cudaErrorStreamCaptureIsolation;
  }
  if (!s.capture) s.queue.push_back({nullptr, event->mark});
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const Lock lock(mutex());
  if (event->capture || unsafe_now()) return refuse_capture(nullptr);
  step();
  return !event->mark || event->mark->reached ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Lock lock(mutex());
  if (event->capture || unsafe_now()) return refuse_capture(nullptr);
  if (event->mark) run_until([&] { return event->mark->reached; });
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end) {
  const Lock lock(mutex());
  if (!start->timing || !end->timing || !start->mark || !end->mark) return cudaErrorInvalidValue;
  if (!start->mark->reached || !end->mark->reached) return cudaErrorNotReady;
  *ms = std::chrono::duration<float, std::milli>(end->mark->time - start->mark->time).count();
  return cudaSuccess;
}

// --- captured graphs ---

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* other) {
  std::swap(mode, *other);
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const Lock lock(mutex());
  if (!stream || stream->capture) return cudaErrorStreamCaptureUnsupported;  // the default stream has no capture
  stream->capture = new CUgraph_st;
  stream->capture->streams.push_back(stream);
  captures.push_back(stream->capture);
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const Lock lock(mutex());
  CUgraph_st* captured = of(stream).capture;
  if (!captured) return cudaErrorIllegalState;
  std::erase(captures, captured);
  for (CUstream_st* s : captured->streams) s->capture = nullptr;
  *graph = captured->valid ? captured : nullptr;
  if (captured->valid) return cudaSuccess;
  delete captured;
  return cudaErrorStreamCaptureInvalidated;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const Lock lock(mutex());
  *status = capturing(stream) ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new CUgraphExec_st{std::make_shared<const std::vector<std::function<void()>>>(graph->work)};
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  const Lock lock(mutex());
  enqueue(stream, [work = executable->work] {
    for (const auto& run : *work) run();
  });
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
