// One row of a copy, both sides with a stride of their own. The strides that occur most (0, 1, 2, 3, -1) are constants
// in their loops, so that the compiler can load or store whole registers and shuffle.
#include "cpu/copy_loops.h"

namespace lamina::cpu::LM_ISA {
namespace {

template <class U, class DstStride, class SrcStride>
[[gnu::always_inline]] inline void loop(int64_t n, const U* src, SrcStride src_stride, U* dst, DstStride dst_stride) {
  for (int64_t i = 0; i < n; ++i) dst[i * dst_stride()] = src[i * src_stride()];
}

template <int64_t kValue>
struct Constant {
  [[gnu::always_inline]] int64_t operator()() const { return kValue; }
};
struct Variable {
  int64_t value;
  [[gnu::always_inline]] int64_t operator()() const { return value; }
};

template <class U>
void copy_units(int64_t n, const U* src, int64_t src_stride, U* dst, int64_t dst_stride) {
  if (src_stride == 0) {
    U value = *src;  // not read again: dst might be taken for the same memory
    if (dst_stride == 1)
      for (int64_t i = 0; i < n; ++i) dst[i] = value;
    else
      for (int64_t i = 0; i < n; ++i) dst[i * dst_stride] = value;
    return;
  }
  Constant<1> one;
  if (dst_stride == 1) {
    switch (src_stride) {
      case 1:
        __builtin_memcpy(dst, src, size_t(n) * sizeof(U));
        return;
      case 2:
        return loop(n, src, Constant<2>(), dst, one);
      case 3:
        return loop(n, src, Constant<3>(), dst, one);
      case -1:
        return loop(n, src, Constant<-1>(), dst, one);
      default:
        return loop(n, src, Variable{src_stride}, dst, one);
    }
  }
  if (src_stride == 1) {
    switch (dst_stride) {
      case 2:
        return loop(n, src, one, dst, Constant<2>());
      case 3:
        return loop(n, src, one, dst, Constant<3>());
      default:
        return loop(n, src, one, dst, Variable{dst_stride});
    }
  }
  loop(n, src, Variable{src_stride}, dst, Variable{dst_stride});
}

}  // namespace

void copy_elements(int64_t itemsize, int64_t n, const void* src, int64_t src_stride, void* dst, int64_t dst_stride) {
  switch (itemsize) {
    case 1:
      return copy_units(n, static_cast<const uint8_t*>(src), src_stride, static_cast<uint8_t*>(dst), dst_stride);
    case 2:
      return copy_units(n, static_cast<const uint16_t*>(src), src_stride, static_cast<uint16_t*>(dst), dst_stride);
    case 4:
      return copy_units(n, static_cast<const uint32_t*>(src), src_stride, static_cast<uint32_t*>(dst), dst_stride);
    default:
      return copy_units(n, static_cast<const uint64_t*>(src), src_stride, static_cast<uint64_t*>(dst), dst_stride);
  }
}

}  // namespace lamina::cpu::LM_ISA
