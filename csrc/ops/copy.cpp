// Copies: between layouts, element types and tensors. The helpers that every other family is written with (copy_into,
// full_tensor, cast), and the rows clone and contiguous. The loops are in cpu/copy.cpp.
#include "kernel/copy.h"

#include <cmath>
#include <limits>

#include "autograd/apply.h"
#include "core/backend.h"
#include "ops/ops.h"

namespace lamina {
namespace {

// The bytes of `value` as `dtype`. A number the type cannot hold is an error, not a silent wrap; a negative number in
// an unsigned type wraps, as in PyTorch.
struct FillValue {
  alignas(8) char bytes[8];

  FillValue(const Scalar& value, DType dtype) {
    dispatch_all(dtype, [&]<class T>() {
      T converted;
      if constexpr (std::is_same_v<T, bool>)
        converted = value.to_double() != 0;
      else if constexpr (std::is_same_v<T, f16> || std::is_same_v<T, bf16>)
        converted = T(float(value.to_double()));
      else if constexpr (std::is_floating_point_v<T>)
        converted = T(value.to_double());
      else
        converted = integer<T>(value);
      __builtin_memcpy(bytes, &converted, sizeof(T));
    });
  }

 private:
  template <class T>
  static T integer(const Scalar& value) {
    constexpr double kMax = double(std::numeric_limits<T>::max());
    constexpr double kMin = std::is_signed_v<T> ? double(std::numeric_limits<T>::min()) : -kMax;
    double x = value.to_double();
    bool fits = value.kind != Scalar::kFloat && sizeof(T) == 8 ? true : kMin <= x && x <= kMax;
    LM_CHECK(fits, ValueError, "full: the value ", x, " does not fit in ", dtype_of<T>, "; need ", kMin,
             " <= value <= ", kMax);
    return T(value.to_int());
  }
};

// The bytes a tensor may touch, as [first, last).
std::pair<const char*, const char*> range_of(const Tensor& x) {
  int64_t first = 0, last = 0;
  for (int i = 0; i < x.dim(); ++i) {
    int64_t reach = (x.size(i) - 1) * x.stride(i);
    (reach < 0 ? first : last) += reach;
  }
  const char* data = static_cast<const char*>(x.data());
  return {data + first * x.itemsize(), data + (last + 1) * x.itemsize()};
}

bool may_overlap(const Tensor& a, const Tensor& b) {
  if (!(a->storage == b->storage) || a.numel() == 0 || b.numel() == 0) return false;
  auto [a_first, a_last] = range_of(a);
  auto [b_first, b_last] = range_of(b);
  return a_first < b_last && b_first < a_last;
}

struct Clone {
  static constexpr const char* kName = "clone";
  Tensor forward(Ctx&, const Tensor& x) const { return copy_dense(x); }
  Grads backward(Ctx&, const Tensor& grad) const { return {grad}; }
};

struct Contiguous {
  static constexpr const char* kName = "contiguous";
  bool channels_last = false;
  Tensor forward(Ctx&, const Tensor& x) const {
    Tensor out = channels_last ? empty_channels_last(x.sizes(), x.dtype(), x.device())
                               : empty_tensor(x.sizes(), x.dtype(), x.device());
    copy_into(out, x);
    return out;
  }
  Grads backward(Ctx&, const Tensor& grad) const { return {grad}; }
};

// PyTorch's names of memory orders. The dimensions of a tensor that may have this one.
int channels_last_dims(const std::string& format, const char* op) {
  int dims = format == "channels_last" ? 4 : format == "channels_last_3d" ? 5 : 0;
  LM_CHECK(dims, ValueError, op, ": memory_format is '", format,
           "'; need 'contiguous_format', 'channels_last', 'channels_last_3d' or, for clone, 'preserve_format'");
  return dims;
}
bool wants_channels_last(const Tensor& x, const std::string& format, const char* op) {
  if (format == "contiguous_format") return false;
  int dims = channels_last_dims(format, op);
  LM_CHECK(x.dim() == dims, ValueError, op, ": memory_format '", format, "' for a tensor of shape ", x.sizes(),
           "; need ", dims, " dimensions");
  return true;
}

struct Cast {
  static constexpr const char* kName = "to";
  DType from, to;
  Tensor forward(Ctx&, const Tensor& x) const {
    Tensor out = is_dense(x.sizes(), x.strides()) ? empty_strided_tensor(x.sizes(), x.strides(), to, x.device())
                                                  : empty_tensor(x.sizes(), to, x.device());
    copy_into(out, x);
    return out;
  }
  Grads backward(Ctx&, const Tensor& grad) const { return {cast(grad, from)}; }
};

// Memory for a copy of x in pinned memory, in its order where it is dense.
Tensor empty_pinned_like(const Tensor& x) {
  const Shape strides = is_dense(x.sizes(), x.strides()) ? x.strides() : row_major(x.sizes());
  return from_storage(Storage::create_pinned(size_t(x.numel() * x.itemsize())), x.sizes(), strides, x.dtype());
}

struct ToDevice {
  static constexpr const char* kName = "to";
  Device from, to;
  bool non_blocking = false;
  Tensor forward(Ctx&, const Tensor& x) const {
    Tensor out = non_blocking && to.is_cpu()        ? empty_pinned_like(x)
                 : is_dense(x.sizes(), x.strides()) ? empty_strided_tensor(x.sizes(), x.strides(), x.dtype(), to)
                                                    : empty_tensor(x.sizes(), x.dtype(), to);
    copy_into(out, x, non_blocking);
    return out;
  }
  Grads backward(Ctx&, const Tensor& grad) const { return {to_device(grad, from)}; }
};

struct PinMemory {
  static constexpr const char* kName = "pin_memory";
  Tensor forward(Ctx&, const Tensor& x) const {
    Tensor out = empty_pinned_like(x);
    copy_into(out, x);
    return out;
  }
  Grads backward(Ctx&, const Tensor& grad) const { return {grad}; }
};

}  // namespace

Tensor to_device(const Tensor& x, Device device, bool non_blocking) {
  return x.device() == device ? x : apply(ToDevice{x.device(), device, non_blocking}, x);
}

bool is_pinned(const Tensor& x) {
  const Storage& storage = *x->storage;
  if (storage.kind == Storage::Kind::Pinned) return true;
  // An array over pinned memory, come back as a tensor.
  return storage.kind == Storage::Kind::External && x.device().is_cpu() && has_cuda() &&
         backend({DeviceType::CUDA}).is_pinned(x.data());
}

Tensor pin_memory(const Tensor& x) {
  LM_CHECK(x.device().is_cpu(), RuntimeError, "pin_memory: the tensor is on ", x.device(), "; need one on the cpu");
  return is_pinned(x) ? x : apply(PinMemory{}, x);
}

Tensor full_tensor(const Shape& sizes, const Scalar& value, DType dtype, Device device) {
  FillValue fill(value, dtype);
  Tensor out = empty_tensor(sizes, dtype, device);
  int64_t n = out.numel(), one = 1;
  kernel::fill_strided(stream_of(device), 1, &n, out.data(), &one, dtype, fill.bytes);
  return out;
}

Tensor ones_tensor(const Shape& sizes, DType dtype, Device device) { return full_tensor(sizes, 1, dtype, device); }

// Between devices bytes are copied: elements are brought to their order and dtype on the side of the source first, so
// that a cast to fewer bytes happens before the bus, and spread out on the side of the destination. A number of the
// host travels with the launch of a fill, which nobody waits for.
static void copy_across(const Tensor& dst, const Tensor& src, bool non_blocking) {
  Tensor packed = cast(contiguous(src), dst.dtype());
  if (src.device().is_cpu() && src.dim() == 0 && !is_pinned(src))
    return kernel::fill_strided(stream_of(dst.device()), dst.dim(), dst.sizes().data(), dst.data(),
                                dst.strides().data(), dst.dtype(), packed.data());
  Tensor landed =
      dst.is_contiguous() && dst.sizes() == src.sizes() ? dst : empty_tensor(src.sizes(), dst.dtype(), dst.device());
  const Device device = dst.device().is_cpu() ? src.device() : dst.device();
  LM_CHECK(dst.device().is_cpu() || src.device().is_cpu(), RuntimeError, "copy: from ", src.device(), " to ",
           dst.device(), "; need one of them to be the cpu");
  const CopyKind kind = dst.device().is_cpu() ? CopyKind::DeviceToHost : CopyKind::HostToDevice;
  if (const int64_t bytes = packed.numel() * packed.itemsize())
    naming("copy", [&] {
      const Backend& b = backend(device);
      const Stream stream = stream_of(device);
      b.copy(stream, landed.data(), packed.data(), size_t(bytes), kind);
      if (!non_blocking && b.is_pinned(dst.device().is_cpu() ? landed.data() : packed.data())) b.synchronize(stream);
    });
  if (!landed.is(dst)) copy_into(dst, landed);
}

void copy_into(const Tensor& dst, const Tensor& src, bool non_blocking) {
  LM_CHECK(src.dim() <= dst.dim() && broadcast(dst.sizes(), src.sizes(), "copy") == dst.sizes(), ValueError,
           "copy: a source of shape ", src.sizes(), " does not fit a destination of shape ", dst.sizes(),
           "; need a shape that broadcasts to it");
  if (dst.device() != src.device()) return copy_across(dst, src, non_blocking);
  if (may_overlap(dst, src)) {
    if (dst.data() == src.data() && dst.sizes() == src.sizes() && dst.strides() == src.strides() &&
        dst.dtype() == src.dtype())
      return;
    Tensor apart = empty_tensor(src.sizes(), src.dtype(), src.device());
    kernel::copy_strided(stream_of(src.device()), src.dim(), src.sizes().data(), apart.data(), apart.strides().data(),
                         src.dtype(), src.data(), src.strides().data(), src.dtype());
    return copy_into(dst, apart);
  }
  Shape strides = broadcast_strides(src.sizes(), src.strides(), dst.sizes());
  kernel::copy_strided(stream_of(dst.device()), dst.dim(), dst.sizes().data(), dst.data(), dst.strides().data(),
                       dst.dtype(), src.data(), strides.data(), src.dtype());
}

Tensor copy_dense(const Tensor& x) {
  Tensor out = is_dense(x.sizes(), x.strides()) ? empty_strided_tensor(x.sizes(), x.strides(), x.dtype(), x.device())
                                                : empty_tensor(x.sizes(), x.dtype(), x.device());
  copy_into(out, x);
  return out;
}

Tensor cast(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  return apply(Cast{x.dtype(), dtype}, x);
}

Tensor clone(const Tensor& input) { return apply(Clone{}, input); }

Tensor contiguous(const Tensor& input) {
  if (input.is_contiguous()) return input;
  return apply(Contiguous{}, input);
}

bool is_contiguous(const Tensor& x, const std::string& memory_format) {
  if (memory_format == "contiguous_format") return x.is_contiguous();
  return channels_last_dims(memory_format, "is_contiguous") == x.dim() && is_channels_last(x);
}

Tensor contiguous(const Tensor& input, const std::string& memory_format) {
  if (!wants_channels_last(input, memory_format, "contiguous")) return contiguous(input);
  if (is_channels_last(input)) return input;
  return apply(Contiguous{true}, input);
}

Tensor clone(const Tensor& input, const std::string& memory_format) {
  if (memory_format == "preserve_format") return clone(input);
  return apply(Contiguous{wants_channels_last(input, memory_format, "clone")}, input);
}

}  // namespace lamina
