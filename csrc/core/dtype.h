// Element types, their conversion to float, promotion, and the one switch that turns a DType into a C++ type:
//   dispatch_float(dtype, "softmax", [&]<class T>() { ... });
// f16 and bf16 are storage types: they are loaded, computed in float, stored back (see compute_type).
#pragma once
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <ostream>

#include "core/errors.h"

namespace lamina {

enum class DType : uint8_t { Bool, U8, I8, I16, I32, I64, F16, BF16, F32, F64 };
inline constexpr int kDTypes = 10;

struct bf16 {
  uint16_t bits;
  bf16() = default;
  explicit bf16(float x) {
    uint32_t u = std::bit_cast<uint32_t>(x);
    // Round to nearest even; NaN stays NaN (adding the rounding term could carry it into infinity).
    bits = x != x ? uint16_t((u >> 16) | 0x40) : uint16_t((u + 0x7fff + ((u >> 16) & 1)) >> 16);
  }
  operator float() const { return std::bit_cast<float>(uint32_t(bits) << 16); }
};

struct f16 {
  uint16_t bits;
  f16() = default;
  explicit f16(float x) {
    uint32_t u = std::bit_cast<uint32_t>(x), sign = (u >> 16) & 0x8000;
    u &= 0x7fffffff;
    if (u >= 0x47800000) {  // too large, infinite or NaN
      bits = uint16_t(sign | (u > 0x7f800000 ? 0x7e00 : 0x7c00));
    } else if (u < 0x38800000) {  // subnormal: let float addition round the mantissa into place
      float magic = std::bit_cast<float>(u) + 0.5f;
      bits = uint16_t(sign | (std::bit_cast<uint32_t>(magic) - 0x3f000000));
    } else {
      uint32_t odd = (u >> 13) & 1;
      bits = uint16_t(sign | ((u + 0xc8000fff + odd) >> 13));
    }
  }
  operator float() const {
    uint32_t sign = uint32_t(bits & 0x8000) << 16, rest = uint32_t(bits & 0x7fff) << 13;
    float scaled = std::bit_cast<float>(rest) * 0x1p112f;  // rebias the exponent; subnormals come out right
    uint32_t u = rest >= 0x0f800000 ? rest | 0x7f800000 : std::bit_cast<uint32_t>(scaled);
    return std::bit_cast<float>(u | sign);
  }
};

template <class T>
struct DTypeOf;
// clang-format off
#define LM_DTYPES(ROW)                                                                                        \
  ROW(Bool, bool, "bool") ROW(U8, uint8_t, "uint8") ROW(I8, int8_t, "int8") ROW(I16, int16_t, "int16")        \
  ROW(I32, int32_t, "int32") ROW(I64, int64_t, "int64") ROW(F16, f16, "float16") ROW(BF16, bf16, "bfloat16")  \
  ROW(F32, float, "float32") ROW(F64, double, "float64")
// clang-format on
#define ROW(Name, T, text)                      \
  template <>                                   \
  struct DTypeOf<T> {                           \
    static constexpr DType value = DType::Name; \
  };
LM_DTYPES(ROW)
#undef ROW
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

inline constexpr uint8_t kItemSize[kDTypes] = {1, 1, 1, 2, 4, 8, 2, 2, 4, 8};
constexpr int64_t item_size(DType dtype) { return kItemSize[int(dtype)]; }
constexpr bool is_floating(DType dtype) { return dtype >= DType::F16; }
constexpr bool is_integral(DType dtype) { return dtype >= DType::U8 && dtype <= DType::I64; }  // bool excluded
constexpr bool is_half(DType dtype) { return dtype == DType::F16 || dtype == DType::BF16; }
constexpr DType compute_type(DType dtype) { return is_half(dtype) ? DType::F32 : dtype; }

const char* dtype_name(DType dtype);  // "float32"
inline std::ostream& operator<<(std::ostream& out, DType dtype) { return out << dtype_name(dtype); }

// PyTorch's promotion lattice: the smallest type that both convert to.
DType promote(DType a, DType b);
DType default_dtype();
void set_default_dtype(DType dtype);

// The one switch over element types. `f` is a generic lambda `[&]<class T>() {...}`.
template <class F>
decltype(auto) dispatch_all(DType dtype, F&& f) {
  switch (dtype) {
#define ROW(Name, T, text) \
  case DType::Name:        \
    return f.template operator()<T>();
    LM_DTYPES(ROW)
#undef ROW
  }
  __builtin_unreachable();
}

// Only float and double: what kernels compute in.
template <class F>
decltype(auto) dispatch_float(DType dtype, const char* op, F&& f) {
  if (dtype == DType::F32) return f.template operator()<float>();
  LM_CHECK(dtype == DType::F64, TypeError, op, ": not defined for ", dtype, "; need a floating-point tensor");
  return f.template operator()<double>();
}

}  // namespace lamina
