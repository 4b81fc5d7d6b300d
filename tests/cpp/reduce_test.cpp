// Reductions against plain loops in double, over layouts, dimensions, instruction-set independent sizes and thread
// counts.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "core/pool.h"
#include "kernel/reduce.h"
#include "ops/reduce.h"

namespace lamina {
namespace {

Tensor random(const Shape& sizes, unsigned seed, DType dtype = DType::F32) {
  Tensor x = empty_tensor(sizes, dtype);
  std::mt19937 engine(seed);
  std::normal_distribution<double> normal;
  for (int64_t i = 0; i < x.numel(); ++i) {
    const double v = normal(engine);
    if (dtype == DType::F32)
      x.data<float>()[i] = float(v);
    else if (dtype == DType::F64)
      x.data<double>()[i] = v;
    else if (dtype == DType::I32)
      x.data<int32_t>()[i] = int32_t(v * 4);
    else
      x.data<uint8_t>()[i] = uint8_t(v > 0 ? v * 2 : 0);
  }
  return x;
}

double element(const Tensor& x, int64_t offset) {
  Tensor one = x.with_layout({}, {}, offset);
  return one.item_double();
}

// Calls f(result position, value, position among the reduced) in row-major order.
template <class F>
void each(const Tensor& x, uint32_t mask, F f) {
  const int64_t n = x.numel();
  for (int64_t i = 0; i < n; ++i) {
    int64_t rest = i, offset = x->offset, out = 0, at = 0, out_step = 1, at_step = 1;
    for (int d = x.dim() - 1; d >= 0; --d) {
      const int64_t k = rest % x.size(d);
      rest /= x.size(d);
      offset += k * x.stride(d);
      int64_t& step = mask >> d & 1 ? at_step : out_step;
      (mask >> d & 1 ? at : out) += k * step;
      step *= x.size(d);
    }
    f(out, element(x, offset), at);
  }
}

Tensor amax_over(const Tensor& x, ReduceDims dims) {
  ReduceJob job;
  job.kind = Reduce::Max;
  return reduced(job, x, dims, x.dtype());
}

Tensor permuted(const Tensor& x, std::initializer_list<int> order) {
  Shape sizes, strides;
  for (int d : order) sizes.push_back(x.size(d)), strides.push_back(x.stride(d));
  return x.with_layout(sizes, strides, x->offset);
}

std::vector<Tensor> layouts(DType dtype) {
  const Tensor x = random({3, 70, 5, 37}, 1, dtype);
  return {x,
          permuted(x, {3, 1, 0, 2}),
          permuted(x, {0, 3, 2, 1}),
          permuted(x, {2, 0, 3, 1}),
          x.with_layout({3, 35, 5, 18}, {x.stride(0), 2 * x.stride(1), x.stride(2), 2}, 1),
          x.with_layout({4, 70, 5, 37}, {0, x.stride(1), x.stride(2), x.stride(3)}, 0)};
}

TEST(Reduce, SumMaxVarOfEveryLayoutAndMask) {
  for (DType dtype : {DType::F32, DType::F64, DType::I32, DType::U8})
    for (const Tensor& x : layouts(dtype))
      for (uint32_t mask = 0; mask < 16; ++mask) {
        const ReduceDims dims{mask, 0};
        const int64_t results = dims.result(x.sizes()).numel(), count = dims.count(x.sizes());
        std::vector<double> sum(results), sum2(results), largest(results, -INFINITY);
        std::vector<int64_t> at(results, -1);
        each(x, mask, [&](int64_t o, double v, int64_t i) {
          sum[o] += v;
          if (v > largest[o] || (v == largest[o] && i < at[o])) at[o] = i;
          largest[o] = std::max(largest[o], v);
        });
        each(x, mask, [&](int64_t o, double v, int64_t) { sum2[o] += (v - sum[o] / count) * (v - sum[o] / count); });
        const Tensor s = sum_over(x, dims), m = amax_over(x, dims);
        Tensor values = empty_tensor(dims.result(x.sizes()), dtype), where = empty_tensor(values.sizes(), DType::I64);
        ReduceJob job;
        job.kind = Reduce::ArgMax;
        run_reduce(job, x, dims, values, where, true);
        const double eps = dtype == DType::F32 ? 1e-6 : 1e-13;
        for (int64_t o = 0; o < results; ++o) {
          ASSERT_NEAR(element(s, o), sum[o], eps * (1 + std::abs(sum[o])) * std::sqrt(double(count)));
          ASSERT_EQ(element(m, o), largest[o]);
          ASSERT_EQ(element(values, o), largest[o]);
          ASSERT_EQ(where.data<int64_t>()[o], at[o]) << x.sizes() << x.strides() << mask;
        }
        if (!is_floating(dtype)) continue;
        job.kind = Reduce::Var;
        job.p = 1;
        Tensor var = empty_tensor(values.sizes(), dtype), mean = empty_tensor(values.sizes(), dtype);
        run_reduce(job, x, dims, var, mean);
        for (int64_t o = 0; o < results && count > 1; ++o) {
          ASSERT_NEAR(element(var, o), sum2[o] / double(count - 1), 10 * eps * (1 + sum2[o]));
          ASSERT_NEAR(element(mean, o), sum[o] / double(count), 10 * eps);
        }
      }
}

TEST(Reduce, LongFloatSumKeepsItsDigits) {
  const int64_t n = 10'000'000;
  Tensor x = empty_tensor({n}, DType::F32);
  for (int64_t i = 0; i < n; ++i) x.data<float>()[i] = 0.1f;
  const double exact = double(0.1f) * n;
  EXPECT_NEAR(sum_over(x, {1, 0}).item_double(), exact, exact * 1e-6);
  // Columns too.
  const Tensor tall = x.with_layout({n / 4, 4}, {4, 1}, 0);
  EXPECT_NEAR(element(sum_over(tall, {1, 0}), 2), exact / 4, exact / 4 * 1e-6);
}

TEST(Reduce, SameBitsForAnyNumberOfThreads) {
  const int64_t before = get_num_threads();
  const Tensor x = random({1'000'003}, 3), tall = random({50'001, 7}, 4);
  std::vector<std::vector<float>> seen;
  for (int64_t threads : {1, 2, 5}) {
    set_num_threads(threads);
    std::vector<float> bits{float(sum_over(x, {1, 0}).item_double())};
    const Tensor s = sum_over(tall, {1, 0});
    bits.insert(bits.end(), s.data<float>(), s.data<float>() + 7);
    seen.push_back(bits);
  }
  set_num_threads(before);
  EXPECT_EQ(seen[0], seen[1]);
  EXPECT_EQ(seen[0], seen[2]);
}

TEST(Reduce, NanIsLargestAndFirst) {
  for (int64_t n : {3, 100, 5000}) {
    Tensor x = random({n}, 5);
    x.data<float>()[n / 2] = x.data<float>()[n - 1] = NAN;
    EXPECT_TRUE(std::isnan(amax_over(x, {1, 0}).item_double()));
    EXPECT_EQ(argmax(x, std::nullopt, false).item_int(), n / 2);
    EXPECT_EQ(argmin(x, std::nullopt, false).item_int(), n / 2);
    EXPECT_EQ(argmax(x.with_layout({n, 40}, {1, 0}, 0), 0, false).data<int64_t>()[39], n / 2);
  }
}

TEST(Reduce, NothingToReduce) {
  const Tensor x = empty_tensor({0, 3}, DType::F32);
  EXPECT_EQ(sum(x, Shape{0}, false, std::nullopt).sizes(), Shape{3});
  EXPECT_EQ(element(sum(x, Shape{0}, false, std::nullopt), 1), 0);
  EXPECT_EQ(element(prod(x, 0, false, std::nullopt), 1), 1);
  EXPECT_TRUE(std::isnan(element(mean(x, Shape{0}, false, std::nullopt), 1)));
  EXPECT_THROW(amax(x, Shape{0}, false), ValueError);
  EXPECT_THROW(argmax(x, 0, false), ValueError);
  EXPECT_EQ(amax(x, Shape{1}, false).sizes(), Shape{0});
  EXPECT_THROW(sum(x, Shape{2}, false, std::nullopt), IndexError);
  EXPECT_THROW(sum(x, Shape{0, -2}, false, std::nullopt), ValueError);
}

TEST(Reduce, LogSumExpDoesNotOverflow) {
  Tensor x = random({2000}, 6);
  for (int64_t i = 0; i < 2000; ++i) x.data<float>()[i] += 500;
  double total = 0;
  for (int64_t i = 0; i < 2000; ++i) total += std::exp(double(x.data<float>()[i]) - 500);
  EXPECT_NEAR(logsumexp(x, std::nullopt, false).item_double(), 500 + std::log(total), 1e-4);
  x.data<float>()[7] = INFINITY;
  EXPECT_EQ(logsumexp(x, std::nullopt, false).item_double(), INFINITY);
  for (int64_t i = 0; i < 2000; ++i) x.data<float>()[i] = -INFINITY;
  EXPECT_EQ(logsumexp(x, std::nullopt, false).item_double(), -INFINITY);
}

}  // namespace
}  // namespace lamina
