// The copies in the emulator, bit for bit against the CPU kernels. Also the example of a family's test.
#include "kernel/copy.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "cpu/copy_loops.h"
#include "cuda/emulate/memory.h"

namespace lamina {
namespace {

using emulate::Buffer;
using Sizes = std::vector<int64_t>;

constexpr DType kAll[] = {DType::Bool, DType::U8,  DType::I8,   DType::I16, DType::I32,
                          DType::I64,  DType::F16, DType::BF16, DType::F32, DType::F64};

// Small whole numbers, which every type holds.
Buffer<uint8_t> some(DType dtype, int64_t n) {
  std::vector<double> values(static_cast<size_t>(n));
  for (double& v : values) v = dtype == DType::Bool ? std::rand() % 2 : std::rand() % 100;
  Buffer<uint8_t> bytes(size_t(n * item_size(dtype)));
  cpu::convert(DType::F64, dtype, n, values.data(), bytes.data());
  return bytes;
}

Buffer<uint8_t> same(const Buffer<uint8_t>& bytes) { return Buffer<uint8_t>(bytes.values()); }

void convert(DType from, DType to, int64_t n, const void* x, void* y) {
  const int64_t one = 1;
  cuda::copy_strided(Stream{}, 1, &n, y, &one, to, x, &one, from);
}

TEST(Copy, Convert) {
  for (DType from : kAll)
    for (DType to : kAll)
      for (int64_t n : {0, 1, 4097}) {
        const auto x = some(from, n), y = some(to, n), expected = some(to, n);
        convert(from, to, n, x.data(), y.data());
        cpu::convert(from, to, n, x.data(), expected.data());
        ASSERT_EQ(y.values(), expected.values()) << from << " -> " << to << ", n = " << n;
      }
}

TEST(Copy, ConversionsThatCutOrRound) {
  const std::vector<double> values = {-1, -300.7, 1000.9, 0.1, 1e-7, 65504, 65520, 3e38, -0.0, INFINITY, NAN, 0.5};
  const int64_t n = int64_t(values.size());
  const Buffer<double> x(values);
  for (DType to : {DType::Bool, DType::F16, DType::BF16, DType::F32}) {
    const auto y = some(to, n), expected = some(to, n);
    convert(DType::F64, to, n, x.data(), y.data());
    cpu::convert(DType::F64, to, n, x.data(), expected.data());
    ASSERT_EQ(y.values(), expected.values()) << to;
  }
  for (DType to : {DType::U8, DType::I8, DType::I16, DType::I32, DType::I64}) {
    const auto y = some(to, 4), expected = some(to, 4);
    convert(DType::F64, to, 4, x.data(), y.data());
    cpu::convert(DType::F64, to, 4, x.data(), expected.data());
    ASSERT_EQ(y.values(), expected.values()) << to;
  }
}

TEST(Copy, Strided) {
  struct Layout {
    Sizes sizes, dst, src;
  };
  const Layout layouts[] = {
      {{0}, {1}, {1}},
      {{}, {}, {}},
      {{5000}, {1}, {1}},
      {{300}, {2}, {3}},
      {{300}, {1}, {0}},
      {{70, 33}, {33, 1}, {1, 70}},   // a transpose
      {{64, 96}, {100, 1}, {1, 64}},  // into rows with gaps
      {{3, 40, 35}, {1400, 35, 1}, {1400, 1, 40}},
      {{40, 3, 35}, {105, 35, 1}, {1, 1400, 40}},  // the dimensions between
      {{9, 4, 8, 5}, {160, 40, 5, 1}, {1, 9, 36, 288}},
      {{50, 3}, {3, 1}, {1, 50}},
      {{20, 1, 30}, {30, 0, 1}, {0, 7, 2}},
      {{40, 40}, {1, 40}, {40, 1}},
  };
  for (const Layout& layout : layouts)
    for (DType from : kAll)
      for (DType to : {from, DType::F32, DType::BF16, DType::U8}) {
        const auto x = some(from, 6500), y = some(to, 6500), expected = same(y);
        const int n = int(layout.sizes.size());
        cuda::copy_strided(Stream{}, n, layout.sizes.data(), y.data(), layout.dst.data(), to, x.data(),
                           layout.src.data(), from);
        kernel::copy_strided(Stream{}, n, layout.sizes.data(), expected.data(), layout.dst.data(), to, x.data(),
                             layout.src.data(), from);
        ASSERT_EQ(y.values(), expected.values()) << from << " -> " << to << ", layout " << &layout - layouts;
      }
}

// From an odd address, and backwards.
TEST(Copy, Unaligned) {
  for (DType dtype : kAll) {
    const int64_t n = 515, size = item_size(dtype), one = 1, back = -1;
    const auto x = some(dtype, n + 1), y = some(dtype, n + 1), expected = same(y);
    for (int64_t stride : {one, back}) {
      const uint8_t* first = x.data() + (stride == 1 ? 1 : n) * size;
      cuda::copy_strided(Stream{}, 1, &n, y.data(), &one, dtype, first, &stride, dtype);
      kernel::copy_strided(Stream{}, 1, &n, expected.data(), &one, dtype, first, &stride, dtype);
      ASSERT_EQ(y.values(), expected.values()) << dtype << " by " << stride;
    }
  }
}

TEST(Copy, Fill) {
  const Sizes sizes = {30, 41}, dense = {41, 1}, gaps = {100, 2};
  for (DType dtype : kAll)
    for (const Sizes& strides : {dense, gaps}) {
      const auto value = some(dtype, 1), y = some(dtype, 3000), expected = same(y);
      const std::vector<uint8_t> on_host = value.values();
      cuda::fill_strided(Stream{}, 2, sizes.data(), y.data(), strides.data(), dtype, on_host.data());
      kernel::fill_strided(Stream{}, 2, sizes.data(), expected.data(), strides.data(), dtype, on_host.data());
      ASSERT_EQ(y.values(), expected.values()) << dtype;
    }
}

// Whole numbers, so that sums are the same in any order.
TEST(Copy, AddStrided) {
  struct Layout {
    Sizes sizes, dst, src;
  };
  const Layout layouts[] = {
      {{600}, {1}, {1}},
      {{20, 30}, {0, 1}, {30, 1}},  // rows added up
      {{20, 30}, {0, 0}, {30, 1}},  // everything
      {{20, 30}, {1, 0}, {1, 20}},
      {{14, 5}, {2, 1}, {5, 1}},  // windows of 5 every 2
      {{3, 14, 5, 2}, {40, 2, 1, 0}, {140, 10, 2, 1}},
      {{4, 4}, {1, 1}, {4, 1}},  // anti-diagonals
      {{}, {}, {}},
      {{0, 3}, {3, 1}, {3, 1}},
  };
  for (const Layout& layout : layouts)
    for (DType dtype : {DType::F32, DType::F64}) {
      const auto x = some(dtype, 1000), y = some(dtype, 1000), expected = same(y);
      const int n = int(layout.sizes.size());
      cuda::add_strided(Stream{}, dtype, n, layout.sizes.data(), y.data(), layout.dst.data(), x.data(),
                        layout.src.data());
      kernel::add_strided(Stream{}, dtype, n, layout.sizes.data(), expected.data(), layout.dst.data(), x.data(),
                          layout.src.data());
      ASSERT_EQ(y.values(), expected.values()) << dtype << ", layout " << &layout - layouts;
    }
}

TEST(Copy, Bands) {
  for (DType dtype : {DType::U8, DType::F16, DType::F32, DType::F64})
    for (int64_t n : {1, 7, 40})
      for (int64_t rows : {1, 5, 33})
        for (int64_t diagonal : {-34, -2, 0, 1, 41})
          for (bool upper : {false, true}) {
            const int64_t count = 3 * rows;
            const auto x = some(dtype, count * n), y = some(dtype, count * n), expected = same(y);
            cuda::copy_bands(Stream{}, item_size(dtype), count, rows, n, x.data(), y.data(), upper, diagonal);
            kernel::copy_bands(Stream{}, item_size(dtype), count, rows, n, x.data(), expected.data(), upper, diagonal);
            ASSERT_EQ(y.values(), expected.values()) << rows << " x " << n << ", " << upper << ", " << diagonal;
          }
}

}  // namespace
}  // namespace lamina
