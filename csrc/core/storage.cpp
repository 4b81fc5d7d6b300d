// The kinds of memory behind one struct: inside the header's own block, in a large block of its own, a device's, or
// somebody else's.
#include "core/storage.h"

#include <pthread.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <mutex>
#include <new>

#include "core/backend.h"
#include "core/errors.h"

namespace lamina {
namespace {

constexpr size_t kHeader = 64;               // the header fills a cache line, so the data after it is aligned
constexpr size_t kListed = size_t{1} << 20;  // smaller storages would not explain an out-of-memory error

// An empty storage still has an address of its own.
size_t small_bytes(size_t nbytes) { return kHeader + std::max<size_t>(nbytes, 1); }

// Page-locked memory serves every CUDA device; the first one's backend gives it.
constexpr Device kFirstCuda{DeviceType::CUDA};

// 1.5 MiB
std::string human(double bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  int unit = 0;
  for (; bytes >= 1024 && unit < 6; ++unit) bytes /= 1024;
  char text[32];
  std::snprintf(text, sizeof(text), unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
  return text;
}

}  // namespace

// Storages of at least 1 MiB, so that an out-of-memory error can say who holds the memory.
struct LiveList {
  std::mutex mutex;
  Storage* head = nullptr;

  static LiveList& instance() {
    static LiveList* list = [] {
      pthread_atfork([] { instance().mutex.lock(); }, [] { instance().mutex.unlock(); },
                     [] { instance().mutex.unlock(); });
      return new LiveList;
    }();
    return *list;
  }

  void add(Storage* storage) {
    std::lock_guard lock(mutex);
    storage->links_ = {nullptr, head};
    if (head) head->links_.previous = storage;
    head = storage;
  }

  void remove(Storage* storage) {
    std::lock_guard lock(mutex);
    auto [previous, next] = storage->links_;
    (previous ? previous->links_.next : head) = next;
    if (next) next->links_.previous = previous;
  }

  // Largest first, equal sizes together: "2 x 64.0 MiB, 1 x 6.0 MiB".
  std::string report() {
    std::map<size_t, int, std::greater<>> sizes;
    {
      std::lock_guard lock(mutex);
      for (Storage* s = head; s; s = s->links_.next) ++sizes[s->nbytes];
    }
    std::string text;
    int lines = 0;
    for (auto [bytes, count] : sizes) {
      if (++lines > 8) break;
      text += (text.empty() ? "" : ", ") + std::to_string(count) + " x " + human(bytes);
    }
    return text.empty() ? "none of 1 MiB or more" : text;
  }
};

Ref<Storage> Storage::create(size_t nbytes, Device device) {
  if (!device.is_cpu()) [[unlikely]] {
    void* data = backend(device).allocate(stream_of(device), nbytes);
    return Ref<Storage>(new (small_alloc(sizeof(Storage))) Storage(device, Kind::Backend, data, nbytes));
  }
  if (small_bytes(nbytes) <= kSmallLimit) {
    char* block = static_cast<char*>(small_alloc(small_bytes(nbytes)));
    return Ref<Storage>(new (block) Storage(device, Kind::Small, block + kHeader, nbytes));
  }
  size_t block_bytes = 0;
  void* data = large_alloc(nbytes, &block_bytes);
  if (!data) [[unlikely]] {
    const MemoryStats stats = memory_stats();
    fail<OutOfMemoryError>("out of memory: need ", human(nbytes), " on ", device, "; allocated ",
                           human(stats.allocated), ", peak ", human(stats.peak),
                           "; largest live tensors: ", LiveList::instance().report());
  }
  Storage* storage = new (small_alloc(sizeof(Storage))) Storage(device, Kind::Large, data, nbytes);
  storage->block_bytes_ = block_bytes;
  if (nbytes >= kListed) LiveList::instance().add(storage);
  return Ref<Storage>(storage);
}

Ref<Storage> Storage::create_pinned(size_t nbytes) {
  void* data = backend(kFirstCuda).allocate_pinned(nbytes);
  return Ref<Storage>(new (small_alloc(sizeof(Storage))) Storage(Device(), Kind::Pinned, data, nbytes));
}

Ref<Storage> Storage::external(void* data, size_t nbytes, Device device, Release release, void* context) {
  Storage* storage = new (small_alloc(sizeof(Storage))) Storage(device, Kind::External, data, nbytes);
  storage->owner_ = {release, context};
  return Ref<Storage>(storage);
}

void Storage::destroy() {
  size_t bytes = sizeof(Storage);
  if (kind == Kind::Small) {
    bytes = small_bytes(nbytes);
  } else if (kind == Kind::Large) {
    if (nbytes >= kListed) LiveList::instance().remove(this);
    large_free(data, block_bytes_);
  } else if (kind == Kind::Backend) {
    backend(device).release(device.index, data);
  } else if (kind == Kind::Pinned) {
    backend(kFirstCuda).release_pinned(data);
  } else if (owner_.release) {
    owner_.release(owner_.context);
  }
  this->~Storage();
  small_free(this, bytes);
}

}  // namespace lamina
