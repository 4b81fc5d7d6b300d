// Scans in the emulator against the CPU's: integers and positions exactly, floats to rounding.
#include "kernel/scan.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "cuda/emulate/memory.h"

namespace lamina {
namespace {

using emulate::Buffer;

std::mt19937 engine(1);

// Numbers near 1, so that long products stay finite, with ties and, where `special`, NaN and infinities.
template <class T>
Buffer<T> draw(int64_t n, bool special) {
  Buffer<T> x{size_t(n)};
  for (T& v : x) {
    const unsigned r = engine();
    if constexpr (std::is_floating_point_v<T>) {
      v = T(1) + (T(r % 64) - 32) / 64;
      if (special && r % 97 == 0) v = r & 1024 ? NAN : r & 2048 ? INFINITY : -INFINITY;
      if (special && r % 89 == 0) v = 0;
    } else {
      v = T(r % 200);
    }
  }
  return x;
}

template <class T>
void expect_near(const Buffer<T>& y, const Buffer<T>& expected, const std::string& what) {
  const double tolerance = std::is_same_v<T, float> ? 1e-5 : std::is_same_v<T, double> ? 1e-12 : 0;
  for (size_t i = 0; i < y.size(); ++i) {
    const double a = double(y[i]), b = double(expected[i]);
    if (std::isnan(b) ? std::isnan(a) : a == b || std::abs(a - b) <= tolerance * std::max(1.0, std::abs(b))) continue;
    ADD_FAILURE() << what << ", element " << i << ": " << a << ", on the CPU " << b;
    return;
  }
}

struct Lines {
  int64_t outer, n, inner;
};
const Lines kShort[] = {{0, 5, 1}, {3, 0, 1}, {5, 1, 1}, {7, 33, 1}, {2, 1030, 1}, {3, 5, 1025}, {2, 130, 3}};
const Lines kLong[] = {{1, 9001, 1}, {2, 20000, 1}, {1, 4100, 2}};  // cut into pieces

template <class T>
void run(Scan kind, const Lines& l, bool reverse, bool special) {
  const int64_t total = l.outer * l.n * l.inner;
  const auto x = draw<T>(total, special);
  const Buffer<T> y{size_t(total)}, expected{size_t(total)};
  const Buffer<int64_t> at{size_t(total)}, expected_at{size_t(total)};
  ScanJob job{kind, dtype_of<T>, reverse, x.data(), y.data(), at.data(), l.outer, l.n, l.inner};
  cuda::scan(Stream{}, job);
  job.out = expected.data();
  job.positions = expected_at.data();
  kernel::scan(Stream{}, job);
  const std::string what = str("scan ", int(kind), " of ", dtype_of<T>, " (", l.outer, ", ", l.n, ", ", l.inner, ")");
  expect_near(y, expected, what);
  if (kind == Scan::Max || kind == Scan::Min) {
    EXPECT_EQ(at.values(), expected_at.values()) << what;
  }
}

template <class T>
void shapes(bool long_ones) {
  for (Scan kind : {Scan::Sum, Scan::Product, Scan::Max, Scan::Min, Scan::LogSumExp}) {
    if (kind == Scan::LogSumExp && !std::is_floating_point_v<T>) continue;
    for (const Lines& lines : kShort)
      for (bool reverse : {false, true}) run<T>(kind, lines, reverse, reverse);
    if (long_ones)
      for (const Lines& lines : kLong) run<T>(kind, lines, lines.inner == 2, false);
  }
}

TEST(Scan, Integers) {
  shapes<uint8_t>(false);
  shapes<int8_t>(false);
  shapes<int16_t>(false);
  shapes<int32_t>(false);
  shapes<int64_t>(true);
}
TEST(Scan, Floats) {
  shapes<float>(true);
  shapes<double>(false);
}

template <class T>
void recur(const Lines& l, bool reverse, int offset, bool special) {
  const int64_t total = l.outer * l.n * l.inner;
  const auto a = draw<T>(total, false), b = draw<T>(total, special);
  for (T& v : a) v *= T(0.9);
  if (special && total > 10) a[size_t(total / 2)] = 0;
  const Buffer<T> h{size_t(total)}, expected{size_t(total)};
  RecurrenceJob job{dtype_of<T>, reverse, offset, a.data(), b.data(), h.data(), l.outer, l.n, l.inner};
  cuda::linear_scan(Stream{}, job);
  job.h = expected.data();
  kernel::linear_scan(Stream{}, job);
  expect_near(h, expected, str("recurrence of ", dtype_of<T>, " (", l.outer, ", ", l.n, ", ", l.inner, ")"));
}

TEST(Scan, Recurrence) {
  for (bool reverse : {false, true})
    for (int offset : {0, 1}) {
      for (const Lines& lines : kShort) {
        recur<float>(lines, reverse, offset, false);
        recur<double>(lines, reverse, offset, false);
      }
      for (const Lines& lines : kLong) recur<float>(lines, reverse, offset, false);
    }
}

// A running product beyond the largest double, with a zero in it: zero from there on.
TEST(Scan, RecurrenceThroughZero) {
  const int64_t n = 9000;
  Buffer<double> a{size_t(n)}, b{size_t(n)}, h{size_t(n)}, expected{size_t(n)};
  for (int64_t k = 0; k < n; ++k) a[size_t(k)] = k == 100 ? 0 : 10, b[size_t(k)] = k == 0;
  RecurrenceJob job{DType::F64, false, 1, a.data(), b.data(), h.data(), 1, n, 1};
  cuda::linear_scan(Stream{}, job);
  job.h = expected.data();
  kernel::linear_scan(Stream{}, job);
  expect_near(h, expected, "through zero");
}

}  // namespace
}  // namespace lamina
