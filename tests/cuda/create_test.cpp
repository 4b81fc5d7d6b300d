// Ranges and triangles in the emulator, bit for bit against the CPU's.
#include "kernel/create.h"

#include <gtest/gtest.h>

#include <numbers>

#include "cuda/emulate/memory.h"

namespace lamina {
namespace {

using emulate::Buffer;

TEST(Create, Range) {
  const double pi = std::numbers::pi;
  const auto linear = [](double start, double end, int64_t n) {
    return Range{.start = start, .step = (end - start) / double(n > 1 ? n - 1 : 1), .end = end, .turn = n / 2};
  };
  for (DType dtype : {DType::Bool, DType::U8, DType::I8, DType::I16, DType::I32, DType::I64, DType::F16, DType::BF16,
                      DType::F32, DType::F64})
    for (int64_t n : {0, 1, 2, 255, 700})
      for (const Range& range :
           {Range{.integers = true, .first = -3, .stride = 2}, Range{.integers = true, .first = 1, .stride = -1},
            Range{.integers = true, .first = INT64_MAX - 5, .stride = INT64_MAX / 3},
            Range{.start = -pi, .step = 0.1, .turn = n}, linear(-20, pi, n), linear(1, 0, n)}) {
        const auto bytes = size_t(n * item_size(dtype));
        const Buffer<uint8_t> out(bytes), expected(bytes);
        cuda::fill_range(Stream{}, range, dtype, out.data(), n);
        kernel::fill_range(Stream{}, range, dtype, expected.data(), n);
        ASSERT_EQ(out.values(), expected.values()) << dtype << ", n = " << n << ", from " << range.start;
      }
}

TEST(Create, Triangle) {
  for (bool upper : {false, true})
    for (const auto& [rows, columns] : {std::pair{1, 1}, {1, 9}, {9, 1}, {5, 5}, {7, 40}, {40, 7}, {0, 3}, {3, 0}})
      for (int64_t offset = -rows; offset <= columns; ++offset) {
        const Triangle triangle{rows, columns, offset, upper};
        int64_t n = 0;
        for (int r = 0; r < rows; ++r)
          for (int c = 0; c < columns; ++c) n += upper ? c - r >= offset : c - r <= offset;
        ASSERT_EQ(triangle.before<int64_t>(rows), n) << rows << " x " << columns << ", " << offset;
        const Buffer<int64_t> out(size_t(2 * n)), expected(size_t(2 * n));
        cuda::fill_triangle(Stream{}, triangle, out.data(), n);
        kernel::fill_triangle(Stream{}, triangle, expected.data(), n);
        ASSERT_EQ(out.values(), expected.values()) << rows << " x " << columns << ", " << offset;
      }
}

// A corner of a matrix too large to have its elements counted in 64 bits.
TEST(Create, CornerOfAHugeTriangle) {
  constexpr int64_t kSize = int64_t(1) << 62;
  for (bool upper : {false, true}) {
    const Triangle triangle{kSize, kSize, upper ? kSize - 3 : 3 - kSize, upper};
    ASSERT_TRUE(triangle.before<__int128>(kSize) == 6);
    const Buffer<int64_t> out{12}, expected{12};
    cuda::fill_triangle(Stream{}, triangle, out.data(), 6);
    kernel::fill_triangle(Stream{}, triangle, expected.data(), 6);
    EXPECT_EQ(out.values(), expected.values());
  }
}

}  // namespace
}  // namespace lamina
