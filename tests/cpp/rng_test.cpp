#include "core/rng.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

#include "core/errors.h"
#include "core/pool.h"

namespace lamina {
namespace {

// The published vectors of Random123 (kat_vectors, philox4x32 10).
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(Philox::block({0, 0, 0, 0}, {0, 0}), (Philox::Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t ones = 0xffffffff;
  EXPECT_EQ(Philox::block({ones, ones, ones, ones}, {ones, ones}),
            (Philox::Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox::block({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Philox::Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

template <class T>
std::vector<T> uniform(int64_t n, uint64_t seed) {
  Generator generator(seed);
  std::vector<T> out(n);
  fill_uniform(generator, out.data(), n);
  return out;
}

TEST(Generator, SameStreamForAnyNumberOfThreads) {
  const int64_t n = 100'003;
  std::vector<std::vector<double>> results;
  for (int threads : {1, 2, 5}) {
    set_num_threads(threads);
    Generator generator(7);
    std::vector<float> a(n), b(n);
    std::vector<double> c(n);
    std::vector<int64_t> d(n);
    fill_uniform(generator, a.data(), n);
    fill_normal(generator, b.data(), n);
    fill_normal(generator, c.data(), n);
    fill_integers(generator, d.data(), n, -5, 1000);
    auto& all = results.emplace_back();
    for (int64_t i = 0; i < n; ++i) all.insert(all.end(), {a[i], b[i], c[i], double(d[i])});
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

TEST(Generator, PrefixesAgreeAndSeedsDiffer) {
  const auto a = uniform<float>(1000, 3), b = uniform<float>(37, 3), c = uniform<float>(37, 4);
  EXPECT_TRUE(std::equal(b.begin(), b.end(), a.begin()));
  EXPECT_NE(b, c);
}

TEST(Generator, StateContinuesTheStream) {
  Generator generator(11);
  std::vector<float> skipped(5), first(9), second(9);
  fill_normal(generator, skipped.data(), 5);
  const Philox state = generator.state();
  fill_normal(generator, first.data(), 9);
  generator.set_state(state);
  fill_normal(generator, second.data(), 9);
  EXPECT_EQ(first, second);
  EXPECT_NE(first[0], skipped[0]);
  EXPECT_EQ(generator.initial_seed(), 11u);
}

TEST(Generator, FreshSeedsDiffer) {
  Generator generator;
  EXPECT_EQ(generator.initial_seed(), Generator::kDefaultSeed);
  EXPECT_NE(generator.seed(), generator.seed());
}

template <class T>
void check_moments(const std::vector<T>& values, double mean, double variance, double tolerance) {
  double sum = 0, squares = 0;
  for (T v : values) sum += v;
  const double m = sum / values.size();
  for (T v : values) squares += (v - m) * (v - m);
  EXPECT_NEAR(m, mean, tolerance);
  EXPECT_NEAR(squares / values.size(), variance, tolerance);
}

TEST(Fill, UniformStaysInItsInterval) {
  for (float v : uniform<float>(50'000, 1)) ASSERT_TRUE(v >= 0 && v < 1);
  check_moments(uniform<float>(200'000, 1), 0.5, 1.0 / 12, 0.005);
  check_moments(uniform<double>(200'000, 1), 0.5, 1.0 / 12, 0.005);
  Generator generator(5);
  std::vector<float> narrow(50'000);
  fill_uniform(generator, narrow.data(), narrow.size(), 1.0f, std::nextafter(1.0f, 2.0f));
  for (float v : narrow) ASSERT_EQ(v, 1.0f);
}

TEST(Fill, NormalHasItsMoments) {
  Generator generator(2);
  std::vector<float> f(200'000);
  std::vector<double> d(200'000);
  fill_normal(generator, f.data(), f.size(), 3.0f, 2.0f);
  fill_normal(generator, d.data(), d.size());
  check_moments(f, 3, 4, 0.04);
  check_moments(d, 0, 1, 0.015);
  int outside = 0;
  for (double v : d) outside += std::abs(v) > 1.959964;
  EXPECT_NEAR(outside / 200'000.0, 0.05, 0.003);
}

TEST(Fill, IntegersCoverTheirRange) {
  Generator generator(9);
  std::vector<int64_t> values(2000);
  fill_integers(generator, values.data(), values.size(), -3, 4);
  EXPECT_EQ(std::set<int64_t>(values.begin(), values.end()), (std::set<int64_t>{-3, -2, -1, 0, 1, 2, 3}));
  fill_integers(generator, values.data(), values.size(), INT64_MIN, INT64_MAX);
  EXPECT_GT(*std::max_element(values.begin(), values.end()), INT64_MAX / 2);
  EXPECT_LT(*std::min_element(values.begin(), values.end()), INT64_MIN / 2);
  EXPECT_THROW(fill_integers(generator, values.data(), 1, 4, 4), ValueError);
}

TEST(Fill, BernoulliHasItsProbability) {
  Generator generator(13);
  std::vector<uint8_t> bits(100'000);
  for (double p : {0.0, 0.1, 0.5, 1.0}) {
    fill_bernoulli(generator, bits.data(), bits.size(), p);
    double ones = 0;
    for (uint8_t bit : bits) ones += bit;
    EXPECT_NEAR(ones / bits.size(), p, p == 0 || p == 1 ? 0 : 0.005);
  }
  EXPECT_THROW(fill_bernoulli(generator, bits.data(), 1, 1.5), ValueError);
}

}  // namespace
}  // namespace lamina
