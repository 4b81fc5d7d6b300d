// What launchers ask of the runtime (runtime.cpp): scratch memory, a value of the device, the report of its errors.
#pragma once
#include <cstddef>

#include "core/device.h"
#include "core/report.h"

namespace lamina::cuda {

void* allocate_workspace(Stream stream, size_t bytes);
void free_workspace(Stream stream, void* data) noexcept;
// Waits for the stream, as nothing else in a launcher does: only where the host cannot go on without the value.
void read_back(Stream stream, void* to, const void* from, size_t bytes);
// Where kernels in `stream` report what they cannot work with: Note [Errors found on the device], kernels/report.cuh.
DeviceReport* device_report(Stream stream);

// Memory for one operator, on the stream's device; free for reuse by later work of the same stream when it goes out of
// scope. Uninitialized.
class Workspace {
 public:
  Workspace(Stream stream, size_t bytes) : stream_(stream), data_(allocate_workspace(stream, bytes)) {}
  ~Workspace() { free_workspace(stream_, data_); }
  Workspace(const Workspace&) = delete;

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  Stream stream_;
  void* data_;
};

}  // namespace lamina::cuda
