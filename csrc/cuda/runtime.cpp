// The Backend table over the CUDA runtime. See runtime.h.
#include "cuda/runtime.h"

#include <memory>
#include <mutex>

#include "cuda/caching.h"
#include "cuda/library.h"

namespace lamina::cuda {

void throw_error(cudaError_t status, const char* call, const char* file, int line) {
  cudaGetLastError();  // not to be reported again by the next call
  fail<RuntimeError>("cuda: ", call, " failed: ", cudaGetErrorString(status), " (", file, ":", line, ")");
}

namespace {

cudaEvent_t event_of(void* event) { return static_cast<cudaEvent_t>(event); }

// --- memory ---

void* reserve(void*, size_t bytes) {
  void* p = nullptr;
  if (cudaMalloc(&p, bytes) == cudaSuccess) return p;
  cudaGetLastError();
  return nullptr;
}
void* record(void*, void* stream) {
  cudaEvent_t event;
  LM_CUDA_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  LM_CUDA_CHECK(cudaEventRecord(event, static_cast<cudaStream_t>(stream)));
  return event;
}
bool done(void*, void* event) {
  const cudaError_t status = cudaEventQuery(event_of(event));
  if (status == cudaErrorNotReady) return false;
  LM_CUDA_CHECK(status);
  LM_CUDA_CHECK(cudaEventDestroy(event_of(event)));
  return true;
}
void wait(void*, void* event) {
  LM_CUDA_CHECK(cudaEventSynchronize(event_of(event)));
  LM_CUDA_CHECK(cudaEventDestroy(event_of(event)));
}
constexpr MemorySource kSource{nullptr, reserve, [](void*, void* p, size_t) { cudaFree(p); }, record, done, wait};

// --- devices ---

// Found when first asked for. Never destroyed: tensors may outlive main(), and the driver is gone by then.
struct Devices {
  int count = 0;
  std::string why_none;
  std::vector<std::unique_ptr<CachingAllocator>> allocators;

  Devices() {
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status != cudaSuccess || count == 0) {
      cudaGetLastError();
      count = 0;
      why_none = status == cudaErrorInsufficientDriver ? "there is no CUDA driver on this machine, or it is too old"
                 : status == cudaSuccess               ? "there is no CUDA device on this machine"
                                                       : std::string(cudaGetErrorString(status));
    }
    for (int i = 0; i < count; ++i)
      allocators.push_back(std::make_unique<CachingAllocator>(kSource, "cuda:" + std::to_string(i)));
  }
};
Devices& devices() {
  static Devices* found = new Devices;
  return *found;
}
CachingAllocator& allocator(int8_t device) { return *devices().allocators[size_t(device)]; }

void* allocate(Stream stream, size_t bytes) {
  DeviceGuard guard(stream.device.index);
  return allocator(stream.device.index).allocate(bytes, stream.handle);
}

std::vector<std::pair<const char*, int64_t>> memory_stats(int8_t device) {
  const CacheStats s = allocator(device).stats();
  return {{"allocated_bytes", s.allocated_bytes.current},
          {"allocated_bytes_peak", s.allocated_bytes.peak},
          {"requested_bytes", s.requested_bytes.current},
          {"reserved_bytes", s.reserved_bytes.current},
          {"reserved_bytes_peak", s.reserved_bytes.peak},
          {"active_bytes", s.active_bytes.current},
          {"allocations", s.allocations.current},
          {"allocations_total", s.allocations.total},
          {"segments", s.segments.current},
          {"split_bytes", s.split_bytes},
          {"largest_free", s.largest_free},
          {"retries", s.retries},
          {"out_of_memory", s.out_of_memory}};
}

// --- copies and streams ---

void copy(Stream stream, void* dst, const void* src, size_t bytes, CopyKind kind) {
  constexpr cudaMemcpyKind kKinds[] = {cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice};
  DeviceGuard guard(stream.device.index);
  LM_CUDA_CHECK(cudaMemcpyAsync(dst, src, bytes, kKinds[int(kind)], handle(stream)));
  if (kind != CopyKind::DeviceToHost) return;
  cudaPointerAttributes attributes;
  const bool pinned =
      cudaPointerGetAttributes(&attributes, dst) == cudaSuccess && attributes.type == cudaMemoryTypeHost;
  if (!pinned) LM_CUDA_CHECK(cudaStreamSynchronize(handle(stream)));
}

// Per thread and device; null is the default stream.
constexpr int kMaxDevices = 64;
thread_local void* current[kMaxDevices];

void* create_stream(int8_t device, int priority) {
  DeviceGuard guard(device);
  cudaStream_t stream;
  LM_CUDA_CHECK(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, priority));
  return stream;
}
bool finished(cudaError_t status) {
  if (status == cudaErrorNotReady) return false;
  LM_CUDA_CHECK(status);
  return true;
}
void* create_event(int8_t device, bool timing) {
  DeviceGuard guard(device);
  cudaEvent_t event;
  LM_CUDA_CHECK(cudaEventCreateWithFlags(&event, timing ? cudaEventDefault : cudaEventDisableTiming));
  return event;
}
double elapsed_ms(void* start, void* end) {
  float ms = 0;
  LM_CUDA_CHECK(cudaEventElapsedTime(&ms, event_of(start), event_of(end)));
  return ms;
}

// --- captured graphs ---

struct Graph {
  Stream stream;
  CachingAllocator::PoolId pool;
  cudaGraphExec_t executable = nullptr;
};

void* begin_capture(Stream stream) {
  DeviceGuard guard(stream.device.index);
  auto graph = std::make_unique<Graph>(Graph{stream, allocator(stream.device.index).create_pool()});
  LM_CUDA_CHECK(cudaStreamBeginCapture(handle(stream), cudaStreamCaptureModeThreadLocal));
  allocator(stream.device.index).begin_capture(graph->pool, stream.handle);
  return graph.release();
}
void end_capture(void* g) {
  Graph& graph = *static_cast<Graph*>(g);
  allocator(graph.stream.device.index).end_capture(graph.stream.handle);
  cudaGraph_t captured = nullptr;
  LM_CUDA_CHECK(cudaStreamEndCapture(handle(graph.stream), &captured));
  const cudaError_t status = cudaGraphInstantiate(&graph.executable, captured, 0);
  cudaGraphDestroy(captured);
  LM_CUDA_CHECK(status);
}
void destroy_graph(void* g) noexcept {
  std::unique_ptr<Graph> graph(static_cast<Graph*>(g));
  if (graph->executable) cudaGraphExecDestroy(graph->executable);
  allocator(graph->stream.device.index).release_pool(graph->pool);
}

}  // namespace

constinit const Backend backend_table = {
    .device_count = [] { return devices().count; },
    .why_none = [] { return devices().why_none; },
    .device_name =
        [](int8_t device) {
          cudaDeviceProp properties;
          LM_CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
          return std::string(properties.name);
        },
    .allocate = allocate,
    .release = [](int8_t device, void* data) noexcept { allocator(device).free(data); },
    .record_stream = [](Stream stream,
                        void* data) { allocator(stream.device.index).record_stream(data, stream.handle); },
    .empty_cache = [](int8_t device) { allocator(device).empty_cache(); },
    .memory_stats = memory_stats,
    .reset_peaks = [](int8_t device) { allocator(device).reset_peaks(); },
    .allocate_pinned =
        [](size_t bytes) {
          void* data = nullptr;
          LM_CUDA_CHECK(cudaHostAlloc(&data, bytes ? bytes : 1, cudaHostAllocPortable));
          return data;
        },
    .release_pinned = [](void* data) noexcept { cudaFreeHost(data); },
    .copy = copy,
    .current_stream = [](int8_t device) { return current[device]; },
    .set_current_stream = [](Stream stream) { current[stream.device.index] = stream.handle; },
    .create_stream = create_stream,
    .destroy_stream = [](Stream stream) noexcept { cudaStreamDestroy(handle(stream)); },
    .synchronize = [](Stream stream) { LM_CUDA_CHECK(cudaStreamSynchronize(handle(stream))); },
    .synchronize_device =
        [](int8_t device) {
          DeviceGuard guard(device);
          LM_CUDA_CHECK(cudaDeviceSynchronize());
        },
    .stream_done = [](Stream stream) { return finished(cudaStreamQuery(handle(stream))); },
    .create_event = create_event,
    .destroy_event = [](void* event) noexcept { cudaEventDestroy(event_of(event)); },
    .record_event = [](void* event, Stream stream) { LM_CUDA_CHECK(cudaEventRecord(event_of(event), handle(stream))); },
    .wait_event = [](Stream stream,
                     void* event) { LM_CUDA_CHECK(cudaStreamWaitEvent(handle(stream), event_of(event))); },
    .event_done = [](void* event) { return finished(cudaEventQuery(event_of(event))); },
    .synchronize_event = [](void* event) { LM_CUDA_CHECK(cudaEventSynchronize(event_of(event))); },
    .elapsed_ms = elapsed_ms,
    .begin_capture = begin_capture,
    .end_capture = end_capture,
    .launch_graph =
        [](void* g, Stream stream) {
          LM_CUDA_CHECK(cudaGraphLaunch(static_cast<Graph*>(g)->executable, handle(stream)));
        },
    .destroy_graph = destroy_graph,
};

void* allocate_workspace(Stream stream, size_t bytes) { return allocate(stream, bytes); }
void free_workspace(Stream stream, void* data) noexcept { allocator(stream.device.index).free(data); }

}  // namespace lamina::cuda
