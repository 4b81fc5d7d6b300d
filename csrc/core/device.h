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

struct Stream {
  Device device;
  void* handle = nullptr;  // cudaStream_t on a CUDA device
};

// The stream in which this thread's next kernel on `device` runs.
inline Stream stream_of(Device device) { return {device, nullptr}; }

inline std::ostream& operator<<(std::ostream& out, Device device) {
  if (device.is_cpu()) return out << "cpu";
  return out << "cuda:" << int(device.index);
}

}  // namespace lamina
