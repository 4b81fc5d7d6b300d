// Checks of indices and values in the emulator: what the CPU finds at once is in the report afterwards.
#include "kernel/check.h"

#include <gtest/gtest.h>

#include <random>

#include "core/errors.h"
#include "cuda/emulate/memory.h"
#include "cuda/launch.h"

namespace lamina {
namespace {

using emulate::Buffer;

std::mt19937 engine(3);

DeviceReport& report() { return *cuda::device_report({}); }

// What waiting for the device throws; "" if nothing.
template <class E>
std::string thrown() {
  try {
    throw_reported(report(), 2);
  } catch (const E& e) {
    return e.what();
  }
  return "";
}

TEST(Check, Index) {
  const Complaint complaint{Complaint::Index, "take", "index #@ is out of range; need % <= index < %", {-10, 10}};
  for (int64_t n : {0, 1, 255, 5000})
    for (int64_t low : {0, -10}) {
      Buffer<int64_t> index{size_t(n)}, out{size_t(n)}, expected{size_t(n)};
      for (int64_t& i : index) i = low + int64_t(engine() % uint64_t(10 - low));
      const auto check = [&](int64_t* to) { return IndexCheck{index.data(), to, n, low, 10, complaint}; };
      EXPECT_EQ(cuda::check_index(Stream{}, check(out.data())), -1);
      EXPECT_EQ(kernel::check_index(Stream{}, check(expected.data())), -1);
      EXPECT_EQ(out.values(), expected.values());
      EXPECT_EQ(report().state, DeviceReport::Empty);
      if (n == 0) continue;
      index[size_t(n) - 1] = 10;
      EXPECT_EQ(kernel::check_index(Stream{}, check(nullptr)), n - 1);
      EXPECT_EQ(cuda::check_index(Stream{}, check(index.data())), -1);  // in place
      EXPECT_EQ(index[size_t(n) - 1], 0);
      EXPECT_EQ(thrown<IndexError>(),
                "take: index 10 is out of range; need -10 <= index < 10 (found on cuda:2 while running)");
      EXPECT_EQ(thrown<IndexError>(), "");
    }
}

// The extremes of int64 do not wrap around into the range.
TEST(Check, IndexExtremes) {
  for (int64_t bad : {INT64_MIN, INT64_MAX, INT64_MIN + 5, int64_t(-11)}) {
    Buffer<int64_t> index{1}, out{1};
    index[0] = bad;
    const IndexCheck check{index.data(), out.data(), 1, -10, 10, {Complaint::Index, "op", "#", {}}};
    EXPECT_EQ(kernel::check_index(Stream{}, check), 0);
    cuda::check_index(Stream{}, check);
    EXPECT_EQ(out[0], 0);
    EXPECT_EQ(thrown<IndexError>(), str("op: ", bad, " (found on cuda:2 while running)"));
  }
}

template <class T>
void check_type(DType dtype, T good, T bad, double low, double high, const char* shown) {
  for (int64_t n : {0, 1, 300}) {
    Buffer<T> x{size_t(n)};
    std::fill(x.begin(), x.end(), good);
    const ValueCheck check{dtype, x.data(), n, low, high, false, {Complaint::Value, "op", "#@ is bad", {}}};
    EXPECT_EQ(kernel::check_values(Stream{}, check), -1);
    EXPECT_EQ(cuda::check_values(Stream{}, check), -1);
    EXPECT_EQ(thrown<ValueError>(), "");
    if (n == 0) continue;
    x[size_t(n) / 2] = bad;
    EXPECT_EQ(kernel::check_values(Stream{}, check), n / 2);
    EXPECT_EQ(cuda::check_values(Stream{}, check), -1);
    EXPECT_EQ(thrown<ValueError>(), str("op: ", shown, " is bad (found on cuda:2 while running)"));
  }
}

TEST(Check, Values) {
  check_type<bool>(DType::Bool, true, false, 1, 1, "0");
  check_type<int64_t>(DType::I64, 3, -1234567890123, 0, 0x1p63, "-1234567890123");
  check_type<float>(DType::F32, 0.5f, 1.5f, 0, 1, "1.5");
  check_type<double>(DType::F64, 0.5, NAN, 0, 1, "nan");
  Buffer<double> x{1};
  x[0] = NAN;
  const ValueCheck lenient{DType::F64, x.data(), 1, 0, 1, true, {Complaint::Runtime, "op", "#", {}}};
  EXPECT_EQ(kernel::check_values(Stream{}, lenient), -1);
  cuda::check_values(Stream{}, lenient);
  EXPECT_EQ(thrown<RuntimeError>(), "");
}

// Of many bad values, and of several kernels, one is reported.
TEST(Check, FirstReportStays) {
  const Buffer<int64_t> index{std::vector<int64_t>(1000, 77)}, out{1000};
  cuda::check_index(Stream{}, {index.data(), out.data(), 1000, 0, 5, {Complaint::Index, "first", "#", {}}});
  cuda::check_index(Stream{}, {index.data(), out.data(), 1000, 0, 5, {Complaint::Index, "second", "#", {}}});
  EXPECT_EQ(thrown<IndexError>(), "first: 77 (found on cuda:2 while running)");
  EXPECT_EQ(thrown<IndexError>(), "");
}

}  // namespace
}  // namespace lamina
