// gemm against plain loops in double: sizes around every block border, strides, epilogues, batches, thread counts.
#include "kernel/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "core/pool.h"
#include "cpu/gemm_loops.h"

namespace lamina {
namespace {

struct Case {
  int64_t m, n, k;
  bool a_transposed = false, b_transposed = false, c_transposed = false;
  double alpha = 1, beta = 0;
  bool bias = false, bias_per_row = false, relu = false;
};

template <class T>
std::vector<T> random_vector(int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  std::vector<T> v(static_cast<size_t>(n));
  for (T& x : v) x = T(normal(random));
  return v;
}

template <class T>
void check(const Case& t) {
  SCOPED_TRACE(str("m=", t.m, " n=", t.n, " k=", t.k, " ta=", t.a_transposed, " tb=", t.b_transposed,
                   " tc=", t.c_transposed, " alpha=", t.alpha, " beta=", t.beta, " bias=", t.bias, t.bias_per_row,
                   " relu=", t.relu));
  const auto a = random_vector<T>(t.m * t.k, 1), b = random_vector<T>(t.k * t.n, 2);
  const auto bias = random_vector<T>(t.m + t.n, 3);
  auto c = random_vector<T>(t.m * t.n, 4);
  if (t.beta == 0) std::fill(c.begin(), c.end(), T(NAN));  // must not be read
  const auto before = c;
  GemmProblem p;
  p.dtype = dtype_of<T>;
  p.m = t.m, p.n = t.n, p.k = t.k;
  p.a = a.data(), p.a_row = t.a_transposed ? 1 : t.k, p.a_col = t.a_transposed ? t.m : 1;
  p.b = b.data(), p.b_row = t.b_transposed ? 1 : t.n, p.b_col = t.b_transposed ? t.k : 1;
  p.c = c.data(), p.c_row = t.c_transposed ? 1 : t.n, p.c_col = t.c_transposed ? t.m : 1;
  p.alpha = t.alpha, p.beta = t.beta;
  cpu::gemm(p, {t.bias ? bias.data() : nullptr, t.bias_per_row, t.relu});
  double worst = 0;
  for (int64_t i = 0; i < t.m; ++i)
    for (int64_t j = 0; j < t.n; ++j) {
      double sum = 0, size = 1;
      for (int64_t s = 0; s < t.k; ++s) {
        const double x = double(a[i * p.a_row + s * p.a_col]) * b[s * p.b_row + j * p.b_col];
        sum += x, size += std::fabs(x);
      }
      const int64_t at = i * p.c_row + j * p.c_col;
      sum = t.alpha * sum + (t.beta != 0 ? t.beta * before[at] : 0) + (t.bias ? bias[t.bias_per_row ? i : j] : 0);
      if (t.relu && sum < 0) sum = 0;
      const double error = std::fabs(c[at] - sum) / size;
      worst = std::isnan(error) ? INFINITY : std::max(worst, error);
    }
  EXPECT_LT(worst, sizeof(T) == 4 ? 2e-6 : 4e-15);
}

void check_both(const Case& t) {
  check<float>(t);
  check<double>(t);
}

TEST(Gemm, SizesAroundBlockBorders) {
  for (int64_t m : {1, 2, 5, 6, 7, 13, 31})
    for (int64_t n : {1, 4, 7, 16, 17, 33, 70})
      for (int64_t k : {1, 16, 37})
        for (int layout = 0; layout < 8; ++layout) {
          Case t{m, n, k};
          t.a_transposed = layout & 1, t.b_transposed = layout & 2, t.c_transposed = layout & 4;
          check_both(t);
        }
}

TEST(Gemm, Blocked) {
  for (auto [m, n, k] : {std::array<int64_t, 3>{130, 70, 600},
                         {70, 1100, 520},
                         {300, 64, 64},
                         {20, 200, 1030},
                         {3, 40, 9000},
                         {33, 50, 5000},
                         {1, 300, 700},
                         {700, 1, 300}})
    for (int layout = 0; layout < 4; ++layout) {
      Case t{m, n, k};
      t.a_transposed = layout & 1, t.b_transposed = layout & 2;
      check_both(t);
    }
}

TEST(Gemm, ScalesAndEpilogues) {
  for (auto [m, n, k] : {std::array<int64_t, 3>{1, 64, 64},
                         {1, 5, 20},
                         {9, 21, 30},
                         {9, 21, 700},
                         {130, 90, 600},
                         {40, 1, 30},
                         {33, 50, 5000},
                         {6, 16, 0}})
    for (int c_transposed = 0; c_transposed < 2; ++c_transposed)
      for (double alpha : {1.0, -0.5})
        for (double beta : {0.0, 1.0, 0.25})
          for (int bias = 0; bias < 3; ++bias)
            for (int relu = 0; relu < 2; ++relu) {
              Case t{m, n, k};
              t.b_transposed = true, t.c_transposed = c_transposed, t.alpha = alpha, t.beta = beta;
              t.bias = bias > 0, t.bias_per_row = bias == 2, t.relu = relu;
              if (k == 5000 && (relu != (bias > 0) || c_transposed)) continue;
              check_both(t);
            }
}

TEST(Gemm, BatchesAndOffsets) {
  const int64_t batch = 5, m = 3, n = 18, k = 7;
  const auto a = random_vector<float>(batch * m * k, 1), b = random_vector<float>(batch * k * n, 2);
  std::vector<float> c(batch * m * n), one(m * n), by_offset(batch * m * n);
  const int64_t order[] = {3, 0, 4, 1, 1};
  int64_t a_offsets[batch];
  for (int i = 0; i < batch; ++i) a_offsets[i] = order[i] * m * k;
  GemmProblem p;
  p.m = m, p.n = n, p.k = k, p.a_row = k, p.b_row = n, p.c_row = n;
  p.a = a.data(), p.b = b.data(), p.c = c.data();
  p.batch = batch, p.a_batch = m * k, p.b_batch = 0, p.c_batch = m * n;
  cpu::gemm(p, {});
  p.c = by_offset.data(), p.a_offsets = a_offsets;
  cpu::gemm(p, {});
  p.batch = 1, p.a_offsets = nullptr, p.c = one.data();
  for (int i = 0; i < batch; ++i) {
    p.a = a.data() + i * m * k;
    cpu::gemm(p, {});
    EXPECT_EQ(0, std::memcmp(one.data(), c.data() + i * m * n, one.size() * 4));
    p.a = a.data() + a_offsets[i];
    cpu::gemm(p, {});
    EXPECT_EQ(0, std::memcmp(one.data(), by_offset.data() + i * m * n, one.size() * 4));
  }
}

TEST(Gemm, SameBitsForAnyNumberOfThreads) {
  const int64_t before = get_num_threads();
  for (auto [m, n, k] : {std::array<int64_t, 3>{200, 300, 700}, {20, 30, 30000}, {1, 2000, 600}, {3000, 16, 20}}) {
    const auto a = random_vector<float>(m * k, 1), b = random_vector<float>(k * n, 2);
    std::vector<float> first(m * n), c(m * n);
    GemmProblem p;
    p.m = m, p.n = n, p.k = k, p.a = a.data(), p.b = b.data(), p.a_row = k, p.b_row = n, p.c_row = n;
    for (int threads : {1, 2, 5}) {
      set_num_threads(threads);
      p.c = threads == 1 ? first.data() : c.data();
      cpu::gemm(p, {});
      EXPECT_TRUE(threads == 1 || std::memcmp(first.data(), c.data(), c.size() * 4) == 0) << m << " " << threads;
    }
  }
  set_num_threads(before);
}

TEST(Gemm, IntegersWrapAround) {
  const uint8_t a[] = {200, 3, 1, 0, 7, 255}, b[] = {2, 1, 9, 4, 100, 3};  // (2,3) @ (3,2)
  uint8_t c[4];
  kernel::gemm_int({}, DType::U8, 2, 2, 3, a, 3, 1, b, 2, 1, c, 2);
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 2; ++j) {
      int sum = 0;
      for (int t = 0; t < 3; ++t) sum += a[i * 3 + t] * b[t * 2 + j];
      EXPECT_EQ(c[i * 2 + j], uint8_t(sum));
    }
}

// Tables of rows and segments: a 1-d convolution of 3 taps with stride 2 as a product, in place.
TEST(Gemm, IndirectRows) {
  const int64_t channels = 5, pixels = 40, out = 19;
  const auto x = random_vector<double>(pixels * channels, 1), w = random_vector<double>(3 * channels, 2);
  std::vector<double> y(out);
  std::vector<int64_t> rows(out);
  for (int64_t i = 0; i < out; ++i) rows[i] = 2 * i * channels;
  const int64_t taps[] = {0, channels, 2 * channels};
  std::vector<double> packed(3 * channels * cpu::gemm_lanes(DType::F64));
  cpu::loop::gemm_pack(DType::F64, w.data(), 1, 3 * channels, 3 * channels, 1, packed.data(), 0, 3 * channels);
  cpu::GemmTile tile;
  tile.m = out, tile.n = 1, tile.k = channels, tile.segments = 3, tile.a = x.data(), tile.a_rows = rows.data();
  tile.a_segments = taps, tile.b = packed.data(), tile.c = y.data(), tile.c_row = 1;
  cpu::loop::gemm_tile(DType::F64, tile);
  for (int64_t i = 0; i < out; ++i) {
    double sum = 0;
    for (int64_t t = 0; t < 3 * channels; ++t) sum += x[2 * i * channels + t] * w[t];
    EXPECT_NEAR(y[i], sum, 1e-12);
  }
}

}  // namespace
}  // namespace lamina
