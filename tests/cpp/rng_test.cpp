#include "core/rng.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "core/pool.h"
#include "kernel/random.h"

namespace lamina {
namespace {

// The published vectors of Random123 (kat_vectors, philox4x32 10).
TEST(Philox, KnownAnswers) {
  using Block = Philox::Block;
  const uint32_t ones = 0xffffffff;
  EXPECT_EQ(Philox::rounds({{0, 0, 0, 0}}, 0), (Block{{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}));
  EXPECT_EQ(Philox::rounds({{ones, ones, ones, ones}}, ~uint64_t{0}),
            (Block{{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}}));
  EXPECT_EQ(Philox::rounds({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0x299f31d0a4093822),
            (Block{{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}));
}

constexpr DType dtype_of(float) { return DType::F32; }
constexpr DType dtype_of(double) { return DType::F64; }

template <class T>
std::vector<T> uniform(Generator& generator, int64_t n, double low = 0, double high = 1) {
  std::vector<T> out(n);
  kernel::random_uniform(Stream{}, generator.take(random_blocks(n, sizeof(T)), Device()), dtype_of(T()), out.data(), n,
                         low, high);
  return out;
}

template <class T>
std::vector<T> normal(Generator& generator, int64_t n, double mean = 0, double std = 1) {
  std::vector<T> out(n);
  kernel::random_normal(Stream{}, generator.take(random_blocks(n, sizeof(T)), Device()), dtype_of(T()), out.data(), n,
                        mean, std);
  return out;
}

std::vector<int64_t> integers(Generator& generator, int64_t n, int64_t low, int64_t high) {
  std::vector<int64_t> out(n);
  kernel::random_integers(Stream{}, generator.take(random_blocks(n, 8), Device()), out.data(), n, low, high);
  return out;
}

std::vector<uint8_t> bernoulli(Generator& generator, int64_t n, double p) {
  std::vector<uint8_t> out(n);
  kernel::random_bernoulli(Stream{}, generator.take(random_blocks(n, 4), Device()), out.data(), n, p);
  return out;
}

// Every instruction set computes the blocks that the scalar definition gives, also where a counter passes 2^32.
TEST(Philox, FillsFollowTheDefinition) {
  Generator generator(0x123456789abcdef);
  generator.set_state({0x123456789abcdef, (uint64_t{1} << 32) - 21});
  const Philox philox = generator.state();
  const auto f = uniform<float>(generator, 200);
  for (int i = 0; i < 200; ++i) {
    const uint32_t word = philox(i / 64 * 16 + i % 16).word[i % 64 / 16];
    ASSERT_EQ(f[i], float(word >> 8) * 0x1p-24f) << i;
  }
  const Philox next = generator.state();
  const auto d = uniform<double>(generator, 100);
  for (int i = 0; i < 100; ++i) {
    const auto block = next(i / 32 * 16 + i % 16);
    const int k = i % 32 / 16 * 2;
    ASSERT_EQ(d[i], double((uint64_t(block.word[k + 1]) << 32 | block.word[k]) >> 11) * 0x1p-53) << i;
  }
}

TEST(Generator, SameStreamForAnyNumberOfThreads) {
  const int64_t n = 100'003;
  std::vector<std::vector<double>> results;
  for (int threads : {1, 2, 5}) {
    set_num_threads(threads);
    Generator generator(7);
    const auto a = uniform<float>(generator, n), b = normal<float>(generator, n);
    const auto c = normal<double>(generator, n);
    const auto d = integers(generator, n, -5, 1000);
    auto& all = results.emplace_back();
    for (int64_t i = 0; i < n; ++i) all.insert(all.end(), {a[i], b[i], c[i], double(d[i])});
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

TEST(Generator, PrefixesAgreeAndSeedsDiffer) {
  Generator a(3), b(3), c(4);
  const auto x = uniform<float>(a, 1000), y = uniform<float>(b, 37), z = uniform<float>(c, 37);
  EXPECT_TRUE(std::equal(y.begin(), y.end(), x.begin()));
  EXPECT_NE(y, z);
}

TEST(Generator, StateContinuesTheStream) {
  Generator generator(11);
  const auto skipped = normal<float>(generator, 5);
  const Philox state = generator.state();
  const auto first = normal<float>(generator, 9);
  generator.set_state(state);
  EXPECT_EQ(first, normal<float>(generator, 9));
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
  Generator generator(1);
  for (float v : uniform<float>(generator, 50'000)) ASSERT_TRUE(v >= 0 && v < 1);
  check_moments(uniform<float>(generator, 200'000), 0.5, 1.0 / 12, 0.005);
  check_moments(uniform<double>(generator, 200'000, -1, 3), 1, 16.0 / 12, 0.02);
  for (float v : uniform<float>(generator, 50'000, 1, std::nextafter(1.0f, 2.0f))) ASSERT_EQ(v, 1.0f);
  for (double v : uniform<double>(generator, 100, 2, 2)) ASSERT_EQ(v, 2.0);
}

TEST(Fill, NormalHasItsMomentsAndTails) {
  Generator generator(2);
  check_moments(normal<float>(generator, 200'000, 3, 2), 3, 4, 0.04);
  const auto d = normal<double>(generator, 200'000);
  const auto f = normal<float>(generator, 200'000);
  check_moments(d, 0, 1, 0.015);
  const auto beyond = [](const auto& values, double limit) {
    return std::count_if(values.begin(), values.end(), [=](double v) { return std::abs(v) > limit; }) / 200'000.0;
  };
  EXPECT_NEAR(beyond(d, 1.959964), 0.05, 0.003);
  EXPECT_NEAR(beyond(f, 1.959964), 0.05, 0.003);
  EXPECT_NEAR(beyond(f, 3.290527), 0.001, 0.0005);
  double correlation = 0;  // of the two halves of each pair
  for (size_t i = 0; i + 64 <= f.size(); i += 64) {
    for (int b = 0; b < 16; ++b) correlation += f[i + b] * f[i + 16 + b];
  }
  EXPECT_NEAR(correlation / 50'000, 0, 0.02);
}

TEST(Fill, IntegersCoverTheirRange) {
  Generator generator(9);
  const auto few = integers(generator, 2000, -3, 4);
  EXPECT_EQ(std::set<int64_t>(few.begin(), few.end()), (std::set<int64_t>{-3, -2, -1, 0, 1, 2, 3}));
  const auto wide = integers(generator, 2000, INT64_MIN, INT64_MAX);
  EXPECT_GT(*std::max_element(wide.begin(), wide.end()), INT64_MAX / 2);
  EXPECT_LT(*std::min_element(wide.begin(), wide.end()), INT64_MIN / 2);
}

TEST(Fill, BernoulliHasItsProbability) {
  Generator generator(13);
  for (double p : {0.0, 0.1, 0.5, 1.0}) {
    double ones = 0;
    for (uint8_t bit : bernoulli(generator, 100'001, p)) ones += bit;
    EXPECT_NEAR(ones / 100'001, p, p == 0 || p == 1 ? 0 : 0.005);
  }
}

}  // namespace
}  // namespace lamina
