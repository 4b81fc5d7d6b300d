// Working memory of a kernel call, from the caching allocator: nothing is asked from the system twice.
#pragma once
#include "core/allocator.h"
#include "core/errors.h"

namespace lamina::cpu {

class Scratch {
 public:
  Scratch() = default;
  explicit Scratch(int64_t bytes) { reserve(bytes); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { release(); }

  // At least `bytes`, 64-byte aligned; what was there is lost when it grows.
  void reserve(int64_t bytes) {
    if (size_t(bytes) <= bytes_) return;
    release();
    bytes_ = size_t(bytes);
    data_ = bytes_ <= kSmallLimit ? small_alloc(bytes_) : large_alloc(bytes_, &block_);
    LM_CHECK(data_, OutOfMemoryError, "out of memory: a kernel needs ", bytes, " bytes of working memory");
  }
  template <class T = void>
  T* data() const {
    return static_cast<T*>(data_);
  }

 private:
  void release() {
    if (!data_) return;
    if (bytes_ <= kSmallLimit)
      small_free(data_, bytes_);
    else
      large_free(data_, block_);
    data_ = nullptr;
    bytes_ = 0;
  }
  void* data_ = nullptr;
  size_t bytes_ = 0, block_ = 0;
};

}  // namespace lamina::cpu
