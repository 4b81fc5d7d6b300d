// Scalar: a Python number given as an attribute (fill value, alpha, clamp bound), with its kind.
#pragma once
#include "core/tensor.h"

namespace lamina {

struct Scalar {
  enum Kind : uint8_t { kBool, kInt, kFloat } kind = kInt;
  int64_t i = 0;
  double f = 0;

  Scalar(double value) : kind(kFloat), f(value) {}
  Scalar(int64_t value) : kind(kInt), i(value) {}
  Scalar(int value) : kind(kInt), i(value) {}
  Scalar(bool value) : kind(kBool), i(value) {}
  double to_double() const { return kind == kFloat ? f : double(i); }
  int64_t to_int() const { return kind == kFloat ? int64_t(f) : i; }
  // 0-d, taking part in promotion by kind only.
  Tensor tensor() const { return kind == kFloat ? Tensor(f) : kind == kInt ? Tensor(i) : Tensor(i != 0); }
};

}  // namespace lamina
