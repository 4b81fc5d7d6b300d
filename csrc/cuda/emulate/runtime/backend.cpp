// A CUDA device that is not there: memory of the emulator, kernels run at once on the CPU. In a build with
// LAMINA_CUDA=EMULATE it stands in for cuda/runtime.cpp, so that the whole of Lamina can be tested with device="cuda"
// on a machine without one. Work happens when it is queued, so streams and events are names and nothing else.
#include "core/backend.h"
#include "core/errors.h"
#include "cuda/emulate/memory.h"
#include "cuda/library.h"

namespace lamina::emulate {
namespace {

int64_t allocated = 0;
thread_local void* current = nullptr;

void copy(Stream, void* dst, const void* src, size_t bytes, CopyKind) {
  const MemoryAccess access;
  std::memcpy(dst, src, bytes);
}
void* new_name() { return new char; }
void delete_name(void* name) { delete static_cast<char*>(name); }

}  // namespace
}  // namespace lamina::emulate

namespace lamina::cuda {

using namespace emulate;

constinit const Backend backend_table = {
    .device_count = [] { return 1; },
    .why_none = [] { return std::string(); },
    .device_name = [](int8_t) { return std::string("emulator"); },
    .allocate =
        [](Stream, size_t bytes) {
          ++allocated;
          return allocate_guarded(bytes);
        },
    .release =
        [](int8_t, void* data) noexcept {
          --allocated;
          free_guarded(data);
        },
    .record_stream = [](Stream, void*) {},
    .empty_cache = [](int8_t) {},
    .memory_stats = [](int8_t) -> std::vector<std::pair<const char*, int64_t>> { return {{"allocations", allocated}}; },
    .reset_peaks = [](int8_t) {},
    .allocate_pinned = [](size_t bytes) { return ::operator new(bytes ? bytes : 1); },
    .release_pinned = [](void* data) noexcept { ::operator delete(data); },
    .copy = copy,
    .current_stream = [](int8_t) { return current; },
    .set_current_stream = [](Stream stream) { current = stream.handle; },
    .create_stream = [](int8_t, int) { return new_name(); },
    .destroy_stream = [](Stream stream) noexcept { delete_name(stream.handle); },
    .synchronize = [](Stream) {},
    .synchronize_device = [](int8_t) {},
    .stream_done = [](Stream) { return true; },
    .create_event = [](int8_t, bool) { return new_name(); },
    .destroy_event = [](void* event) noexcept { delete_name(event); },
    .record_event = [](void*, Stream) {},
    .wait_event = [](Stream, void*) {},
    .event_done = [](void*) { return true; },
    .synchronize_event = [](void*) {},
    .elapsed_ms = [](void*, void*) { return 0.0; },
    .begin_capture = [](Stream) -> void* { fail<RuntimeError>("cuda: the emulator does not capture graphs"); },
    .end_capture = [](void*) {},
    .launch_graph = [](void*, Stream) {},
    .destroy_graph = [](void*) noexcept {},
};

static const bool installed = [] {
  cuda_library = lamina_cuda_library();
  protect(true);
  return true;
}();

}  // namespace lamina::cuda
