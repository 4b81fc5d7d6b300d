// The DLPack ABI, version 1 (https://dmlc.github.io/dlpack/latest/c_api.html): how two libraries describe one array to
// each other. Layouts and constants are fixed by that document; the names follow this code base. Next: dlpack.cpp.
#pragma once
#include <cstdint>

namespace lamina::dlpack {

struct Version {
  uint32_t major, minor;
};
inline constexpr Version kVersion{1, 1};

enum DeviceType : int32_t { kCPU = 1, kCUDA = 2, kCUDAHost = 3 };  // the ones Lamina knows
struct Device {
  int32_t type;
  int32_t id;
};

enum TypeCode : uint8_t { kInt = 0, kUInt = 1, kFloat = 2, kBFloat = 4, kComplex = 5, kBool = 6 };
struct DataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;  // elements of a SIMD vector type; 1 otherwise
};

struct Array {
  void* data;
  Device device;
  int32_t ndim;
  DataType dtype;
  int64_t* shape;
  int64_t* strides;  // in elements; null in a version-0 capsule: row-major
  uint64_t byte_offset;
};

struct Managed {  // a "dltensor" capsule
  Array array;
  void* context;
  void (*deleter)(Managed* self);
};

enum Flags : uint64_t { kReadOnly = 1, kCopied = 2 };
struct ManagedVersioned {  // a "dltensor_versioned" capsule
  Version version;
  void* context;
  void (*deleter)(ManagedVersioned* self);
  uint64_t flags;
  Array array;
};

}  // namespace lamina::dlpack
