// Names and promotion of element types. See dtype.h.
#include "core/dtype.h"

#include <atomic>

namespace lamina {

const char* dtype_name(DType dtype) {
  static constexpr const char* kNames[kDTypes] = {
#define ROW(Name, T, text) text,
      LM_DTYPES(ROW)
#undef ROW
  };
  return kNames[int(dtype)];
}

DType promote(DType a, DType b) {
  if (a == b) return a;
  if (a > b) std::swap(a, b);
  // Two types of 16 bits that cannot hold each other meet in float32; unsigned and signed bytes in int16.
  if (a == DType::F16 && b == DType::BF16) return DType::F32;
  if (a == DType::U8 && b == DType::I8) return DType::I16;
  return b;  // otherwise the enumeration is in order: bool < integers < floats
}

static std::atomic<DType> default_dtype_{DType::F32};
DType default_dtype() { return default_dtype_.load(std::memory_order_relaxed); }
void set_default_dtype(DType dtype) {
  LM_CHECK(is_floating(dtype), TypeError, "set_default_dtype: got ", dtype, "; need a floating-point dtype");
  default_dtype_ = dtype;
}

}  // namespace lamina
