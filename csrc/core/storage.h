// The memory behind tensors: views of one tensor share a storage. The one idea: the header (this struct, one cache
// line) and up to 4 KiB of data are a single block of the caching allocator, so a small tensor's memory costs one
// free-list pop. Next: allocator.h (where blocks come from), tensor.h (what looks at them).
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/allocator.h"
#include "core/device.h"
#include "core/ref.h"

namespace lamina {

struct Storage : RefCounted {
  Device device;
  enum class Kind : uint8_t { Small, Large, External, Backend, Pinned } kind = Kind::Small;
  void* data = nullptr;  // 64-byte aligned unless external
  size_t nbytes = 0;
  std::atomic<uint32_t> version{0};  // writes in place so far: saved tensors compare it (autograd)

  // Uninitialized memory. Throws OutOfMemoryError, which lists the largest live storages.
  static Ref<Storage> create(size_t nbytes, Device device = {});

  // Memory of the CPU that a CUDA device reads and writes by itself (Backend::allocate_pinned).
  static Ref<Storage> create_pinned(size_t nbytes);

  // Memory of someone else (NumPy, DLPack), handed back by `release(context)` when the last view goes.
  using Release = void (*)(void* context);
  static Ref<Storage> external(void* data, size_t nbytes, Device device, Release release, void* context);

  void destroy();

 private:
  friend struct LiveList;
  Storage(Device device, Kind kind, void* data, size_t nbytes)
      : device(device), kind(kind), data(data), nbytes(nbytes) {}
  ~Storage() = default;

  struct Owner {
    Release release;
    void* context;
  };
  struct Links {
    Storage *previous, *next;
  };
  union {
    Owner owner_;                    // External
    Links links_{nullptr, nullptr};  // Large: in the list of live storages that an out-of-memory report prints
  };
  size_t block_bytes_ = 0;  // Large
};
static_assert(sizeof(Storage) <= 64);

}  // namespace lamina
