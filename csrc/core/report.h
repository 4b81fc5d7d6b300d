// What an operator says of a value that it cannot work with, and the memory through which a kernel says it to the host:
// Note [Errors found on the device] in backend.h. No other includes, so that kernels of every device use it.
#pragma once
#include <cstdint>

namespace lamina {

struct Complaint {
  enum Kind : uint8_t { Value, Index, Runtime } kind;  // which error is thrown
  const char* op;
  // '#' stands for the value, '@' for where it is, which only the CPU says, '%' for the numbers in their order:
  // "index #@ is out of range; need 0 <= index < %".
  const char* text;
  int64_t numbers[4];
};

struct DeviceReport {
  enum State : uint32_t { Empty, Begun, Complete };
  uint32_t state;
  bool is_integer;
  union {
    int64_t integer;
    double number;
  };
  Complaint complaint;
};

[[noreturn]] void fail(const Complaint& complaint, int64_t value, const char* where);
[[noreturn]] void fail(const Complaint& complaint, double value, const char* where);

// To be called after every wait for the device: throws what it has reported, and empties the report.
void throw_reported(DeviceReport& report, int device);

}  // namespace lamina
