// Element type conversion, compiled once per instruction set. The one idea: the eight types the machine computes in
// convert to each other directly; f16 and bf16 go through blocks of float, so there are 60 loops and not 90.
#include "cpu/copy_loops.h"

#ifdef __F16C__
#include <immintrin.h>
#endif

namespace lamina::cpu::LM_ISA {
namespace {

#define LM_INLINE [[gnu::always_inline]] inline

template <class To, class From>
LM_INLINE To convert_one(From x) {
  if constexpr (__is_same(To, bool)) return x != From(0);
  // Through int32, so that values a small integer cannot hold wrap alike in vectors and in scalar tails.
  else if constexpr (From(0.5) != From(0) && sizeof(To) < 4)
    return To(int32_t(x));
  else
    return To(x);
}

template <class From, class To>
void loop(int64_t n, const From* src, To* dst) {
  for (int64_t i = 0; i < n; ++i) dst[i] = convert_one<To>(src[i]);
}

template <class To>
void from_any(DType from, int64_t n, const void* src, To* dst) {
  switch (from) {
    case DType::Bool:  // a byte 0 or 1, which loads faster as a number
    case DType::U8:
      return loop(n, static_cast<const uint8_t*>(src), dst);
    case DType::I8:
      return loop(n, static_cast<const int8_t*>(src), dst);
    case DType::I16:
      return loop(n, static_cast<const int16_t*>(src), dst);
    case DType::I32:
      return loop(n, static_cast<const int32_t*>(src), dst);
    case DType::I64:
      return loop(n, static_cast<const int64_t*>(src), dst);
    case DType::F32:
      return loop(n, static_cast<const float*>(src), dst);
    case DType::F64:
      return loop(n, static_cast<const double*>(src), dst);
    default:
      __builtin_unreachable();
  }
}

void native(DType from, DType to, int64_t n, const void* src, void* dst) {
  switch (to) {
    case DType::Bool:
      return from_any(from, n, src, static_cast<bool*>(dst));
    case DType::U8:
      return from_any(from, n, src, static_cast<uint8_t*>(dst));
    case DType::I8:
      return from_any(from, n, src, static_cast<int8_t*>(dst));
    case DType::I16:
      return from_any(from, n, src, static_cast<int16_t*>(dst));
    case DType::I32:
      return from_any(from, n, src, static_cast<int32_t*>(dst));
    case DType::I64:
      return from_any(from, n, src, static_cast<int64_t*>(dst));
    case DType::F32:
      return from_any(from, n, src, static_cast<float*>(dst));
    case DType::F64:
      return from_any(from, n, src, static_cast<double*>(dst));
    default:
      __builtin_unreachable();
  }
}

// The bit patterns below are those of core/dtype.h, written without branches so that they vectorize.
LM_INLINE uint32_t bits_of(float x) { return __builtin_bit_cast(uint32_t, x); }
LM_INLINE float float_of(uint32_t u) { return __builtin_bit_cast(float, u); }

LM_INLINE uint16_t bf16_of(float x) {
  uint32_t u = bits_of(x), rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  return uint16_t((u & 0x7fffffff) > 0x7f800000 ? (u >> 16) | 0x40 : rounded);
}
LM_INLINE uint16_t f16_of(float x) {
  uint32_t u = bits_of(x), sign = (u >> 16) & 0x8000;
  u &= 0x7fffffff;
  uint32_t special = u > 0x7f800000 ? 0x7e00 : 0x7c00;
  uint32_t subnormal = bits_of(float_of(u) + 0.5f) - 0x3f000000;
  uint32_t normal = (u + 0xc8000fff + ((u >> 13) & 1)) >> 13;
  return uint16_t(sign | (u >= 0x47800000 ? special : u < 0x38800000 ? subnormal : normal));
}
LM_INLINE float from_f16(uint16_t h) {
  uint32_t sign = uint32_t(h & 0x8000) << 16, rest = uint32_t(h & 0x7fff) << 13;
  uint32_t u = rest >= 0x0f800000 ? rest | 0x7f800000 : bits_of(float_of(rest) * 0x1p112f);
  return float_of(u | sign);
}

void widen(DType from, int64_t n, const uint16_t* src, float* dst) {
  int64_t i = 0;
  if (from == DType::BF16) {
    for (; i < n; ++i) dst[i] = float_of(uint32_t(src[i]) << 16);
    return;
  }
#ifdef __F16C__
  for (; i + 8 <= n; i += 8)
    _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(src + i))));
#endif
  for (; i < n; ++i) dst[i] = from_f16(src[i]);
}

void narrow(DType to, int64_t n, const float* src, uint16_t* dst) {
  int64_t i = 0;
  if (to == DType::BF16) {
    for (; i < n; ++i) dst[i] = bf16_of(src[i]);
    return;
  }
#ifdef __F16C__
  for (; i + 8 <= n; i += 8)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + i),
                     _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT));
#endif
  for (; i < n; ++i) dst[i] = f16_of(src[i]);
}

constexpr int kItemBytes[] = {1, 1, 1, 2, 4, 8, 2, 2, 4, 8};
LM_INLINE bool half(DType dtype) { return dtype == DType::F16 || dtype == DType::BF16; }

}  // namespace

void convert(DType from, DType to, int64_t n, const void* src, void* dst) {
  if (from == to) {
    __builtin_memcpy(dst, src, size_t(n) * kItemBytes[int(from)]);
    return;
  }
  if (!half(from) && !half(to)) return native(from, to, n, src, dst);
  if (half(from) && to == DType::F32)
    return widen(from, n, static_cast<const uint16_t*>(src), static_cast<float*>(dst));
  if (half(to) && from == DType::F32) return narrow(to, n, static_cast<const float*>(src), static_cast<uint16_t*>(dst));
  constexpr int64_t kBlock = 512;
  float block[kBlock];
  auto* in = static_cast<const char*>(src);
  auto* out = static_cast<char*>(dst);
  for (int64_t i = 0; i < n; i += kBlock) {
    int64_t m = n - i < kBlock ? n - i : kBlock;
    const char* from_here = in + i * kItemBytes[int(from)];
    char* to_here = out + i * kItemBytes[int(to)];
    if (half(from))
      widen(from, m, reinterpret_cast<const uint16_t*>(from_here), block);
    else
      native(from, DType::F32, m, from_here, block);
    if (half(to))
      narrow(to, m, block, reinterpret_cast<uint16_t*>(to_here));
    else
      native(DType::F32, to, m, block, to_here);
  }
}

}  // namespace lamina::cpu::LM_ISA
