// What the engine needs of a device other than the CPU: memory, copies, streams, events and captured graphs, as one
// table of functions. The one idea: the table is empty until the CUDA backend, where it is compiled in, fills it when
// the library is loaded; the engine itself never includes a CUDA header. A second backend over plain memory runs the
// same kernels in tests. Next: cuda/runtime.cpp.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/device.h"

namespace lamina {

enum class CopyKind : uint8_t { HostToDevice, DeviceToHost, DeviceToDevice };

struct Backend {
  int (*device_count)();      // 0 where there is no driver or no device
  std::string (*why_none)();  // why device_count() is 0
  std::string (*device_name)(int8_t device);
  std::vector<std::pair<const char*, int64_t>> (*device_properties)(int8_t device);  // PyTorch's names
  std::pair<size_t, size_t> (*memory_info)(int8_t device);                           // bytes free, bytes in all

  // Memory belongs to the stream it was taken for: freed, it may be handed out again to that stream at once, as a
  // stream runs in order. Throws OutOfMemoryError.
  void* (*allocate)(Stream stream, size_t bytes);
  void (*release)(int8_t device, void* data) noexcept;
  void (*record_stream)(Stream stream, void* data);  // `stream` uses it too
  void (*empty_cache)(int8_t device);
  std::vector<std::pair<const char*, int64_t>> (*memory_stats)(int8_t device);
  void (*reset_peaks)(int8_t device);
  // Page-locked host memory. Released while copies from or to it are queued, it is not handed out again before them.
  void* (*allocate_pinned)(size_t bytes);
  void (*release_pinned)(void* data) noexcept;
  bool (*is_pinned)(const void* data);

  // In the order of the stream. From and to pinned memory it happens later; a copy to any other host memory has
  // happened when this returns, and one from such memory has read its source. All functions that wait throw what
  // kernels have reported.
  void (*copy)(Stream stream, void* dst, const void* src, size_t bytes, CopyKind kind);

  // Streams and events are the device's own handles. The current stream belongs to the calling thread.
  void* (*current_stream)(int8_t device);
  void (*set_current_stream)(Stream stream);
  void* (*create_stream)(int8_t device, int priority);
  void (*destroy_stream)(Stream stream) noexcept;
  void (*synchronize)(Stream stream);
  void (*synchronize_device)(int8_t device);
  bool (*stream_done)(Stream stream);
  // Waiting for a blocking event sleeps; for any other the host may spin.
  void* (*create_event)(int8_t device, bool timing, bool blocking);
  void (*destroy_event)(void* event) noexcept;
  void (*record_event)(void* event, Stream stream);
  void (*wait_event)(Stream stream, void* event);
  bool (*event_done)(void* event);
  void (*synchronize_event)(void* event);
  double (*elapsed_ms)(void* start, void* end);

  // A graph of everything `stream` is given between begin and end; its memory stays its own until it is destroyed. What
  // cannot be recorded throws DeviceError; the capture then ends without a graph (keep = false).
  void* (*begin_capture)(Stream stream);
  void (*end_capture)(void* graph, bool keep);
  void (*launch_graph)(void* graph, Stream stream);
  void (*destroy_graph)(void* graph) noexcept;
};

// Note [Errors found on the device]
// A kernel cannot throw, and an operator does not wait to see whether an index is in range: it would wait for all work
// before it, and could not be part of a captured graph. So a kernel that meets a value it cannot work with writes a
// report (core/report.h) into host memory that the device reaches, one for each device, and goes on with a harmless
// value: it never reads or writes out of range. The first report stays, the following are dropped. Whoever waits for
// the device next (synchronize of a stream, an event or the device, a copy to memory that is not pinned) finds the
// report, empties it and throws: the error comes late, but comes. The texts in a report are the host's; the device
// hands their addresses on. The CPU throws the same text at once, and says where the value stands.

// Note [The CUDA library]
// liblamina_cuda.so, next to the extension, holds the kernels, this table and NVIDIA's runtime. It is loaded when a
// CUDA device is first asked for, so that `import lamina` neither maps the kernels nor looks for a driver. Linked into
// the extension, the runtime's 4 KB of thread-local variables, aligned to a page, would not fit where ours are
// (cmake/static_tls.sh). Builds that run the kernels on the CPU link the same table in and set `cuda_library`.
struct CudaLibrary {
  const char* version;  // LAMINA_VERSION of its build
  const Backend* backend;
  void* (*find_kernel)(const char* name);                           // lamina::cuda::NAME, or null
  std::vector<std::pair<std::string, std::string>> (*providers)();  // name; version, or why it is not used
};
extern const CudaLibrary* cuda_library;

// Whether there is a CUDA device. Looks for one when first asked.
bool has_cuda();
// The library's providers; none in a build without CUDA.
std::vector<std::pair<std::string, std::string>> cuda_providers();

// The backend of `device`. Throws RuntimeError, with the reason, where the device cannot be used.
const Backend& backend(Device device);

// lamina::cuda::NAME, found by name when first called.
struct CudaKernel {
  const char* name;
  std::atomic<void*> found{nullptr};

  void* function() {
    if (void* f = found.load(std::memory_order_relaxed)) [[likely]]
      return f;
    return find();
  }
  void* find();  // throws RuntimeError
};

}  // namespace lamina
