// Devices, memory and copies of the emulated runtime (cuda_runtime.h), over the guarded memory of emulate/memory.h,
// which the host cannot reach: in a build with LAMINA_CUDA=EMULATE all of Lamina is tested with device="cuda".
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#include "cuda/emulate/memory.h"
#include "cuda/emulate/runtime/streams.h"
#include "cuda/library.h"

using namespace lamina::emulate;

namespace {

constexpr size_t kMemory = size_t{1} << 36;

std::map<void*, size_t>& blocks() {
  static auto* all = new std::map<void*, size_t>;
  return *all;
}
std::map<const char*, size_t>& pinned() {
  static auto* blocks = new std::map<const char*, size_t>;
  return *blocks;
}
bool is_pinned(const void* p) {
  const auto* address = static_cast<const char*>(p);
  auto after = pinned().upper_bound(address);
  if (after == pinned().begin()) return false;
  --after;
  return address < after->first + after->second;
}
void move(void* to, const void* from, size_t bytes) {
  const MemoryAccess access;
  std::memcpy(to, from, bytes);
}

const bool installed = [] {
  lamina::cuda_library = lamina_cuda_library();
  protect(true);
  return true;
}();

}  // namespace

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureIsolation:
      return "dependency created on uncaptured work in another stream";
    default:
      return "invalid argument";
  }
}
cudaError_t cudaGetLastError() { return cudaSuccess; }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {.name = "emulator",
                 .totalGlobalMem = kMemory,
                 .sharedMemPerBlock = 48 << 10,
                 .sharedMemPerBlockOptin = 227 << 10,
                 .sharedMemPerMultiprocessor = 228 << 10,
                 .major = 9,
                 .minor = 0,
                 .multiProcessorCount = 3,
                 .warpSize = 32,
                 .maxThreadsPerBlock = 1024,
                 .maxThreadsPerMultiProcessor = 2048,
                 .regsPerMultiprocessor = 65536,
                 .l2CacheSize = 50 << 20};
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* unused, size_t* total) {
  const Lock lock(mutex());
  *total = *unused = kMemory;
  for (const auto& [p, bytes] : blocks()) *unused -= bytes;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** p, size_t bytes) {
  const Lock lock(mutex());
  if (unsafe_now()) return refuse_capture(nullptr);
  if (bytes > kMemory) return cudaErrorMemoryAllocation;
  *p = allocate_guarded(bytes);
  blocks()[*p] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
  const Lock lock(mutex());
  if (unsafe_now()) return refuse_capture(nullptr);
  finish_all();
  blocks().erase(p);
  free_guarded(p);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned) {
  const Lock lock(mutex());
  if (unsafe_now()) return refuse_capture(nullptr);
  *p = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  pinned()[static_cast<const char*>(*p)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* p) {
  const Lock lock(mutex());
  if (unsafe_now()) return refuse_capture(nullptr);
  finish_all();
  pinned().erase(static_cast<const char*>(p));
  std::free(p);
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* p) {
  const Lock lock(mutex());
  attributes->type = is_pinned(p) ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
  return cudaSuccess;
}

// A copy from pageable memory has read its source when this returns, one to such memory has happened.
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const Lock lock(mutex());
  const bool pageable =
      (kind == cudaMemcpyHostToDevice && !is_pinned(from)) || (kind == cudaMemcpyDeviceToHost && !is_pinned(to));
  if (pageable && capturing(stream)) return refuse_capture(stream);
  if (pageable && kind == cudaMemcpyHostToDevice) {
    const auto* first = static_cast<const char*>(from);
    enqueue(stream, [to, source = std::vector<char>(first, first + bytes)] { move(to, source.data(), source.size()); });
  } else {
    enqueue(stream, [=] { move(to, from, bytes); });
    if (pageable) finish(stream);
  }
  return cudaSuccess;
}
