// Tensor: a counted handle to a strided view of a Storage. Views (slices, transposes, expansions) share storage and its
// version counter. The autograd fields are opaque here; autograd/node.h gives them meaning. Next: autograd/apply.h.
#pragma once
#include <optional>
#include <vector>

#include "core/device.h"
#include "core/dtype.h"
#include "core/ref.h"
#include "core/shape.h"
#include "core/storage.h"

namespace lamina {

class Tensor;
using TensorList = std::vector<Tensor>;
using OptTensor = std::optional<Tensor>;

struct TensorImpl final : RefCounted {
  Ref<Storage> storage;
  int64_t offset = 0;  // in elements
  Shape sizes, strides;
  DType dtype = DType::F32;
  bool contiguous = true;  // row-major, cached
  bool wrapped = false;    // a Python number: takes part in promotion by kind only
  bool inference = false;  // made in inference_mode: may never enter the tape
  // --- autograd ---
  bool requires_grad = false;  // a leaf that collects .grad
  bool changing = false;       // the handle that an operator in place computes from: what is saved of it is a copy
  bool of_taped = false;      // of a view: its base was in the tape, so that without a grad_fn it is out of it for good
  uint16_t output_index = 0;  // which output of grad_fn
  uint32_t view_version = 0;  // storage version when grad_fn was recorded (views only)
  Ref<Opaque> grad_fn;        // Node
  Ref<Opaque> hooks;          // TensorHooks
  Ref<TensorImpl> grad;
  Ref<TensorImpl> base;    // of a view: the tensor whose storage it reads (never itself a view)
  void* python = nullptr;  // the live Python object, not owned

  static TensorImpl* make();
  void destroy();
};

class Tensor {
 public:
  Tensor() = default;
  explicit Tensor(Ref<TensorImpl> impl) : impl_(std::move(impl)) {}
  // Numbers, as they appear in formulas: 0-d, and they do not widen the dtype of a tensor of the same kind.
  explicit Tensor(double value);
  explicit Tensor(int64_t value);
  explicit Tensor(int value) : Tensor(int64_t(value)) {}
  explicit Tensor(bool value);

  bool defined() const { return bool(impl_); }
  TensorImpl* impl() const { return impl_.get(); }
  const Ref<TensorImpl>& ref() const { return impl_; }
  TensorImpl* operator->() const { return impl_.get(); }
  bool is(const Tensor& other) const { return impl_ == other.impl_; }

  DType dtype() const { return impl_->dtype; }
  Device device() const { return impl_->storage->device; }
  const Shape& sizes() const { return impl_->sizes; }
  const Shape& strides() const { return impl_->strides; }
  int dim() const { return impl_->sizes.size(); }
  int64_t size(int i) const { return impl_->sizes[i < 0 ? i + dim() : i]; }  // unchecked
  int64_t stride(int i) const { return impl_->strides[i < 0 ? i + dim() : i]; }
  int64_t numel() const { return impl_->sizes.numel(); }
  int64_t itemsize() const { return item_size(impl_->dtype); }
  bool is_contiguous() const { return impl_->contiguous; }
  bool is_floating() const { return lamina::is_floating(impl_->dtype); }

  void* data() const { return static_cast<char*>(impl_->storage->data) + impl_->offset * itemsize(); }
  template <class T>
  T* data() const {
    return static_cast<T*>(data());
  }

  // In the tape: a leaf that wants a gradient, or computed from one.
  bool requires_grad() const { return impl_->requires_grad || impl_->grad_fn || follows_base(); }
  bool is_leaf() const { return !impl_->grad_fn && !follows_base(); }
  // A view whose base was changed in place and so came into the tape since; see refresh_view (ops/inplace.cpp).
  bool follows_base() const {
    return impl_->base && impl_->base->grad_fn && !impl_->of_taped && !impl_->grad_fn && !impl_->requires_grad &&
           is_floating();
  }
  uint32_t version() const { return impl_->storage->version; }
  void bump_version() const { ++impl_->storage->version; }

  // A second handle to the same elements, outside the tape.
  Tensor alias() const;
  // A view: the same storage read with other sizes, strides and offset (in elements). Not yet recorded.
  Tensor with_layout(const Shape& sizes, const Shape& strides, int64_t offset) const;
  double item_double() const;  // the value of a one-element tensor, converted
  int64_t item_int() const;

 private:
  Ref<TensorImpl> impl_;
};

// Uninitialised memory.
Tensor empty_tensor(const Shape& sizes, DType dtype, Device device = {});
Tensor empty_strided_tensor(const Shape& sizes, const Shape& strides, DType dtype, Device device = {});
// One element of `dtype`, on the CPU; `wrapped` marks a Python number.
Tensor scalar_tensor(double value, DType dtype, bool wrapped = false);
Tensor scalar_tensor(int64_t value, DType dtype, bool wrapped = false);
// Memory somebody else owns; `storage` says how to give it back.
Tensor from_storage(Ref<Storage> storage, const Shape& sizes, const Shape& strides, DType dtype);

// (N, C, ...) in channels-last order; and whether a tensor of 3 dimensions or more lies in that order.
Tensor empty_channels_last(const Shape& sizes, DType dtype, Device device = {});
bool is_channels_last(const Tensor& x);

// No two indices reach the same element and there are no gaps: some permutation of row-major.
bool is_dense(const Shape& sizes, const Shape& strides);
// PyTorch's result type: dimensioned tensors first, then 0-d tensors, then numbers, each only if its kind is higher.
DType result_type(std::initializer_list<const Tensor*> tensors);
DType result_type(const TensorList& tensors);

}  // namespace lamina
