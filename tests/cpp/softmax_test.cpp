// Softmax, cross-entropy and loss kernels against sums in double, over sizes around the width of a register.
#include "kernel/softmax.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "core/pool.h"
#include "kernel/loss.h"

namespace lamina {
namespace {

const Stream kCpu{};

template <class T>
std::vector<T> normal(int64_t n, double scale = 1, int seed = 0) {
  std::mt19937 engine(static_cast<unsigned>(seed));
  std::normal_distribution<double> draw;
  std::vector<T> x(static_cast<size_t>(n));
  for (T& v : x) v = T(scale * draw(engine));
  return x;
}

template <class T>
class SoftmaxTest : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(SoftmaxTest, Types);

TYPED_TEST(SoftmaxTest, AddsUpAndMatchesDouble) {
  using T = TypeParam;
  const double tolerance = sizeof(T) == 4 ? 1e-6 : 1e-14;
  for (int64_t n : {1, 2, 7, 8, 15, 16, 17, 33, 64, 100, 1000}) {
    for (int64_t inner : {1, 3, 17}) {
      const int64_t outer = 3;
      const auto x = normal<T>(outer * n * inner, 5);
      std::vector<T> y(x.size()), l(x.size());
      kernel::softmax_forward(kCpu, sizeof(T), x.data(), y.data(), outer, n, inner, false);
      kernel::softmax_forward(kCpu, sizeof(T), x.data(), l.data(), outer, n, inner, true);
      for (int64_t o = 0; o < outer; ++o) {
        for (int64_t i = 0; i < inner; ++i) {
          const auto at = [&](int64_t j) { return size_t((o * n + j) * inner + i); };
          double top = -INFINITY, sum = 0;
          for (int64_t j = 0; j < n; ++j) top = std::max(top, double(x[at(j)]));
          for (int64_t j = 0; j < n; ++j) sum += std::exp(double(x[at(j)]) - top);
          for (int64_t j = 0; j < n; ++j) {
            const double expected = double(x[at(j)]) - top - std::log(sum);
            EXPECT_NEAR(double(l[at(j)]), expected, tolerance * (1 + std::abs(expected)));
            EXPECT_NEAR(double(y[at(j)]), std::exp(expected),
                        tolerance * (1 + std::abs(expected)) * std::exp(expected));
          }
        }
      }
    }
  }
}

TYPED_TEST(SoftmaxTest, ExtremeRows) {
  using T = TypeParam;
  const T inf = T(INFINITY);
  const auto run = [](std::vector<T> x) {
    std::vector<T> y(x.size());
    kernel::softmax_forward(kCpu, sizeof(T), x.data(), y.data(), 1, int64_t(x.size()), 1, false);
    return y;
  };
  EXPECT_EQ(run({T(1e30), T(-1e30), T(0)}), (std::vector<T>{1, 0, 0}));
  EXPECT_EQ(run({T(1), -inf, -inf}), (std::vector<T>{1, 0, 0}));
  EXPECT_EQ(run({T(-300), T(-300)}), (std::vector<T>{0.5, 0.5}));
  for (T v : run({-inf, -inf})) EXPECT_TRUE(std::isnan(v));
  for (T v : run({inf, T(0)})) EXPECT_TRUE(std::isnan(v));
  for (T v : run({T(NAN), T(0), T(1)})) EXPECT_TRUE(std::isnan(v));
}

TYPED_TEST(SoftmaxTest, GradientIsTheJacobianProduct) {
  using T = TypeParam;
  const double tolerance = sizeof(T) == 4 ? 1e-5 : 1e-13;
  for (int64_t n : {1, 5, 16, 37}) {
    for (int64_t inner : {1, 5}) {
      const auto x = normal<T>(2 * n * inner), g = normal<T>(2 * n * inner, 1, 1);
      std::vector<T> y(x.size()), l(x.size()), gx(x.size()), gl(x.size());
      kernel::softmax_forward(kCpu, sizeof(T), x.data(), y.data(), 2, n, inner, false);
      kernel::softmax_forward(kCpu, sizeof(T), x.data(), l.data(), 2, n, inner, true);
      kernel::softmax_backward(kCpu, sizeof(T), y.data(), g.data(), gx.data(), 2, n, inner, false);
      kernel::softmax_backward(kCpu, sizeof(T), l.data(), g.data(), gl.data(), 2, n, inner, true);
      for (int64_t o = 0; o < 2; ++o) {
        for (int64_t i = 0; i < inner; ++i) {
          const auto at = [&](int64_t j) { return size_t((o * n + j) * inner + i); };
          double dot = 0, sum = 0;
          for (int64_t j = 0; j < n; ++j) dot += double(g[at(j)]) * double(y[at(j)]), sum += double(g[at(j)]);
          for (int64_t j = 0; j < n; ++j) {
            EXPECT_NEAR(double(gx[at(j)]), double(y[at(j)]) * (double(g[at(j)]) - dot), tolerance);
            EXPECT_NEAR(double(gl[at(j)]), double(g[at(j)]) - double(y[at(j)]) * sum, tolerance);
          }
        }
      }
    }
  }
}

TEST(CrossEntropyKernel, LossAndGradientWithSmoothingAndWeights) {
  for (int64_t n : {2, 10, 16, 53}) {
    const int64_t rows = 6;
    const auto x = normal<double>(rows * n, 3), k = normal<double>(rows, 1, 2);
    auto w = normal<double>(n, 1, 1);
    for (double& v : w) v = v * v + 0.1;
    std::vector<int64_t> t;
    for (int64_t i = 0; i < rows; ++i) t.push_back(i == 3 ? -100 : (i * 7) % n);
    std::vector<double> lse(rows), loss(rows), gx(x.size());
    const CrossEntropy op{8, rows, n, x.data(), t.data(), w.data(), -100, 0.1, lse.data(), nullptr};
    kernel::cross_entropy_forward(kCpu, op, loss.data());
    kernel::cross_entropy_backward(kCpu, op, k.data(), 1, gx.data());
    for (int64_t i = 0; i < rows; ++i) {
      double sum = 0, expected = 0, mass = 0;
      for (int64_t c = 0; c < n; ++c) sum += std::exp(x[size_t(i * n + c)]);
      const auto q = [&](int64_t c) {
        return t[size_t(i)] < 0 ? 0 : w[size_t(c)] * ((c == t[size_t(i)] ? 0.9 : 0) + 0.1 / double(n));
      };
      for (int64_t c = 0; c < n; ++c) expected += q(c) * (std::log(sum) - x[size_t(i * n + c)]), mass += q(c);
      EXPECT_NEAR(loss[size_t(i)], expected, 1e-13 * (1 + expected));
      for (int64_t c = 0; c < n; ++c) {
        const double p = std::exp(x[size_t(i * n + c)]) / sum;
        EXPECT_NEAR(gx[size_t(i * n + c)], k[size_t(i)] * (mass * p - q(c)), 1e-13);
      }
    }
  }
}

TEST(LossKernel, MatchesScalarFormulasAndFiniteDifferences) {
  const int64_t n = 37;
  auto x = normal<double>(n), t = normal<double>(n, 1, 1);
  for (int kind = 0; kind < 8; ++kind) {
    const bool probabilities = LossKind(kind) == LossKind{4}, positive = kind == 6;
    auto a = x, b = t;
    for (double& v : a) v = probabilities ? 1 / (1 + std::exp(-v)) : v;
    for (double& v : b) v = probabilities || positive ? 1 / (1 + std::exp(-v)) : v;
    std::vector<double> y(size_t(n), 0), up(y), down(y), gx(y), gt(y);
    double sum = 0;
    const double one = 1, h = 1e-6;
    const auto call = [&](const std::vector<double>& p, const std::vector<double>& q) {
      return Loss{8, n, LossKind(kind), 0.7, p.data(), q.data(), 1};
    };
    kernel::loss_forward(kCpu, call(a, b), y.data(), &sum);
    double expected = 0;
    for (double v : y) expected += v;
    EXPECT_NEAR(sum, expected, 1e-12 * (1 + std::abs(expected)));
    kernel::loss_backward(kCpu, call(a, b), &one, 0, gx.data(), gt.data());
    for (bool target : {false, true}) {
      auto plus = target ? b : a, minus = plus;
      for (double& v : plus) v += h;
      for (double& v : minus) v -= h;
      kernel::loss_forward(kCpu, target ? call(a, plus) : call(plus, b), up.data(), nullptr);
      kernel::loss_forward(kCpu, target ? call(a, minus) : call(minus, b), down.data(), nullptr);
      for (size_t i = 0; i < size_t(n); ++i)
        EXPECT_NEAR((up[i] - down[i]) / (2 * h), (target ? gt : gx)[i], 2e-5) << "loss " << kind << " at " << i;
    }
  }
}

TEST(SoftmaxKernel, SameBitsForAnyNumberOfThreads) {
  const int64_t rows = 700, n = 129;
  const auto x = normal<float>(rows * n), g = normal<float>(rows * n, 1, 1);
  std::vector<int64_t> t(size_t(rows), 5);
  std::vector<std::vector<float>> results;
  const int64_t before = get_num_threads();
  for (int threads : {1, 2, 5}) {
    set_num_threads(threads);
    std::vector<float> all(x.size() * 4), lse(size_t(rows), 0), loss(size_t(rows), 0);
    kernel::softmax_forward(kCpu, 4, x.data(), all.data(), rows, n, 1, false);
    kernel::softmax_backward(kCpu, 4, all.data(), g.data(), all.data() + x.size(), rows, n, 1, false);
    kernel::softmax_forward(kCpu, 4, x.data(), all.data() + 2 * x.size(), 7, 100, n, true);
    const CrossEntropy op{4, rows, n, x.data(), t.data(), nullptr, -100, 0, lse.data(), nullptr};
    kernel::cross_entropy_forward(kCpu, op, loss.data());
    kernel::cross_entropy_backward(kCpu, op, loss.data(), 1, all.data() + 3 * x.size());
    results.push_back(all);
  }
  set_num_threads(before);
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

}  // namespace
}  // namespace lamina
