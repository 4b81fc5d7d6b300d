// Making tensors, and the promotion rule over them. See tensor.h.
#include "core/tensor.h"

#include <algorithm>

#include "core/backend.h"
#include "core/mode.h"

namespace lamina {

thread_local uint8_t mode_ = kGrad;

// A tensor made in inference_mode is one of its own, whichever way it came to be; views take after their base below.
TensorImpl* TensorImpl::make() {
  TensorImpl* impl = new (small_alloc(sizeof(TensorImpl))) TensorImpl;
  impl->inference = inference_mode();
  return impl;
}

void TensorImpl::destroy() {
  this->~TensorImpl();
  small_free(this, sizeof(TensorImpl));
}

// Bytes of a row-major tensor. A number that wrapped around would make a storage too small for its tensor.
static size_t bytes_of(const Shape& sizes, DType dtype) {
  int64_t bytes = item_size(dtype);
  bool overflow = false;
  for (int64_t size : sizes) overflow |= __builtin_mul_overflow(bytes, size, &bytes);
  if (!overflow && bytes >= 0) [[likely]]
    return size_t(bytes);
  LM_CHECK(std::find(sizes.begin(), sizes.end(), 0) != sizes.end(), OutOfMemoryError, "out of memory: need ", sizes,
           ' ', dtype, ", whose bytes do not fit in 64 bits");
  return 0;
}

Tensor empty_strided_tensor(const Shape& sizes, const Shape& strides, DType dtype, Device device) {
  int64_t last = 0;
  for (int i = 0; i < sizes.size(); ++i) last += (sizes[i] - 1) * strides[i];
  int64_t n = sizes.numel() == 0 ? 0 : last + 1;
  return from_storage(Storage::create(bytes_of({n}, dtype), device), sizes, strides, dtype);
}

Tensor empty_tensor(const Shape& sizes, DType dtype, Device device) {
  Ref<TensorImpl> impl(TensorImpl::make());
  impl->storage = Storage::create(bytes_of(sizes, dtype), device);
  impl->sizes = sizes;
  impl->strides = row_major(sizes);
  impl->dtype = dtype;
  return Tensor(std::move(impl));
}

Tensor from_storage(Ref<Storage> storage, const Shape& sizes, const Shape& strides, DType dtype) {
  Ref<TensorImpl> impl(TensorImpl::make());
  impl->storage = std::move(storage);
  impl->sizes = sizes;
  impl->strides = strides;
  impl->dtype = dtype;
  impl->contiguous = is_row_major(sizes, strides);
  return Tensor(std::move(impl));
}

Tensor Tensor::with_layout(const Shape& sizes, const Shape& strides, int64_t offset) const {
  Tensor out = from_storage(impl_->storage, sizes, strides, impl_->dtype);
  out->offset = offset;
  out->inference = impl_->inference;
  out->view_version = version();
  out->base = impl_->base ? impl_->base : impl_;
  out->of_taped = out->base->grad_fn || out->base->requires_grad;
  return out;
}

Tensor Tensor::alias() const {
  Tensor out = from_storage(impl_->storage, impl_->sizes, impl_->strides, impl_->dtype);
  out->offset = impl_->offset;
  out->wrapped = impl_->wrapped;
  out->inference = impl_->inference;
  return out;
}

template <class V>
static Tensor make_scalar(V value, DType dtype, bool wrapped) {
  Tensor out = empty_tensor({}, dtype);
  out->wrapped = wrapped;
  dispatch_all(dtype, [&]<class T>() {
    if constexpr (std::is_same_v<T, f16> || std::is_same_v<T, bf16>)
      *out.data<T>() = T(float(value));
    else
      *out.data<T>() = T(value);
  });
  return out;
}
Tensor scalar_tensor(double value, DType dtype, bool wrapped) { return make_scalar(value, dtype, wrapped); }
Tensor scalar_tensor(int64_t value, DType dtype, bool wrapped) { return make_scalar(value, dtype, wrapped); }
Tensor::Tensor(double value) : Tensor(scalar_tensor(value, DType::F64, true)) {}
Tensor::Tensor(int64_t value) : Tensor(scalar_tensor(value, DType::I64, true)) {}
Tensor::Tensor(bool value) : Tensor(scalar_tensor(int64_t(value), DType::Bool, true)) {}

template <class V>
static V item_as(const Tensor& x) {
  LM_CHECK(x.numel() == 1, ValueError, "item: the tensor has shape ", x.sizes(), "; need exactly one element");
  alignas(8) char fetched[8];
  const void* data = x.data();
  if (!x.device().is_cpu()) [[unlikely]] {
    naming("item", [&] {
      backend(x.device()).copy(stream_of(x.device()), fetched, data, x.itemsize(), CopyKind::DeviceToHost);
    });
    data = fetched;
  }
  return dispatch_all(x.dtype(), [&]<class T>() {
    const T value = *static_cast<const T*>(data);
    if constexpr (std::is_same_v<T, f16> || std::is_same_v<T, bf16>)
      return V(float(value));
    else
      return V(value);
  });
}
double Tensor::item_double() const { return item_as<double>(*this); }
int64_t Tensor::item_int() const { return item_as<int64_t>(*this); }

Tensor empty_channels_last(const Shape& sizes, DType dtype, Device device) {
  return empty_strided_tensor(sizes, channels_last(sizes), dtype, device);
}
bool is_channels_last(const Tensor& x) {
  if (x.dim() < 3) return false;
  const Shape strides = channels_last(x.sizes());
  for (int d = 0; d < x.dim(); ++d)  // a stride over one element is never used
    if (x.size(d) > 1 && x.stride(d) != strides[d]) return x.numel() == 0;
  return true;
}

bool is_dense(const Shape& sizes, const Shape& strides) {
  int order[kMaxDims], n = 0;
  for (int i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == 0) return true;
    if (sizes[i] > 1) order[n++] = i;
  }
  std::sort(order, order + n, [&](int a, int b) { return strides[a] < strides[b]; });
  int64_t step = 1;
  for (int i = 0; i < n; ++i) {
    if (strides[order[i]] != step) return false;
    step *= sizes[order[i]];
  }
  return true;
}

namespace {
// bool < integer < floating: a lower-priority operand counts only if it is of a higher kind.
int kind(DType dtype) { return dtype == DType::Bool ? 0 : is_floating(dtype) ? 2 : 1; }

struct Promotion {
  DType type[3];
  bool seen[3] = {};

  void add(const Tensor& x) {
    int priority = x->wrapped ? 2 : x.dim() == 0 ? 1 : 0;
    DType dtype = x.dtype();
    if (x->wrapped && is_floating(dtype)) dtype = default_dtype();
    type[priority] = seen[priority] ? promote(type[priority], dtype) : dtype;
    seen[priority] = true;
  }
  DType result() const {
    DType out = DType::Bool;
    bool any = false;
    for (int p = 0; p < 3; ++p) {
      if (!seen[p]) continue;
      if (!any || kind(type[p]) > kind(out)) out = any ? promote(out, type[p]) : type[p];
      any = true;
    }
    return out;
  }
};
}  // namespace

DType result_type(std::initializer_list<const Tensor*> tensors) {
  Promotion promotion;
  for (const Tensor* x : tensors) promotion.add(*x);
  return promotion.result();
}
DType result_type(const TensorList& tensors) {
  Promotion promotion;
  for (const Tensor& x : tensors) promotion.add(x);
  return promotion.result();
}

}  // namespace lamina
