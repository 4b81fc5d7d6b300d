// What the parts of the emulated runtime share: the queues of work.
#pragma once
#include <cuda_runtime.h>

#include <functional>
#include <mutex>

namespace lamina::emulate {

// Held by every call: kernels run on the thread that waits for them, one at a time.
using Lock = std::lock_guard<std::recursive_mutex>;
std::recursive_mutex& mutex();

// Runs later, after what `stream` was given before; recorded instead while the stream is captured.
void enqueue(cudaStream_t stream, std::function<void()> work);
bool capturing(cudaStream_t stream);
// A capture of `stream` (of this thread, if null) that met a call it cannot record gives no graph any more.
cudaError_t refuse_capture(cudaStream_t stream);
// Whether this thread may not wait or allocate because it captures.
bool unsafe_now();
void finish(cudaStream_t stream);
void finish_all();

}  // namespace lamina::emulate
