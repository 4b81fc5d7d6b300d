// What the tests of floating-point kernels share: random buffers, and comparison with the CPU's result.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "cuda/emulate/memory.h"

namespace lamina {

using emulate::Buffer;

template <class T>
Buffer<T> random_buffer(int64_t n, double low = -2, double high = 2) {
  static std::mt19937 engine(7);
  std::uniform_real_distribution<double> draw(low, high);
  Buffer<T> buffer{size_t(n)};
  for (T& x : buffer) x = T(draw(engine));
  return buffer;
}

inline Buffer<int64_t> random_targets(int64_t n, int64_t classes, int64_t ignore) {
  Buffer<int64_t> buffer{size_t(n)};
  for (int64_t i = 0; i < n; ++i) buffer[size_t(i)] = i % 5 == 3 ? ignore : (i * 7919 + 13) % classes;
  return buffer;
}

// Largest distance, in units of `scale` (the size of typical results) times the precision of T.
template <class T>
void expect_close(const Buffer<T>& y, const Buffer<T>& expected, double scale = 1, double units = 64) {
  ASSERT_EQ(y.size(), expected.size());
  const double tolerance = units * scale * double(std::is_same_v<T, double> ? 2.3e-16 : 1.2e-7);
  for (size_t i = 0; i < y.size(); ++i) {
    const double a = double(y[i]), b = double(expected[i]);
    if (std::isnan(b) && std::isnan(a)) continue;
    ASSERT_TRUE(a == b || std::abs(a - b) <= tolerance * (1 + std::abs(b) / scale))
        << "element " << i << ": " << a << ", the CPU has " << b;
  }
}

}  // namespace lamina
