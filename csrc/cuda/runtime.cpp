// The Backend table over the CUDA runtime. See runtime.h.
#include "cuda/runtime.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>

#include "core/errors.h"
#include "core/report.h"
#include "cuda/caching.h"
#include "cuda/library.h"
#include "cuda/memory.h"
#include "cuda/pinned.h"
#include "cuda/provider.h"

namespace lamina::cuda {

void throw_error(cudaError_t status, const char* call, const char* file, int line) {
  cudaGetLastError();  // not to be reported again by the next call
  fail<DeviceError>("cuda: ", call, " failed: ", cudaGetErrorString(status), " (", file, ":", line, ")");
}

#ifndef LM_EMULATE
void launch_kernel(const void* kernel, dim3 grid, dim3 block, size_t shared_bytes, Stream stream, void** arguments) {
  const DeviceGuard guard(stream.device.index);
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = handle(stream);
  cudaError_t status = cudaSuccess;
  if (shared_bytes > 48 << 10)  // more than a block gets without asking
    status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared_bytes));
  if (status == cudaSuccess) status = cudaLaunchKernelExC(&config, kernel, arguments);
  if (status == cudaSuccess) [[likely]]
    return;
  const char* symbol = nullptr;
  if (cudaFuncGetName(&symbol, kernel) != cudaSuccess) symbol = "a kernel";
  char* readable = abi::__cxa_demangle(symbol, nullptr, nullptr, nullptr);
  const std::string name = readable ? readable : symbol;
  std::free(readable);
  cudaGetLastError();
  fail<DeviceError>("cuda: launch of ", name.substr(0, name.find('(')), " with ", grid.x, "x", grid.y, "x", grid.z,
                    " blocks of ", block.x * block.y * block.z, " threads failed: ", cudaGetErrorString(status));
}
#endif

bool capturing(Stream stream) {
  cudaStreamCaptureStatus status;
  LM_CUDA_CHECK(cudaStreamIsCapturing(handle(stream), &status));
  return status != cudaStreamCaptureStatusNone;
}

namespace {

cudaEvent_t event_of(void* event) { return static_cast<cudaEvent_t>(event); }

// --- memory ---

// Lets this thread take memory while it captures a graph.
class RelaxedCapture {
 public:
  RelaxedCapture() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  ~RelaxedCapture() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  RelaxedCapture(const RelaxedCapture&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

void* reserve(void*, size_t bytes) {
  const RelaxedCapture relaxed;
  void* p = nullptr;
  if (cudaMalloc(&p, bytes) == cudaSuccess) return p;
  cudaGetLastError();
  return nullptr;
}
void release(void*, void* p, size_t) {
  const RelaxedCapture relaxed;
  cudaFree(p);
}
void* record(void*, void* stream) {
  cudaEvent_t event;
  LM_CUDA_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  LM_CUDA_CHECK(cudaEventRecord(event, static_cast<cudaStream_t>(stream)));
  return event;
}
bool done(void*, void* event) {
  const RelaxedCapture relaxed;
  const cudaError_t status = cudaEventQuery(event_of(event));
  if (status == cudaErrorNotReady) return false;
  LM_CUDA_CHECK(status);
  LM_CUDA_CHECK(cudaEventDestroy(event_of(event)));
  return true;
}
void wait(void*, void* event) {
  const RelaxedCapture relaxed;
  LM_CUDA_CHECK(cudaEventSynchronize(event_of(event)));
  LM_CUDA_CHECK(cudaEventDestroy(event_of(event)));
}
constexpr MemorySource kSource{nullptr, reserve, release, record, done, wait};

void* reserve_pinned(void*, size_t bytes) {
  const RelaxedCapture relaxed;
  void* p = nullptr;
  if (cudaHostAlloc(&p, bytes, cudaHostAllocPortable) == cudaSuccess) return p;
  cudaGetLastError();
  return nullptr;
}
void release_pinned(void*, void* p, size_t) {
  const RelaxedCapture relaxed;
  cudaFreeHost(p);
}
constexpr MemorySource kPinnedSource{nullptr, reserve_pinned, release_pinned, record, done, wait};
// Never destroyed, as the devices.
PinnedAllocator& pinned() {
  static PinnedAllocator* found = new PinnedAllocator(kPinnedSource);
  return *found;
}

// --- devices ---

// Found when first asked for. Never destroyed: tensors may outlive main(), and the driver is gone by then.
struct Devices {
  int count = 0;
  std::string why_none;
  std::vector<std::unique_ptr<CachingAllocator>> allocators;
  // LAMINA_CUDA_CACHE=off: every tensor has memory of its own, so that compute-sanitizer, or the emulator, sees its
  // end.
  bool caching = !std::getenv("LAMINA_CUDA_CACHE") || std::strcmp(std::getenv("LAMINA_CUDA_CACHE"), "off") != 0;

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

cudaDeviceProp properties_of(int8_t device) {
  cudaDeviceProp properties;
  LM_CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
  return properties;
}
std::vector<std::pair<const char*, int64_t>> device_properties(int8_t device) {
  const cudaDeviceProp p = properties_of(device);
  return {{"major", p.major},
          {"minor", p.minor},
          {"total_memory", int64_t(p.totalGlobalMem)},
          {"multi_processor_count", p.multiProcessorCount},
          {"warp_size", p.warpSize},
          {"max_threads_per_block", p.maxThreadsPerBlock},
          {"max_threads_per_multi_processor", p.maxThreadsPerMultiProcessor},
          {"regs_per_multiprocessor", p.regsPerMultiprocessor},
          {"shared_memory_per_block", int64_t(p.sharedMemPerBlock)},
          {"shared_memory_per_block_optin", int64_t(p.sharedMemPerBlockOptin)},
          {"shared_memory_per_multiprocessor", int64_t(p.sharedMemPerMultiprocessor)},
          {"L2_cache_size", p.l2CacheSize}};
}
std::pair<size_t, size_t> memory_info(int8_t device) {
  DeviceGuard guard(device);
  size_t unused = 0, total = 0;
  LM_CUDA_CHECK(cudaMemGetInfo(&unused, &total));
  return {unused, total};
}

void* allocate(Stream stream, size_t bytes) {
  DeviceGuard guard(stream.device.index);
  if (devices().caching) [[likely]]
    return allocator(stream.device.index).allocate(bytes, stream.handle);
  void* p = reserve(nullptr, bytes ? bytes : 1);
  LM_CHECK(p, OutOfMemoryError, "cuda: out of memory: need ", bytes, " bytes");
  return p;
}
void free_memory(int8_t device, void* data) noexcept {
  if (devices().caching) [[likely]]
    return allocator(device).free(data);
  release(nullptr, data, 0);
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

// --- Note [Errors found on the device], core/backend.h ---

constexpr int kMaxDevices = 64;

// Never freed: a kernel may still be running.
DeviceReport& report_of(int device) {
  static DeviceReport* all = [] {
    const RelaxedCapture relaxed;
    void* data = nullptr;
    LM_CUDA_CHECK(
        cudaHostAlloc(&data, kMaxDevices * sizeof(DeviceReport), cudaHostAllocPortable | cudaHostAllocMapped));
    return static_cast<DeviceReport*>(std::memset(data, 0, kMaxDevices * sizeof(DeviceReport)));
  }();
  return all[device];
}
void throw_reported(int8_t device) { lamina::throw_reported(report_of(device), device); }

// --- copies and streams ---

void synchronize(Stream stream) {
  DeviceGuard guard(stream.device.index);
  LM_CUDA_CHECK(cudaStreamSynchronize(handle(stream)));
  throw_reported(stream.device.index);
}
bool is_locked(const void* host) {
  cudaPointerAttributes attributes;
  return cudaPointerGetAttributes(&attributes, host) == cudaSuccess && attributes.type == cudaMemoryTypeHost;
}

void copy(Stream stream, void* dst, const void* src, size_t bytes, CopyKind kind) {
  constexpr cudaMemcpyKind kKinds[] = {cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice};
  DeviceGuard guard(stream.device.index);
  const bool reads = kind == CopyKind::DeviceToHost;
  const void* host = reads ? dst : src;
  const bool captured = kind != CopyKind::DeviceToDevice && capturing(stream);
  LM_CHECK(!captured || pinned().keep(host), DeviceError, "cuda: while a graph is captured, ",
           reads ? "nothing can be read from" : "nothing on the host can be copied to", " ", stream.device,
           "; need a step that leaves its results there and finds its inputs there");
  LM_CUDA_CHECK(cudaMemcpyAsync(dst, src, bytes, kKinds[int(kind)], handle(stream)));
  if (kind == CopyKind::DeviceToDevice || captured || pinned().use(host, stream.handle)) return;
  // Ordinary memory has been read when the call returns. What somebody else locked is not ours to keep until then.
  if (reads || is_locked(host)) synchronize(stream);
}

// Per thread and device; null is the default stream.
thread_local void* current[kMaxDevices];

// Streams that their owners gave up serve the next who ask. They are never destroyed: memory that was used in one may
// still wait for it, and memory that was cached for it would be lost.
struct Streams {
  struct Entry {
    int8_t device;
    int priority;
    cudaStream_t stream;
    bool idle;
  };
  std::mutex mutex;
  std::vector<Entry> entries;
};
Streams& streams() {
  static Streams* all = new Streams;
  return *all;
}
void* create_stream(int8_t device, int priority) {
  std::lock_guard lock(streams().mutex);
  for (auto& entry : streams().entries)
    if (entry.idle && entry.device == device && entry.priority == priority) {
      entry.idle = false;
      return entry.stream;
    }
  DeviceGuard guard(device);
  cudaStream_t stream;
  LM_CUDA_CHECK(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, priority));
  streams().entries.push_back({device, priority, stream, false});
  return stream;
}
void destroy_stream(Stream stream) noexcept {
  std::lock_guard lock(streams().mutex);
  for (auto& entry : streams().entries)
    if (entry.device == stream.device.index && entry.stream == handle(stream)) entry.idle = true;
}
bool finished(cudaError_t status) {
  if (status == cudaErrorNotReady) return false;
  LM_CUDA_CHECK(status);
  return true;
}
void* create_event(int8_t device, bool timing, bool blocking) {
  DeviceGuard guard(device);
  cudaEvent_t event;
  const unsigned flags = (timing ? 0 : cudaEventDisableTiming) | (blocking ? cudaEventBlockingSync : 0);
  LM_CUDA_CHECK(cudaEventCreateWithFlags(&event, flags));
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
  std::vector<cudaStream_t> launched_in;
};

void* begin_capture(Stream stream) {
  DeviceGuard guard(stream.device.index);
  LM_CHECK(devices().caching, DeviceError, "cuda: a graph needs the memory cache, which LAMINA_CUDA_CACHE turns off");
  CachingAllocator& memory = allocator(stream.device.index);
  auto graph = std::make_unique<Graph>(Graph{stream, memory.create_pool(), nullptr, {}});
  LM_CUDA_CHECK(cudaStreamBeginCapture(handle(stream), cudaStreamCaptureModeThreadLocal));
  memory.begin_capture(graph->pool, stream.handle);
  return graph.release();
}
void end_capture(void* g, bool keep) {
  Graph& graph = *static_cast<Graph*>(g);
  cudaGraph_t captured = nullptr;
  cudaError_t status = cudaStreamEndCapture(handle(graph.stream), &captured);
  allocator(graph.stream.device.index).end_capture(graph.stream.handle);
  if (!keep) {
    cudaGetLastError();
    if (captured) cudaGraphDestroy(captured);
    return;
  }
  LM_CUDA_CHECK(status);
  status = cudaGraphInstantiate(&graph.executable, captured, 0);
  cudaGraphDestroy(captured);
  LM_CUDA_CHECK(status);
}
void launch_graph(void* g, Stream stream) {
  Graph& graph = *static_cast<Graph*>(g);
  DeviceGuard guard(stream.device.index);
  if (std::find(graph.launched_in.begin(), graph.launched_in.end(), handle(stream)) == graph.launched_in.end())
    graph.launched_in.push_back(handle(stream));
  LM_CUDA_CHECK(cudaGraphLaunch(graph.executable, handle(stream)));
}
// Its memory may serve others once the last launch is over.
void destroy_graph(void* g) noexcept {
  std::unique_ptr<Graph> graph(static_cast<Graph*>(g));
  const RelaxedCapture relaxed;
  for (cudaStream_t stream : graph->launched_in) cudaStreamSynchronize(stream);  // fails for a stream that is gone
  cudaGetLastError();
  if (graph->executable) cudaGraphExecDestroy(graph->executable);
  allocator(graph->stream.device.index).release_pool(graph->pool);
}

}  // namespace

const std::string& device_name(Stream stream) {
  static std::once_flag asked[kMaxDevices];
  static std::string names[kMaxDevices];
  const auto device = size_t(stream.device.index);
  std::call_once(asked[device], [&] { names[device] = properties_of(stream.device.index).name; });
  return names[device];
}

constinit const Backend backend_table = {
    .device_count = [] { return devices().count; },
    .why_none = [] { return devices().why_none; },
    .device_name = [](int8_t device) { return device_name({{DeviceType::CUDA, device}}); },
    .device_properties = device_properties,
    .memory_info = memory_info,
    .allocate = allocate,
    .release = free_memory,
    .record_stream =
        [](Stream stream, void* data) {
          if (devices().caching) allocator(stream.device.index).record_stream(data, stream.handle);
        },
    .empty_cache =
        [](int8_t device) {
          allocator(device).empty_cache();
          pinned().empty_cache();
        },
    .memory_stats = memory_stats,
    .reset_peaks = [](int8_t device) { allocator(device).reset_peaks(); },
    .allocate_pinned = [](size_t bytes) { return pinned().allocate(bytes); },
    .release_pinned = [](void* data) noexcept { pinned().free(data); },
    .is_pinned = [](const void* data) { return pinned().owns(data); },
    .copy = copy,
    .current_stream = [](int8_t device) { return current[device]; },
    .set_current_stream = [](Stream stream) { current[stream.device.index] = stream.handle; },
    .create_stream = create_stream,
    .destroy_stream = destroy_stream,
    .synchronize = synchronize,
    .synchronize_device =
        [](int8_t device) {
          DeviceGuard guard(device);
          LM_CUDA_CHECK(cudaDeviceSynchronize());
          throw_reported(device);
        },
    .stream_done =
        [](Stream stream) {
          DeviceGuard guard(stream.device.index);
          return finished(cudaStreamQuery(handle(stream)));
        },
    .create_event = create_event,
    .destroy_event = [](void* event) noexcept { cudaEventDestroy(event_of(event)); },
    .record_event =
        [](void* event, Stream stream) {
          DeviceGuard guard(stream.device.index);
          LM_CUDA_CHECK(cudaEventRecord(event_of(event), handle(stream)));
        },
    .wait_event =
        [](Stream stream, void* event) {
          DeviceGuard guard(stream.device.index);
          LM_CUDA_CHECK(cudaStreamWaitEvent(handle(stream), event_of(event)));
        },
    .event_done = [](void* event) { return finished(cudaEventQuery(event_of(event))); },
    .synchronize_event =
        [](void* event) {
          LM_CUDA_CHECK(cudaEventSynchronize(event_of(event)));
          for (int device = 0; device < devices().count; ++device) throw_reported(int8_t(device));
        },
    .elapsed_ms = elapsed_ms,
    .begin_capture = begin_capture,
    .end_capture = end_capture,
    .launch_graph = launch_graph,
    .destroy_graph = destroy_graph,
};

void* allocate_workspace(Stream stream, size_t bytes) { return allocate(stream, bytes); }
void free_workspace(Stream stream, void* data) noexcept { free_memory(stream.device.index, data); }
void read_back(Stream stream, void* to, const void* from, size_t bytes) {
  copy(stream, to, from, bytes, CopyKind::DeviceToHost);
}
DeviceReport* device_report(Stream stream) { return &report_of(stream.device.index); }

double milliseconds(Stream stream, const std::function<void()>& work) {
  struct Event {
    cudaEvent_t event;
    explicit Event(Stream stream) : event(event_of(create_event(stream.device.index, true, false))) {}
    ~Event() { cudaEventDestroy(event); }
  };
  const DeviceGuard guard(stream.device.index);
  const Event start(stream), stop(stream);
  LM_CUDA_CHECK(cudaEventRecord(start.event, handle(stream)));
  work();
  LM_CUDA_CHECK(cudaEventRecord(stop.event, handle(stream)));
  LM_CUDA_CHECK(cudaEventSynchronize(stop.event));
  return elapsed_ms(start.event, stop.event);
}

}  // namespace lamina::cuda
