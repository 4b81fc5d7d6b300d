// See backend.h.
#include "core/backend.h"

#include <dlfcn.h>

#include "core/errors.h"

namespace lamina {

constinit const CudaLibrary* cuda_library = nullptr;

[[gnu::tls_model("initial-exec")]] static constinit thread_local Device default_device_{};
Device default_device() { return default_device_; }
void set_default_device(Device device) { default_device_ = device; }

[[gnu::tls_model("initial-exec")]] static constinit thread_local Device current_cuda_device_{DeviceType::CUDA};
Device current_cuda_device() { return current_cuda_device_; }
void set_current_cuda_device(Device device) { current_cuda_device_ = device; }

namespace {

// Null, and why, where there is none.
struct Loaded {
  const CudaLibrary* library = cuda_library;
  std::string why_none;

  Loaded() {
    if (library) return;
    Dl_info here{};
    dladdr(reinterpret_cast<void*>(&default_device), &here);
    std::string path = here.dli_fname ? here.dli_fname : "";
    path = path.substr(0, path.rfind('/') + 1) + "liblamina_cuda.so";
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
      const std::string error = dlerror();
      const bool missing = error.find("No such file") != std::string::npos;
      why_none = missing ? "this build of lamina has no CUDA support" : error;
      return;
    }
    using Open = const CudaLibrary* (*)();
    const auto open = reinterpret_cast<Open>(dlsym(handle, "lamina_cuda_library"));
    if (!open || std::string(open()->version) != LAMINA_VERSION)
      why_none = path + " belongs to another version of lamina than " LAMINA_VERSION;
    else
      library = open();
  }
};
const Loaded& loaded() {
  static const Loaded once;
  return once;
}

}  // namespace

bool has_cuda() { return loaded().library && loaded().library->backend->device_count() > 0; }

const Backend& backend(Device device) {
  LM_CHECK(loaded().library, RuntimeError, "device: '", device, "' cannot be used: ", loaded().why_none);
  const Backend& b = *loaded().library->backend;
  const int count = b.device_count();
  LM_CHECK(count > 0, RuntimeError, "device: '", device, "' cannot be used: ", b.why_none());
  LM_CHECK(device.index < count, RuntimeError, "device: '", device, "' cannot be used: there are ", count,
           " CUDA devices; need an index below that");
  return b;
}

std::vector<std::pair<std::string, std::string>> cuda_providers() {
  if (!loaded().library) return {};
  return loaded().library->providers();
}

Stream stream_of_backend(Device device) { return {device, backend(device).current_stream(device.index)}; }

void* CudaKernel::find() {
  LM_CHECK(loaded().library, RuntimeError, name, ": ", loaded().why_none);
  void* f = loaded().library->find_kernel(name);
  LM_CHECK(f, RuntimeError, name, ": there is no CUDA kernel for this; use .cpu()");
  found.store(f, std::memory_order_relaxed);
  return f;
}

}  // namespace lamina
