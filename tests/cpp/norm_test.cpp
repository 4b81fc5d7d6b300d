// Normalisation, embedding and dropout kernels: against sums in double, in both memory orders, for any threads.
#include "kernel/norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "core/pool.h"
#include "kernel/embedding.h"
#include "kernel/random.h"

namespace lamina {
namespace {

const Stream kCpu{};

template <class T>
std::vector<T> normal(int64_t n, double mean = 0, int seed = 0) {
  std::mt19937 engine(static_cast<unsigned>(seed));
  std::normal_distribution<double> draw(mean);
  std::vector<T> x(static_cast<size_t>(n));
  for (T& v : x) v = T(draw(engine));
  return x;
}

TEST(NormRows, ForwardAndBackwardMatchTheFormulas) {
  for (bool centered : {true, false}) {
    for (int64_t n : {1, 3, 8, 17, 100, 1000}) {
      const int64_t rows = 37;
      const auto x = normal<double>(rows * n, 3), g = normal<double>(rows * n, 0, 1), w = normal<double>(n, 1, 2),
                 b = normal<double>(n, 0, 3);
      std::vector<double> mean(rows), rstd(rows), y(x.size()), gx(x.size()), gw(w.size()), gb(w.size()),
          scratch(size_t(2 * norm_row_chunks(rows) * n)), expected_w(w.size()), expected_b(w.size());
      const NormRows op{8, rows, n, x.data(), w.data(), mean.data(), rstd.data(), 1e-5, centered};
      kernel::norm_rows_forward(kCpu, op, b.data(), y.data());
      kernel::norm_rows_backward(kCpu, op, g.data(), gx.data(), gw.data(), gb.data(), scratch.data());
      for (int64_t i = 0; i < rows; ++i) {
        const double *xi = &x[size_t(i * n)], *gi = &g[size_t(i * n)];
        double m = 0, v = 0, u_mean = 0, uh_mean = 0;
        for (int64_t j = 0; centered && j < n; ++j) m += xi[j] / double(n);
        for (int64_t j = 0; j < n; ++j) v += (xi[j] - m) * (xi[j] - m) / double(n);
        const double r = 1 / std::sqrt(v + 1e-5);
        for (int64_t j = 0; j < n; ++j) {
          const double h = (xi[j] - m) * r, u = gi[j] * w[size_t(j)];
          u_mean += centered ? u / double(n) : 0;
          uh_mean += u * h / double(n);
          expected_w[size_t(j)] += gi[j] * h;
          expected_b[size_t(j)] += gi[j];
          EXPECT_NEAR(y[size_t(i * n + j)], h * w[size_t(j)] + b[size_t(j)], 1e-11);
        }
        for (int64_t j = 0; j < n; ++j)
          EXPECT_NEAR(gx[size_t(i * n + j)], r * (gi[j] * w[size_t(j)] - u_mean - (xi[j] - m) * r * uh_mean), 1e-9);
      }
      for (size_t j = 0; j < w.size(); ++j) {
        EXPECT_NEAR(gw[j], expected_w[j], 1e-10);
        EXPECT_NEAR(gb[j], expected_b[j], 1e-10);
      }
    }
  }
}

// A mean a million deviations away: E[x^2] - E[x]^2 in float would be noise.
TEST(NormRows, FloatVarianceSurvivesALargeMean) {
  const int64_t n = 1000;
  std::vector<float> x(n), y(n);
  for (int64_t j = 0; j < n; ++j) x[size_t(j)] = 1e6f + float(j % 2 ? 1 : -1);
  float mean = 0, rstd = 0;
  kernel::norm_rows_forward(kCpu, {4, 1, n, x.data(), nullptr, &mean, &rstd, 0.0, true}, nullptr, y.data());
  EXPECT_NEAR(mean, 1e6f, 0.1);
  EXPECT_NEAR(rstd, 1.f, 1e-2);
}

TEST(Channels, BothMemoryOrdersGiveTheSame) {
  for (auto [n, c, s] : {std::array<int64_t, 3>{3, 5, 7}, {2, 16, 33}, {4, 19, 1}, {1, 3, 5000}}) {
    const auto x = normal<double>(n * c * s, 2), g = normal<double>(n * c * s, 0, 1),
               coefficients = normal<double>(4 * n * c, 1, 2);
    const auto turn = [&](const std::vector<double>& v, bool to_last) {
      std::vector<double> y(v.size());
      for (int64_t b = 0; b < n; ++b)
        for (int64_t i = 0; i < c; ++i)
          for (int64_t j = 0; j < s; ++j) {
            const size_t first = size_t((b * c + i) * s + j), last = size_t((b * s + j) * c + i);
            y[to_last ? last : first] = v[to_last ? first : last];
          }
      return y;
    };
    const auto run = [&](bool last) {
      const auto xs = last ? turn(x, true) : x, gs = last ? turn(g, true) : g;
      const Channels l{8, n, c, s, n * s, last, c};
      std::vector<double> mean(size_t(n * c)), m2(mean), sum_g(mean), sum_gx(mean), y(x.size()), gx(x.size());
      const double *k0 = coefficients.data(), *k1 = k0 + n * c, *k2 = k1 + n * c, *k3 = k2 + n * c;
      kernel::channel_moments(kCpu, l, xs.data(), mean.data(), m2.data());
      kernel::channel_affine(kCpu, l, xs.data(), k0, k1, k2, y.data());
      kernel::channel_grad_sums(kCpu, l, xs.data(), gs.data(), k0, sum_g.data(), sum_gx.data());
      kernel::channel_grad(kCpu, l, xs.data(), gs.data(), k0, k1, k2, k3, gx.data());
      if (last) y = turn(y, false), gx = turn(gx, false);
      return std::vector{mean, m2, sum_g, sum_gx, y, gx};
    };
    const auto planes = run(false), last = run(true);
    for (size_t r = 0; r < planes.size(); ++r)
      for (size_t i = 0; i < planes[r].size(); ++i)
        EXPECT_NEAR(planes[r][i], last[r][i], 1e-11 * (1 + std::abs(planes[r][i]))) << "result " << r;
    for (int64_t p = 0; p < n * c; ++p) {
      double m = 0, m2 = 0, sg = 0, sgx = 0;
      for (int64_t j = 0; j < s; ++j) m += x[size_t(p * s + j)] / double(s);
      for (int64_t j = 0; j < s; ++j) {
        const size_t i = size_t(p * s + j);
        m2 += (x[i] - m) * (x[i] - m);
        sg += g[i];
        sgx += g[i] * (x[i] - coefficients[size_t(p)]);
      }
      EXPECT_NEAR(planes[0][size_t(p)], m, 1e-12);
      EXPECT_NEAR(planes[1][size_t(p)], m2, 1e-11 * (1 + m2));
      EXPECT_NEAR(planes[2][size_t(p)], sg, 1e-11);
      EXPECT_NEAR(planes[3][size_t(p)], sgx, 1e-10);
    }
  }
}

TEST(Channels, ShortLastGroupOfRows) {
  const int64_t c = 3, rows = 11;
  const auto x = normal<float>(rows * c);
  const Channels l{4, 3, c, 4, rows, true, 0};
  std::vector<double> mean(9), m2(9);
  kernel::channel_moments(kCpu, l, x.data(), mean.data(), m2.data());
  for (int64_t i = 0; i < c; ++i) {
    double expected = 0;
    for (int64_t r = 8; r < rows; ++r) expected += double(x[size_t(r * c + i)]) / 3;
    EXPECT_NEAR(mean[size_t(6 + i)], expected, 1e-6);
  }
}

TEST(Embedding, GradientAddsRowsInOrderAndSkipsPadding) {
  const int64_t count = 500, rows = 40, n = 37;
  const auto g = normal<float>(count * n);
  std::vector<int64_t> index;
  for (int64_t i = 0; i < count; ++i) index.push_back((i * i) % rows);
  std::vector<float> expected(size_t(rows * n)), grad(expected);
  for (int64_t i = 0; i < count; ++i)
    for (int64_t j = 0; j < n && index[size_t(i)] != 4; ++j)
      expected[size_t(index[size_t(i)] * n + j)] += g[size_t(i * n + j)];
  const int64_t before = get_num_threads();
  for (int threads : {1, 3}) {
    set_num_threads(threads);
    kernel::embedding_gradient(kCpu, 4, g.data(), index.data(), grad.data(), count, rows, n, 4);
    EXPECT_EQ(grad, expected);
  }
  set_num_threads(before);
}

TEST(Dropout, MaskIsThatOfBernoulliForAnySize) {
  for (int64_t n : {1, 63, 64, 65, 1000, 40000}) {
    const Philox philox{42, 16};
    const auto x = normal<float>(n, 5);
    std::vector<float> y(x.size());
    std::vector<uint8_t> dropped(x.size());
    kernel::dropout_apply(kCpu, 4, x.data(), y.data(), n, 1u << 30, 2.0, philox);
    kernel::random_bernoulli(kCpu, philox, dropped.data(), n, 0.25);
    for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(y[i], dropped[i] ? 0.f : 2 * x[i]);
  }
}

TEST(NormKernels, SameBitsForAnyNumberOfThreads) {
  const int64_t rows = 300, n = 200;
  const auto x = normal<float>(rows * n), g = normal<float>(rows * n, 0, 1), w = normal<float>(rows, 1, 2);
  std::vector<std::vector<float>> results;
  const int64_t before = get_num_threads();
  for (int threads : {1, 2, 5}) {
    set_num_threads(threads);
    std::vector<float> all(x.size() * 3 + 2 * n), mean(rows), rstd(rows),
        scratch(size_t(2 * norm_row_chunks(rows) * n));
    float *y = all.data(), *gx = y + x.size(), *z = gx + x.size(), *gw = z + x.size(), *gb = gw + n;
    const NormRows op{4, rows, n, x.data(), w.data(), mean.data(), rstd.data(), 1e-5, true};
    kernel::norm_rows_forward(kCpu, op, nullptr, y);
    kernel::norm_rows_backward(kCpu, op, g.data(), gx, gw, gb, scratch.data());
    kernel::dropout_apply(kCpu, 4, x.data(), z, rows * n, 1u << 31, 2.0, {1, 0});
    std::vector<double> m(rows), m2(rows);
    kernel::channel_moments(kCpu, {4, 3, 100, 200, 0, false, 0}, x.data(), m.data(), m2.data());
    for (double v : m) all.push_back(float(v));
    results.push_back(all);
  }
  set_num_threads(before);
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

}  // namespace
}  // namespace lamina
