// Intrusive reference counting. The count lives in the object, so a handle is one pointer and making a tensor costs one
// allocation. `T` derives from RefCounted and provides `void destroy()`, called when the last handle goes.
// Next: tensor.h.
#pragma once
#include <atomic>
#include <cstdint>
#include <utility>

namespace lamina {

struct RefCounted {
  mutable std::atomic<int32_t> refs{0};
};

template <class T>
class Ref {
 public:
  Ref() = default;
  explicit Ref(T* object) : object_(object) { retain(); }
  Ref(const Ref& other) : object_(other.object_) { retain(); }
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() { release(); }

  T* get() const { return object_; }
  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }
  explicit operator bool() const { return object_ != nullptr; }
  bool operator==(const Ref& other) const { return object_ == other.object_; }
  void reset() { *this = Ref(); }
  int32_t use_count() const { return object_ ? object_->refs.load(std::memory_order_relaxed) : 0; }

 private:
  void retain() const {
    if (object_) object_->refs.fetch_add(1, std::memory_order_relaxed);
  }
  void release() {
    // A count of one needs no atomic subtraction: nobody else can hold a handle to copy from.
    if (object_ && (object_->refs.load(std::memory_order_acquire) == 1 ||
                    object_->refs.fetch_sub(1, std::memory_order_acq_rel) == 1))
      object_->destroy();
  }

  T* object_ = nullptr;
};

// Something counted whose type the holder does not know: how `core/` names an autograd node.
struct Opaque : RefCounted {
  virtual ~Opaque() = default;
  virtual void destroy() = 0;
};

}  // namespace lamina
