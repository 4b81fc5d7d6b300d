// Random numbers: the same as the CPU's, number by number (kernel/random.h says which bits make which). A thread
// computes one Philox block, so the 16 threads of a group write 16 neighbours per word.
#pragma once
#include "core/philox.h"
#include "cuda/device.cuh"

namespace lamina::cuda {

constexpr int kGroupBlocks = 16;

// 24 or 53 random bits as a number in [0, 1).
LM_DEVICE float unit_number(uint32_t bits) { return float(int32_t(bits >> 8)) * 0x1p-24f; }
LM_DEVICE double unit_number(uint64_t bits) { return double(int64_t(bits >> 11)) * 0x1p-53; }

LM_DEVICE uint64_t wide_word(const Philox::Block& block, int k) {
  return uint64_t(block.word[2 * k + 1]) << 32 | block.word[2 * k];
}

struct UniformFloat {
  using Result = float;
  static constexpr int kValues = 4;
  float low, scale, last;
  LM_DEVICE void operator()(const Philox::Block& block, float (&v)[4]) const {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const float value = fmaf(unit_number(block.word[k]), scale, low);
      v[k] = value < last ? value : last;
    }
  }
};
struct UniformDouble {
  using Result = double;
  static constexpr int kValues = 2;
  double low, scale, last;
  LM_DEVICE void operator()(const Philox::Block& block, double (&v)[2]) const {
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const double value = fma(unit_number(wide_word(block, k)), scale, low);
      v[k] = value < last ? value : last;
    }
  }
};

// Box and Muller, as on the CPU: u in (0, 1] gives the radius, v in [0, 1) the angle of two normal numbers.
struct NormalFloat {
  using Result = float;
  static constexpr int kValues = 4;
  float mean, std;
  LM_DEVICE void operator()(const Philox::Block& block, float (&v)[4]) const {
#pragma unroll
    for (int k = 0; k < 4; k += 2) {
      const float u = float(int32_t(block.word[k] >> 1)) * 0x1p-31f + 0x1p-32f;
      const float radius = sqrtf(-2.f * logf(u)) * std, angle = unit_number(block.word[k + 1]) * 6.28318530717958648f;
      v[k] = fmaf(radius, cosf(angle), mean);
      v[k + 1] = fmaf(radius, sinf(angle), mean);
    }
  }
};
struct NormalDouble {
  using Result = double;
  static constexpr int kValues = 2;
  double mean, std;
  LM_DEVICE void operator()(const Philox::Block& block, double (&v)[2]) const {
    const double u = unit_number(wide_word(block, 0)) + 0x1p-53;
    const double radius = sqrt(-2. * log(u)) * std, angle = unit_number(wide_word(block, 1)) * 6.28318530717958648;
    v[0] = fma(radius, cos(angle), mean);
    v[1] = fma(radius, sin(angle), mean);
  }
};

struct Bernoulli {
  using Result = uint8_t;
  static constexpr int kValues = 4;
  uint32_t last;
  bool possible;
  LM_DEVICE void operator()(const Philox::Block& block, uint8_t (&v)[4]) const {
#pragma unroll
    for (int k = 0; k < 4; ++k) v[k] = uint8_t(possible && block.word[k] <= last);
  }
};

// The high half of (64 random bits) * range.
struct Integers {
  using Result = int64_t;
  static constexpr int kValues = 2;
  int64_t low;
  uint64_t range;
  LM_DEVICE void operator()(const Philox::Block& block, int64_t (&v)[2]) const {
#pragma unroll
    for (int k = 0; k < 2; ++k) v[k] = int64_t(uint64_t(low) + __umul64hi(wide_word(block, k), range));
  }
};

// Where number k of a block goes: groups of 16 blocks, word by word.
template <int kValues>
LM_DEVICE int64_t place(int64_t block, int k) {
  return block / kGroupBlocks * (kGroupBlocks * kValues) + k * kGroupBlocks + block % kGroupBlocks;
}

template <class Make>
__global__ void __launch_bounds__(256)
    random_fill_kernel(Philox philox, int64_t blocks, typename Make::Result* __restrict__ out, int64_t n, Make make) {
  const int64_t block = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (block >= blocks) return;
  typename Make::Result v[Make::kValues];
  make(philox.resolved()(uint64_t(block)), v);
#pragma unroll
  for (int k = 0; k < Make::kValues; ++k) {
    const int64_t i = place<Make::kValues>(block, k);
    if (i < n) out[i] = v[k];
  }
}

// y[i] = bits(i) < threshold ? 0 : x[i] * scale, with the bits of a fill. x and y may be the same.
template <class T>
__global__ void __launch_bounds__(256)
    dropout_kernel(Philox philox, int64_t blocks, const T* x, T* y, int64_t n, uint32_t threshold, T scale) {
  const int64_t block = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (block >= blocks) return;
  T v[4];
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    const int64_t i = place<4>(block, k);
    if (i < n) v[k] = x[i];
  }
  const Philox::Block bits = philox.resolved()(uint64_t(block));
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    const int64_t i = place<4>(block, k);
    if (i < n) y[i] = bits.word[k] < threshold ? T(0) : v[k] * scale;
  }
}

}  // namespace lamina::cuda
