// The loops over gradients that are clipped, float and double.
#include "cpu/clip_loops.h"

namespace lamina::cpu::LM_ISA {
namespace {

template <class T>
void scale(T factor, int64_t n, T* x) {
  for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

// NaN stays.
template <class T>
void clamp(T low, T high, int64_t n, T* x) {
  for (int64_t i = 0; i < n; ++i) {
    const T v = x[i] < low ? low : x[i];
    x[i] = v > high ? high : v;
  }
}

}  // namespace

void scale_array(DType dtype, double factor, int64_t n, void* x) {
  if (dtype == DType::F32) return scale(float(factor), n, static_cast<float*>(x));
  scale(factor, n, static_cast<double*>(x));
}

void clamp_array(DType dtype, double low, double high, int64_t n, void* x) {
  if (dtype == DType::F32) return clamp(float(low), float(high), n, static_cast<float*>(x));
  clamp(low, high, n, static_cast<double*>(x));
}

}  // namespace lamina::cpu::LM_ISA
