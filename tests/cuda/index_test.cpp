// Taking, putting, gathering and scattering in the emulator, bit for bit against the CPU's.
#include "kernel/index.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "cuda/emulate/memory.h"
#include "kernel/embedding.h"

namespace lamina {
namespace {

using emulate::Buffer;

std::mt19937 engine(1);

constexpr DType kTypes[] = {DType::Bool, DType::U8,  DType::I8,   DType::I16, DType::I32,
                            DType::I64,  DType::F16, DType::BF16, DType::F32, DType::F64};
constexpr PutMode kModes[] = {PutMode::Assign, PutMode::Add, PutMode::Mul, PutMode::Min, PutMode::Max};

// n numbers from -2 to 2 as `dtype`, a few of them NaN.
Buffer<uint8_t> draw(DType dtype, int64_t n) {
  Buffer<uint8_t> bytes(size_t(n * item_size(dtype)));
  dispatch_all(dtype, [&]<class T>() {
    for (int64_t i = 0; i < n; ++i) {
      float v = float(engine() % 17) / 4 - 2;
      if (is_floating(dtype) && engine() % 50 == 0) v = NAN;
      T value;
      if constexpr (std::is_unsigned_v<T>)
        value = T(v > 0);
      else
        value = T(v);
      std::memcpy(bytes.data() + i * int64_t(sizeof(T)), &value, sizeof(T));
    }
  });
  return bytes;
}
Buffer<int64_t> draw_index(int64_t n, int64_t below) {
  Buffer<int64_t> index{size_t(n)};
  for (int64_t& at : index) at = int64_t(engine() % uint64_t(below));
  return index;
}
Buffer<uint8_t> copy_of(const Buffer<uint8_t>& x) { return Buffer<uint8_t>(x.values()); }

Loops nest(std::initializer_list<std::pair<int64_t, int64_t>> loops) {
  Loops out;
  for (auto [size, stride] : loops) out.add(size, stride);
  return out;
}

struct Slices {
  int64_t elements, extent, scale;  // of x; the offsets are below extent
  Loops outer, inner;
};
// x as (7), (7, 5) by rows, (7, 64), (3, 7, 6), (3, 7, 4) with gaps, and (7, 2, 3) with the last two exchanged.
const Slices kSlices[] = {
    {7, 7, 1, nest({}), nest({})},
    {35, 7, 5, nest({}), nest({{5, 1}})},
    {448, 7, 64, nest({}), nest({{64, 1}})},
    {126, 7, 6, nest({{3, 42}}), nest({{6, 1}})},
    {3 * 60, 7, 8, nest({{3, 60}}), nest({{4, 2}})},
    {42, 7, 6, nest({}), nest({{3, 1}, {2, 3}})},
};

TEST(Index, Take) {
  for (DType dtype : kTypes)
    for (const Slices& s : kSlices)
      for (int64_t count : {0, 1, 9, 300}) {
        const auto x = draw(dtype, s.elements);
        const auto offsets = draw_index(count, s.extent);
        const auto n = size_t(s.outer.total * count * s.inner.total * item_size(dtype));
        const Buffer<uint8_t> y(n), expected(n);
        SliceJob job{dtype, x.data(), y.data(), offsets.data(), count, s.scale, false, s.outer, s.inner};
        cuda::take(Stream{}, job);
        job.values = expected.data();
        kernel::take(Stream{}, job);
        ASSERT_EQ(y.values(), expected.values()) << dtype << ", " << count << " slices of " << s.inner.total;
      }
}

// The shapes in turn, not all with everything.
const Slices& next_slices() {
  static size_t turn = 0;
  return kSlices[turn++ % std::size(kSlices)];
}

TEST(Index, Put) {
  for (DType dtype : kTypes)
    for (PutMode mode : kModes)
      for (bool one_value : {false, true}) {
        const Slices& s = next_slices();
        const int64_t count = int64_t(engine() % 3 == 0 ? engine() % 2 : engine() % 60);
        const auto start = draw(dtype, s.elements);
        const auto x = copy_of(start), expected = copy_of(start);
        const auto values = draw(dtype, one_value ? 1 : s.outer.total * count * s.inner.total);
        const auto offsets = draw_index(count, s.extent);
        SliceJob job{dtype, x.data(), values.data(), offsets.data(), count, s.scale, one_value, s.outer, s.inner};
        cuda::put(Stream{}, job, mode);
        job.x = expected.data();
        kernel::put(Stream{}, job, mode);
        ASSERT_EQ(x.values(), expected.values())
            << dtype << ", " << count << " slices of " << s.inner.total << ", mode " << int(mode);
      }
}

// More offsets than one tile of the sort holds: float sums depend on the order.
TEST(Index, PutManyInOrder) {
  const int64_t count = 3001;
  const auto values = draw(DType::F32, count);
  for (size_t i = 0; i < size_t(count); ++i) reinterpret_cast<float*>(values.data())[i] = float(engine()) / 1e9f;
  const auto offsets = draw_index(count, 40);
  const auto start = draw(DType::F32, 40), x = copy_of(start), expected = copy_of(start);
  SliceJob job{DType::F32, x.data(), values.data(), offsets.data(), count, 1, false, {}, {}};
  cuda::put(Stream{}, job, PutMode::Add);
  job.x = expected.data();
  kernel::put(Stream{}, job, PutMode::Add);
  EXPECT_EQ(x.values(), expected.values());
}

TEST(Index, GatherAndScatter) {
  for (DType dtype : kTypes)
    for (int64_t count : {0, 1, 5, 40}) {  // 40: sorted
      const Slices& s = next_slices();
      const int64_t n = s.outer.total * count * s.inner.total;
      const auto x = draw(dtype, s.elements), values = draw(dtype, n);
      const auto index = draw_index(n, s.extent);
      const Buffer<uint8_t> y(size_t(n * item_size(dtype))), expected(size_t(n * item_size(dtype)));
      LineJob job{dtype, x.data(), y.data(), index.data(), count, s.scale, false, s.outer, s.inner};
      cuda::gather(Stream{}, job);
      job.values = expected.data();
      kernel::gather(Stream{}, job);
      ASSERT_EQ(y.values(), expected.values()) << dtype << ", lines of " << count;
      for (PutMode mode : kModes)
        for (bool one_value : {false, true}) {
          if (one_value && n == 0) continue;
          const auto into = copy_of(x), also = copy_of(x);
          job.values = values.data();
          job.one_value = one_value;
          job.x = into.data();
          cuda::scatter(Stream{}, job, mode);
          job.x = also.data();
          kernel::scatter(Stream{}, job, mode);
          ASSERT_EQ(into.values(), also.values()) << dtype << ", lines of " << count << ", mode " << int(mode);
        }
    }
}

TEST(Index, Positions) {
  const Loops loops = nest({{3, 100}, {4, 7}, {5, 1}});
  UnravelJob job{nullptr, 0, 3, {3, 4, 5}, nullptr, 3, 1};
  for (int64_t n : {0, 1, 300}) {
    const auto positions = draw_index(n, 60);
    const Buffer<int64_t> y{size_t(n)}, expected{size_t(n)}, at{size_t(3 * n)}, expected_at{size_t(3 * n)};
    cuda::find_offsets(Stream{}, loops, positions.data(), n, y.data());
    kernel::find_offsets(Stream{}, loops, positions.data(), n, expected.data());
    EXPECT_EQ(y.values(), expected.values());
    job.positions = positions.data();
    job.n = n;
    job.out = at.data();
    cuda::unravel(Stream{}, job);
    job.out = expected_at.data();
    kernel::unravel(Stream{}, job);
    EXPECT_EQ(at.values(), expected_at.values());
  }
}

TEST(Embedding, Rows) {
  for (int64_t count : {0, 1, 20})
    for (int64_t row_bytes : {0, 2, 6, 32, 40}) {
      const auto table = draw(DType::I8, 9 * row_bytes);
      const auto index = draw_index(count, 9);
      const Buffer<uint8_t> y(size_t(count * row_bytes)), expected(size_t(count * row_bytes));
      cuda::embedding_rows(Stream{}, table.data(), index.data(), y.data(), count, row_bytes);
      kernel::embedding_rows(Stream{}, table.data(), index.data(), expected.data(), count, row_bytes);
      EXPECT_EQ(y.values(), expected.values());
    }
}

TEST(Embedding, Gradient) {
  for (DType dtype : {DType::F32, DType::F64})
    for (int64_t count : {0, 1, 70, 1500})
      for (int64_t n : {1, 33})
        for (int64_t padding : {-1, 3}) {
          const int64_t item = item_size(dtype);
          const auto g = draw(dtype, count * n);
          const auto index = draw_index(count, 11);
          const Buffer<uint8_t> y(size_t(12 * n * item)), expected(size_t(12 * n * item));
          cuda::embedding_gradient(Stream{}, item, g.data(), index.data(), y.data(), count, 12, n, padding);
          kernel::embedding_gradient(Stream{}, item, g.data(), index.data(), expected.data(), count, 12, n, padding);
          EXPECT_EQ(y.values(), expected.values()) << count << " rows of " << n;
        }
}

}  // namespace
}  // namespace lamina
