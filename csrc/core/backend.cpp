// See backend.h.
#include "core/backend.h"

#include "core/errors.h"

namespace lamina {

constinit const Backend* cuda_backend = nullptr;

[[gnu::tls_model("initial-exec")]] static constinit thread_local Device default_device_{};
Device default_device() { return default_device_; }
void set_default_device(Device device) { default_device_ = device; }

const Backend& backend(Device device) {
  LM_CHECK(cuda_backend, RuntimeError, "device: '", device,
           "' cannot be used: this build of lamina has no CUDA support");
  const int count = cuda_backend->device_count();
  LM_CHECK(count > 0, RuntimeError, "device: '", device, "' cannot be used: ", cuda_backend->why_none());
  LM_CHECK(device.index < count, RuntimeError, "device: '", device, "' cannot be used: there are ", count,
           " CUDA devices; need an index below that");
  return *cuda_backend;
}

Stream stream_of_backend(Device device) { return {device, backend(device).current_stream(device.index)}; }

}  // namespace lamina
