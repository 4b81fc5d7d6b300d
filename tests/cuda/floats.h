// Random operands in every floating type, and the comparison with a result in double.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <vector>

#include "core/dtype.h"
#include "cuda/emulate/memory.h"

namespace lamina {

// The distance of 1 to the next number, of T and of what its sums are kept in.
template <class T>
constexpr double kEpsilon = std::is_same_v<T, f16>     ? 0x1p-10
                            : std::is_same_v<T, bf16>  ? 0x1p-7
                            : std::is_same_v<T, float> ? 0x1p-23
                                                       : 0x1p-52;
template <class T>
constexpr double kSumEpsilon = std::is_same_v<T, double> ? 0x1p-52 : 0x1p-23;

inline double random_value() { return double(std::rand()) / RAND_MAX * 2 - 1; }

template <class T>
emulate::Buffer<T> random_floats(int64_t n) {
  emulate::Buffer<T> buffer{size_t(n)};
  for (T& x : buffer) x = T(float(random_value()));
  return buffer;
}
template <class T>
std::vector<double> widened(const emulate::Buffer<T>& buffer) {
  std::vector<double> out;
  for (const T& x : buffer) out.push_back(double(x));
  return out;
}

// Sums of `terms` products of numbers below 1: the rounding errors of T's sums in any order, plus the one of storing.
template <class T>
void expect_sums(const emulate::Buffer<T>& got, const std::vector<double>& expected, int64_t terms) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    const double x = double(got[i]), y = expected[i];
    if (std::isnan(x) && std::isnan(y)) continue;
    ASSERT_NEAR(x, y, kSumEpsilon<T> * double(terms + 8) + kEpsilon<T> * std::abs(y)) << "element " << i;
  }
}

}  // namespace lamina
