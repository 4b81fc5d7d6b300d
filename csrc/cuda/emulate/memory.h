// Global memory under test. A Buffer ends where a page ends, and the next page does not exist: the first access beyond
// it becomes a Fault that names the thread. Bytes nobody has written are 0xff, NaN in every floating type. Bytes before
// the buffer (and up to 15 behind it) are canaries, checked after every launch.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

namespace lamina::emulate {

void* allocate_guarded(size_t bytes);
void free_guarded(void* p);
void check_canaries();  // throws Fault

// With protect(true), buffers can be reached only while an MemoryAccess lives, as kernels and copies hold one: an
// operator that reads the memory of a device on the host then crashes, as it would with a real one.
void protect(bool on);
class MemoryAccess {
 public:
  MemoryAccess();
  ~MemoryAccess();
  MemoryAccess(const MemoryAccess&) = delete;
};
// Turns a bad access of a kernel (SIGSEGV, SIGBUS) or a trap of the alignment and bounds checks (SIGILL) into a Fault.
void install_fault_handler();

// Of the schedule: LAMINA_EMULATE_SEED, or drawn when the process starts; printed in every Fault.
uint64_t seed();
void set_seed(uint64_t seed);

template <class T>
class Buffer {
 public:
  explicit Buffer(size_t n) : n_(n), data_(static_cast<T*>(allocate_guarded(n * sizeof(T)))) {}
  explicit Buffer(const std::vector<T>& values) : Buffer(values.size()) {
    if (n_) std::memcpy(static_cast<void*>(data_), values.data(), n_ * sizeof(T));
  }
  Buffer(Buffer&& other) noexcept : n_(other.n_), data_(std::exchange(other.data_, nullptr)) {}
  ~Buffer() {
    if (data_) free_guarded(data_);
  }

  T* data() const { return data_; }
  size_t size() const { return n_; }
  T& operator[](size_t i) const { return data_[i]; }
  T* begin() const { return data_; }
  T* end() const { return data_ + n_; }
  void poison() { std::memset(static_cast<void*>(data_), 0xff, n_ * sizeof(T)); }
  std::vector<T> values() const { return {data_, data_ + n_}; }

 private:
  size_t n_;
  T* data_;
};

}  // namespace lamina::emulate
