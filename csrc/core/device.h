// Where a tensor lives, and the queue its kernels run in. Every kernel takes a Stream; on the CPU it is empty.
#pragma once
#include <cstdint>
#include <ostream>

namespace lamina {

enum class DeviceType : uint8_t { CPU, CUDA };

struct Device {
  DeviceType type = DeviceType::CPU;
  int8_t index = 0;
  bool is_cpu() const { return type == DeviceType::CPU; }
  bool is_cuda() const { return type == DeviceType::CUDA; }
  bool operator==(const Device&) const = default;
};

// Where this thread's factories make tensors when no device is named: the CPU unless set (`with device("cuda")`).
Device default_device();
void set_default_device(Device device);
// What "cuda" without an index means to this thread: the first one unless set.
Device current_cuda_device();
void set_current_cuda_device(Device device);

struct Stream {
  Device device;
  void* handle = nullptr;  // cudaStream_t on a CUDA device
};

// The stream in which this thread's next kernel on `device` runs.
Stream stream_of_backend(Device device);
inline Stream stream_of(Device device) {
  if (device.is_cpu()) [[likely]]
    return {};
  return stream_of_backend(device);
}

inline std::ostream& operator<<(std::ostream& out, Device device) {
  if (device.is_cpu()) return out << "cpu";
  return out << "cuda:" << int(device.index);
}

}  // namespace lamina
