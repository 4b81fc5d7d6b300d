// The copies in the emulator, bit for bit against the CPU kernels. Also the example of a family's test.
#include "cpu/copy.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "cuda/emulate/memory.h"

namespace lamina {
namespace {

using emulate::Buffer;

Buffer<uint8_t> random_bytes(size_t n) {
  Buffer<uint8_t> buffer(n);
  for (uint8_t& b : buffer) b = uint8_t(std::rand());
  return buffer;
}

TEST(Copy, Elements) {
  for (int64_t itemsize : {1, 2, 4, 8})
    for (int64_t n : {0, 1, 255, 256, 257, 7001})
      for (int64_t from : {0, 1, 3})
        for (int64_t to : {1, 2}) {
          const auto x = random_bytes(size_t(n ? (n - 1) * from + 1 : 1) * itemsize);
          const size_t bytes = size_t(n ? ((n - 1) * to + 1) * itemsize : 0);
          const Buffer<uint8_t> y(bytes), expected(bytes);
          cuda::copy_elements(Stream{}, itemsize, n, x.data(), from, y.data(), to);
          kernel::copy_elements(Stream{}, itemsize, n, x.data(), from, expected.data(), to);
          ASSERT_EQ(y.values(), expected.values()) << itemsize << " bytes, n = " << n << ", " << from << " -> " << to;
        }
}

TEST(Copy, TransposedTile) {
  for (int64_t itemsize : {1, 2, 4, 8})
    for (int64_t rows : {1, 31, 32, 70})
      for (int64_t columns : {0, 1, 33, 64}) {
        const int64_t src_stride = rows + 3, dst_stride = columns + 5;
        const auto x = random_bytes(size_t(columns * src_stride * itemsize));
        const size_t bytes = size_t(rows * dst_stride * itemsize);
        const Buffer<uint8_t> y(bytes), expected(bytes);
        cuda::transpose_tile(Stream{}, itemsize, rows, columns, x.data(), src_stride, y.data(), dst_stride);
        kernel::transpose_tile(Stream{}, itemsize, rows, columns, x.data(), src_stride, expected.data(), dst_stride);
        ASSERT_EQ(y.values(), expected.values()) << itemsize << " bytes, " << rows << " x " << columns;
      }
}

}  // namespace
}  // namespace lamina
