// Elements of the four types that the fakes compute with; cuBLAS and cuDNN number the first three alike.
#pragma once
#include <cstdint>

#include "core/dtype.h"

inline double load(const void* data, int type, int64_t i) {
  switch (type) {
    case 0:
      return double(static_cast<const float*>(data)[i]);
    case 1:
      return static_cast<const double*>(data)[i];
    case 2:
      return double(float(static_cast<const lamina::f16*>(data)[i]));
    default:
      return double(float(static_cast<const lamina::bf16*>(data)[i]));
  }
}
inline void store(void* data, int type, int64_t i, double x) {
  switch (type) {
    case 0:
      static_cast<float*>(data)[i] = float(x);
      break;
    case 1:
      static_cast<double*>(data)[i] = x;
      break;
    case 2:
      static_cast<lamina::f16*>(data)[i] = lamina::f16(float(x));
      break;
    default:
      static_cast<lamina::bf16*>(data)[i] = lamina::bf16(float(x));
  }
}
