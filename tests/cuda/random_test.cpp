// Random numbers and dropout in the emulator: the numbers of the CPU, bit for bit where no function is approximated.
#include "kernel/random.h"

#include <gtest/gtest.h>

#include <cmath>

#include "cuda/emulate/memory.h"
#include "kernel/embedding.h"

namespace lamina {
namespace {

using emulate::Buffer;

constexpr int64_t kSizes[] = {0, 1, 15, 63, 64, 65, 5000};
const Philox kPhilox{0x123456789abcdef, 77};

template <class T, class Fill>
void check_fill(Fill fill, double bound = 0) {
  for (int64_t n : kSizes) {
    const Buffer<T> y(static_cast<size_t>(n)), expected(static_cast<size_t>(n));
    fill(true, y.data(), n);
    fill(false, expected.data(), n);
    for (size_t i = 0; i < y.size(); ++i)
      ASSERT_LE(std::abs(double(y[i]) - double(expected[i])), bound * std::max(1., std::abs(double(expected[i]))))
          << "n = " << n << ", number " << i;
  }
}

template <class T>
void check_floats(DType dtype, double bound) {
  for (auto [low, high] : {std::pair{0., 1.}, {-3.3, 7.1}, {2., 2.}})
    check_fill<T>([&, low = low, high = high](bool device, T* out, int64_t n) {
      (device ? cuda::random_uniform(Stream{}, kPhilox, dtype, out, n, low, high)
              : kernel::random_uniform(Stream{}, kPhilox, dtype, out, n, low, high));
    });
  check_fill<T>(
      [&](bool device, T* out, int64_t n) {
        (device ? cuda::random_normal(Stream{}, kPhilox, dtype, out, n, 1.5, 2)
                : kernel::random_normal(Stream{}, kPhilox, dtype, out, n, 1.5, 2));
      },
      bound);
}

TEST(Random, Float) { check_floats<float>(DType::F32, 2e-6); }
TEST(Random, Double) { check_floats<double>(DType::F64, 1e-14); }

TEST(Random, Bernoulli) {
  for (double p : {0., 1e-9, 0.25, 0.9, 1.})
    check_fill<uint8_t>([p](bool device, uint8_t* out, int64_t n) {
      (device ? cuda::random_bernoulli(Stream{}, kPhilox, out, n, p)
              : kernel::random_bernoulli(Stream{}, kPhilox, out, n, p));
    });
}

TEST(Random, Integers) {
  for (auto [low, high] : {std::pair<int64_t, int64_t>{0, 10}, {-5, 1000003}, {INT64_MIN, INT64_MAX}})
    check_fill<int64_t>([low = low, high = high](bool device, int64_t* out, int64_t n) {
      (device ? cuda::random_integers(Stream{}, kPhilox, out, n, low, high)
              : kernel::random_integers(Stream{}, kPhilox, out, n, low, high));
    });
}

template <class T>
void check_dropout() {
  for (uint32_t threshold : {0u, 0x40000000u, 0xffffffffu})
    check_fill<T>([threshold](bool device, T* out, int64_t n) {
      const Buffer<T> x(static_cast<size_t>(n));
      for (size_t i = 0; i < x.size(); ++i) x[i] = T(i) - T(20.3);
      (device ? cuda::dropout_apply(Stream{}, sizeof(T), x.data(), out, n, threshold, 1 / 0.75, kPhilox)
              : kernel::dropout_apply(Stream{}, sizeof(T), x.data(), out, n, threshold, 1 / 0.75, kPhilox));
    });
}
TEST(Random, Dropout) {
  check_dropout<float>();
  check_dropout<double>();
}

}  // namespace
}  // namespace lamina
