// Typed errors. Each becomes the Python exception of the same name. A message reads
// `op: what differs, both values, what is needed`; LM_CHECK builds it only when the check fails.
#pragma once
#include <exception>
#include <sstream>
#include <string>
#include <utility>

namespace lamina {

class Error : public std::exception {
 public:
  explicit Error(std::string message) : message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};
struct ValueError : Error {
  using Error::Error;
};  // shapes and values
struct TypeError : Error {
  using Error::Error;
};  // dtypes and argument types
struct IndexError : Error {
  using Error::Error;
};  // indices and dimensions out of range
struct RuntimeError : Error {
  using Error::Error;
};  // devices, the tape
struct DeviceError : RuntimeError {
  using RuntimeError::RuntimeError;
};  // what a device refuses, anywhere; whoever knows the operator adds its name
struct NotImplementedError : Error {
  using Error::Error;
};  // valid, but not here
struct OutOfMemoryError : Error {
  using Error::Error;
};  // MemoryError in Python

template <class... Parts>
std::string str(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

template <class Kind, class... Parts>
[[noreturn, gnu::noinline, gnu::cold]] void fail(const Parts&... parts) {
  throw Kind(str(parts...));
}

// f(), with the operator's name in front of what a device refuses.
template <class F>
auto naming(const char* op, F&& f) {
  try {
    return f();
  } catch (const DeviceError& e) {
    fail<DeviceError>(op, ": ", e.what());
  }
}

}  // namespace lamina

#define LM_CHECK(condition, Kind, ...)             \
  do {                                             \
    if (!(condition)) [[unlikely]]                 \
      ::lamina::fail<::lamina::Kind>(__VA_ARGS__); \
  } while (0)
