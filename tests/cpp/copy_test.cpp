// copy_strided against one loop over all indices: every pair of element types, random layouts, transposes, broadcasts.
#include "kernel/copy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "core/pool.h"
#include "core/shape.h"
#include "cpu/copy_loops.h"

namespace lamina {
namespace {

double load(DType dtype, const void* p, int64_t i) {
  return dispatch_all(dtype, [&]<class T>() { return double(static_cast<const T*>(p)[i]); });
}
void store(DType dtype, void* p, int64_t i, double value) {
  dispatch_all(dtype, [&]<class T>() {
    if constexpr (std::is_same_v<T, f16> || std::is_same_v<T, bf16>)
      static_cast<T*>(p)[i] = T(float(value));
    else if constexpr (std::is_same_v<T, bool>)
      static_cast<T*>(p)[i] = value != 0;
    else
      static_cast<T*>(p)[i] = T(value);
  });
}

int64_t extent(const Shape& sizes, const Shape& strides) {
  int64_t last = 0;
  for (int i = 0; i < sizes.size(); ++i) last += (sizes[i] - 1) * strides[i];
  return last + 1;
}

void check_copy(const Shape& sizes, const Shape& to_strides, DType to, const Shape& from_strides, DType from) {
  int64_t from_n = extent(sizes, from_strides), to_n = extent(sizes, to_strides);
  std::vector<char> src(from_n * item_size(from)), dst(to_n * item_size(to), 0);
  for (int64_t i = 0; i < from_n; ++i) store(from, src.data(), i, double(i * 7 % 101));
  cpu::copy_strided(sizes.size(), sizes.data(), dst.data(), to_strides.data(), to, src.data(), from_strides.data(),
                    from);
  std::vector<char> expected(dst.size(), 0), cell(8);
  for (int64_t i = 0, n = sizes.numel(); i < n; ++i) {
    int64_t rest = i, at = 0, in = 0;
    for (int d = sizes.size() - 1; d >= 0; --d) {
      at += rest % sizes[d] * to_strides[d];
      in += rest % sizes[d] * from_strides[d];
      rest /= sizes[d];
    }
    store(to, expected.data(), at, load(from, src.data(), in));
  }
  EXPECT_EQ(dst, expected) << sizes << ' ' << to_strides << to << ' ' << from_strides << from;
}

constexpr DType kAll[] = {DType::Bool, DType::U8,  DType::I8,   DType::I16, DType::I32,
                          DType::I64,  DType::F16, DType::BF16, DType::F32, DType::F64};

TEST(Copy, EveryPairOfTypes) {
  for (DType from : kAll)
    for (DType to : kAll) {
      check_copy({1000}, {1}, to, {1}, from);
      check_copy({33, 70}, {70, 1}, to, {1, 33}, from);
      check_copy({300}, {2}, to, {3}, from);
      check_copy({4, 100, 3}, {300, 3, 1}, to, {300, 1, 100}, from);
      check_copy({40}, {1}, to, {0}, from);
    }
}

TEST(Copy, EdgesAndBroadcasts) {
  check_copy({}, {}, DType::F32, {}, DType::F32);
  check_copy({0}, {1}, DType::F32, {1}, DType::F32);
  check_copy({5, 7, 9}, {63, 9, 1}, DType::F32, {0, 1, 0}, DType::F32);
  check_copy({5, 7, 900}, {6300, 900, 1}, DType::F32, {1, 0, 5}, DType::F32);
  check_copy({200, 300}, {300, 1}, DType::F32, {0, 0}, DType::I64);
}

TEST(Copy, LargeIsParallelAndTheSame) {
  set_num_threads(3);
  check_copy({500, 513}, {513, 1}, DType::F32, {1, 500}, DType::F32);
  check_copy({3, 256, 256}, {65536, 256, 1}, DType::BF16, {65536, 1, 256}, DType::F32);
  check_copy({200000}, {1}, DType::F64, {1}, DType::F32);
  check_copy({70000, 3}, {3, 1}, DType::U8, {1, 70000}, DType::U8);
  check_copy({100, 1000}, {1, 100}, DType::I16, {1001, 1}, DType::I16);
}

TEST(Copy, RandomLayouts) {
  std::mt19937 random(1);
  auto pick = [&](int n) { return int(random() % n); };
  for (int trial = 0; trial < 300; ++trial) {
    int ndim = 1 + pick(5);
    Shape sizes(ndim, 1), strides[2] = {Shape(ndim, 0), Shape(ndim, 0)};
    for (int64_t& size : sizes) size = pick(4) == 0 ? 1 + pick(40) : 1 + pick(5);
    for (int side = 0; side < 2; ++side) {
      int order[5] = {0, 1, 2, 3, 4};
      std::shuffle(order, order + ndim, random);
      int64_t step = 1 + pick(2);
      for (int i = 0; i < ndim; ++i) {
        bool repeat = side == 1 && pick(5) == 0;
        strides[side][order[i]] = repeat ? 0 : step;
        if (!repeat) step *= sizes[order[i]] + pick(2);
      }
    }
    DType from = kAll[pick(10)], to = pick(2) ? from : kAll[pick(10)];
    check_copy(sizes, strides[0], to, strides[1], from);
  }
}

TEST(Convert, FloatsOutsideTheRange) {
  float x[] = {-1.9f, 300.f, 0.4f, NAN, -0.f, 1e-8f};
  uint8_t u8[6];
  cpu::convert(DType::F32, DType::U8, 3, x, u8);
  EXPECT_EQ(u8[0], 255);  // as in PyTorch: truncated, then wrapped
  EXPECT_EQ(u8[1], 44);
  EXPECT_EQ(u8[2], 0);
  bool b[6];
  cpu::convert(DType::F32, DType::Bool, 6, x, b);
  EXPECT_TRUE(b[2] && b[3] && b[5]);
  EXPECT_FALSE(b[4]);
}

TEST(Convert, HalvesMatchTheirScalarDefinition) {
  std::vector<float> x;
  for (uint32_t i = 0; i < 65536; ++i) x.push_back(std::bit_cast<float>(i << 16 | (i * 40503 & 0xffff)));
  std::vector<f16> h(x.size());
  std::vector<bf16> b(x.size());
  cpu::convert(DType::F32, DType::F16, x.size(), x.data(), h.data());
  cpu::convert(DType::F32, DType::BF16, x.size(), x.data(), b.data());
  for (size_t i = 0; i < x.size(); ++i) {
    if (std::isnan(x[i])) {
      EXPECT_TRUE(std::isnan(float(h[i])) && std::isnan(float(b[i])));
      continue;
    }
    ASSERT_EQ(h[i].bits, f16(x[i]).bits) << x[i];
    ASSERT_EQ(b[i].bits, bf16(x[i]).bits) << x[i];
  }
  std::vector<uint16_t> every(65536);
  for (int i = 0; i < 65536; ++i) every[i] = uint16_t(i);
  std::vector<float> wide(65536);
  cpu::convert(DType::F16, DType::F32, 65536, every.data(), wide.data());
  for (int i = 0; i < 65536; ++i) {
    float expected = float(std::bit_cast<f16>(every[i]));
    ASSERT_TRUE(std::isnan(expected) ? std::isnan(wide[i]) : wide[i] == expected) << i;
  }
}

}  // namespace
}  // namespace lamina
