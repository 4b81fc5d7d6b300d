// Sorting, selecting and searching in the emulator, exactly as on the CPU: ties by position, NaN last.
#include "kernel/sort.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "cuda/emulate/memory.h"

namespace lamina {
namespace {

using emulate::Buffer;

std::mt19937 engine(1);

constexpr DType kTypes[] = {DType::Bool, DType::U8,  DType::I8,   DType::I16, DType::I32,
                            DType::I64,  DType::F16, DType::BF16, DType::F32, DType::F64};

// n numbers of about `kinds` different values as `dtype`, with -0, infinities and NaN.
Buffer<uint8_t> draw(DType dtype, int64_t n, unsigned kinds) {
  Buffer<uint8_t> bytes(size_t(n * item_size(dtype)));
  dispatch_all(dtype, [&]<class T>() {
    for (int64_t i = 0; i < n; ++i) {
      float v = float(int(engine() % kinds) - int(kinds / 2));
      if (is_floating(dtype)) {
        const unsigned odd = engine() % 40;
        v = odd == 0 ? NAN : odd == 1 ? -INFINITY : odd == 2 ? -0.0f : odd == 3 ? INFINITY : v / 4;
      }
      T value;
      if constexpr (std::is_unsigned_v<T>)
        value = T(int(v) & (std::is_same_v<T, bool> ? 1 : 255));
      else
        value = T(v);
      std::memcpy(bytes.data() + i * int64_t(sizeof(T)), &value, sizeof(T));
    }
  });
  return bytes;
}

struct Rows {
  DType dtype;
  int64_t rows, n;
  unsigned kinds;
};
void PrintTo(const Rows& r, std::ostream* out) { *out << r.rows << " rows of " << r.n << " " << r.dtype; }

std::vector<Rows> all_rows() {
  std::vector<Rows> out;
  for (DType dtype : kTypes) {
    for (int64_t n : {1, 2, 5, 33}) out.push_back({dtype, 7, n, 6});
    out.push_back({dtype, 1, 1024, 100});
  }
  for (DType dtype : {DType::F32, DType::I64}) {
    out.push_back({dtype, 0, 5, 6});
    out.push_back({dtype, 300, 6, 4});
    out.push_back({dtype, 2, 1025, 50});
    out.push_back({dtype, 1, 5000, 1000000});
  }
  return out;
}

// Runs f and g with separate outputs of the job and compares them.
template <class F, class G>
void compare(const Rows& r, SortJob job, F on_device, G on_cpu) {
  const auto n = size_t(job.rows * job.k);
  const Buffer<uint8_t> values(n * size_t(item_size(job.dtype))), expected(n * size_t(item_size(job.dtype)));
  const Buffer<int64_t> positions(n), expected_positions(n);
  job.values = values.data();
  job.positions = positions.data();
  on_device(job);
  job.values = expected.data();
  job.positions = expected_positions.data();
  on_cpu(job);
  ASSERT_EQ(positions.values(), expected_positions.values()) << testing::PrintToString(r);
  ASSERT_EQ(values.values(), expected.values()) << testing::PrintToString(r);
}

TEST(Sort, Rows) {
  for (const Rows& r : all_rows()) {
    const auto x = draw(r.dtype, r.rows * r.n, r.kinds);
    for (bool descending : {false, true})
      for (int64_t k : {r.n, (r.n + 1) / 2}) {
        const SortJob job{r.dtype, x.data(), nullptr, nullptr, r.rows, r.n, k, descending};
        compare(
            r, job, [](const SortJob& j) { cuda::sort(Stream{}, j); },
            [](const SortJob& j) { kernel::sort(Stream{}, j); });
      }
  }
}

TEST(Sort, KthAndMode) {
  for (const Rows& r : all_rows()) {
    const auto x = draw(r.dtype, r.rows * r.n, r.kinds);
    const SortJob job{r.dtype, x.data(), nullptr, nullptr, r.rows, r.n, 1, false};
    for (bool nan_first : {false, true})
      compare(
          r, job, [&](const SortJob& j) { cuda::select_kth(Stream{}, j, (r.n - 1) / 2, nan_first); },
          [&](const SortJob& j) { kernel::select_kth(Stream{}, j, (r.n - 1) / 2, nan_first); });
    compare(
        r, job, [](const SortJob& j) { cuda::find_modes(Stream{}, j); },
        [](const SortJob& j) { kernel::find_modes(Stream{}, j); });
  }
}

TEST(Sort, SearchSorted) {
  for (DType dtype : kTypes)
    for (bool shared : {false, true})
      for (bool right : {false, true})
        for (bool unsorted : {false, true}) {
          const int64_t rows = 3, n = 37, m = 101, sequences = shared ? 1 : rows;
          const auto x = draw(dtype, sequences * n, 20), values = draw(dtype, rows * m, 24);
          const Buffer<uint8_t> sorted(x.size());
          const Buffer<int64_t> order{size_t(sequences * n)}, y{size_t(rows * m)}, expected{size_t(rows * m)};
          kernel::sort(Stream{}, {dtype, x.data(), sorted.data(), order.data(), sequences, n, n});
          SearchJob job{dtype,
                        unsorted ? x.data() : sorted.data(),
                        values.data(),
                        y.data(),
                        unsorted ? order.data() : nullptr,
                        rows,
                        n,
                        m,
                        shared,
                        right};
          cuda::search_sorted(Stream{}, job);
          job.positions = expected.data();
          kernel::search_sorted(Stream{}, job);
          ASSERT_EQ(y.values(), expected.values()) << dtype;
        }
}

TEST(Sort, RunsAndNonzero) {
  for (DType dtype : kTypes)
    for (int64_t n : {0, 1, 100, 5000}) {
      const auto x = draw(dtype, n, 3);
      const Buffer<int64_t> y{size_t(n)}, expected{size_t(n)};
      const int64_t count = cuda::find_runs(Stream{}, dtype, x.data(), n, y.data());
      ASSERT_EQ(count, kernel::find_runs(Stream{}, dtype, x.data(), n, expected.data()));
      ASSERT_TRUE(std::equal(y.begin(), y.begin() + count, expected.begin())) << n << " of " << dtype;
    }
  for (int64_t n : {0, 1, 2048, 6001}) {
    const auto mask = draw(DType::Bool, n, 2);
    const auto* set = reinterpret_cast<const bool*>(mask.data());
    const auto count = size_t(std::count(set, set + n, true));
    const Buffer<int64_t> y(count), expected(count);
    cuda::find_nonzero(Stream{}, set, n, y.data());
    kernel::find_nonzero(Stream{}, set, n, expected.data());
    ASSERT_EQ(y.values(), expected.values()) << n;
  }
}

TEST(Sort, Counts) {
  for (int64_t n : {0, 1, 1000}) {
    Buffer<int64_t> x{size_t(n)};
    Buffer<double> weights{size_t(n)};
    for (int64_t& v : x) v = int64_t(engine() % 10);
    for (double& w : weights) w = double(engine()) / 3;
    const Buffer<int64_t> counts(std::vector<int64_t>(12)), expected(std::vector<int64_t>(12));
    cuda::count_bins(Stream{}, x.data(), n, nullptr, nullptr, counts.data());
    kernel::count_bins(Stream{}, x.data(), n, nullptr, nullptr, expected.data());
    EXPECT_EQ(counts.values(), expected.values());
    const Buffer<double> sums(std::vector<double>(12)), expected_sums(std::vector<double>(12));
    cuda::count_bins(Stream{}, x.data(), n, weights.data(), sums.data(), nullptr);
    kernel::count_bins(Stream{}, x.data(), n, weights.data(), expected_sums.data(), nullptr);
    EXPECT_EQ(sums.values(), expected_sums.values());
    for (int64_t* start : {counts.data(), expected.data()}) std::fill_n(start, 12, 0);
    cuda::histogram(Stream{}, weights.data(), n, 1e8, 1.2e9, 12, counts.data());
    kernel::histogram(Stream{}, weights.data(), n, 1e8, 1.2e9, 12, expected.data());
    EXPECT_EQ(counts.values(), expected.values());
  }
}

}  // namespace
}  // namespace lamina
