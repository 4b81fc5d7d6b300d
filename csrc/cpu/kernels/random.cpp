// Random fills, one group of Philox blocks at a time. Every value depends on its index only, so chunks may run in any
// order.
#include "kernel/random.h"

#include "core/pool.h"
#include "cpu/philox_group.h"
#include "math/functions.h"

namespace lamina::cpu::LM_ISA {
namespace {

constexpr int64_t kGroupsPerChunk = 128;

// Calls make(group, values) for every group; it writes kValues numbers, of which the last group may need only some.
template <int kValues, class T, class Make>
LM_FN void fill(Philox philox, T* out, int64_t n, Make make) {
  const int64_t groups = chunk_count(n, kValues);
  parallel_for(chunk_count(groups, kGroupsPerChunk), [=](int64_t chunk) {
    const int64_t end = (chunk + 1) * kGroupsPerChunk;
    for (int64_t g = chunk * kGroupsPerChunk; g < end && g < groups; ++g) {
      const PhiloxGroup group(philox, g);
      T* target = out + g * kValues;
      const int64_t left = n - g * kValues;
      if (left >= kValues) {
        make(group, target);
      } else {
        alignas(64) T values[kValues];
        make(group, values);
        for (int64_t i = 0; i < left; ++i) target[i] = values[i];
      }
    }
  });
}

// 24 or 53 random bits as a number in [0, 1).
LM_FN float unit(uint32_t bits) { return float(int32_t(bits >> 8)) * 0x1p-24f; }
LM_FN double unit(uint64_t bits) { return double(int64_t(bits >> 11)) * 0x1p-53; }

// Box, Muller, "A note on the generation of random normal deviates", 1958: for u in (0, 1] and v in [0, 1),
// sqrt(-2 ln u) (cos 2 pi v, sin 2 pi v) are two independent normal numbers.
template <class T>
LM_FN void box_muller(const T* u, const T* v, T* first, T* second, T mean, T std) {
  using V = math::Simd<T>;
  for (int i = 0; i < kGroupBlocks; i += V::kLanes) {
    const V radius = math::sqrt(V(-2) * math::log(V::load(u + i))) * V(std);
    const V angle = V::load(v + i) * V(T(2 * math::kPi));
    (radius * math::cos(angle) + V(mean)).store(first + i);
    (radius * math::sin(angle) + V(mean)).store(second + i);
  }
}

}  // namespace

void random_uniform(Philox philox, DType dtype, void* out, int64_t n, double low, double high) {
  // low + u * (high - low) may round up to high, which does not belong to the interval.
  if (dtype == DType::F32) {
    const float from = float(low), scale = float(high) - from, below = __builtin_nextafterf(float(high), from);
    const float last = below > from ? below : from;
    fill<64>(philox, static_cast<float*>(out), n, [=](const PhiloxGroup& group, float* values) LM_INLINE {
      for (int k = 0; k < 4; ++k) {
        for (int b = 0; b < 16; ++b) {
          const float value = from + unit(group.word[k][b]) * scale;
          values[16 * k + b] = value < last ? value : last;
        }
      }
    });
  } else {
    const double scale = high - low, below = __builtin_nextafter(high, low), last = below > low ? below : low;
    fill<32>(philox, static_cast<double*>(out), n, [=](const PhiloxGroup& group, double* values) LM_INLINE {
      for (int k = 0; k < 2; ++k) {
        for (int b = 0; b < 16; ++b) {
          const double value = low + unit(group.wide(k, b)) * scale;
          values[16 * k + b] = value < last ? value : last;
        }
      }
    });
  }
}

void random_normal(Philox philox, DType dtype, void* out, int64_t n, double mean, double std) {
  if (dtype == DType::F32) {
    fill<64>(philox, static_cast<float*>(out), n, [=](const PhiloxGroup& group, float* values) LM_INLINE {
      for (int k = 0; k < 4; k += 2) {
        alignas(64) float u[16], v[16];
        for (int b = 0; b < 16; ++b) {
          u[b] = float(int32_t(group.word[k][b] >> 1)) * 0x1p-31f + 0x1p-32f;
          v[b] = unit(group.word[k + 1][b]);
        }
        box_muller(u, v, values + 16 * k, values + 16 * k + 16, float(mean), float(std));
      }
    });
  } else {
    fill<32>(philox, static_cast<double*>(out), n, [=](const PhiloxGroup& group, double* values) LM_INLINE {
      alignas(64) double u[16], v[16];
      for (int b = 0; b < 16; ++b) {
        u[b] = unit(group.wide(0, b)) + 0x1p-53;
        v[b] = unit(group.wide(1, b));
      }
      box_muller(u, v, values, values + 16, mean, std);
    });
  }
}

void random_bernoulli(Philox philox, uint8_t* out, int64_t n, double p) {
  const uint64_t threshold = uint64_t(p * 0x1p32 + 0.5);
  // 2^32 itself does not fit in a word: p = 1 compares with <= instead.
  const uint32_t last = threshold == 0 ? 0 : uint32_t(threshold - 1);
  const uint8_t possible = threshold > 0;
  fill<64>(philox, out, n, [=](const PhiloxGroup& group, uint8_t* values) LM_INLINE {
    for (int k = 0; k < 4; ++k) {
      for (int b = 0; b < 16; ++b) values[16 * k + b] = uint8_t(group.word[k][b] <= last) & possible;
    }
  });
}

void random_integers(Philox philox, int64_t* out, int64_t n, int64_t low, int64_t high) {
  // The high half of (64 random bits) * range: uniform up to range / 2^64.
  const uint64_t range = uint64_t(high) - uint64_t(low);
  fill<32>(philox, out, n, [=](const PhiloxGroup& group, int64_t* values) LM_INLINE {
    for (int k = 0; k < 2; ++k) {
      for (int b = 0; b < 16; ++b) {
        __extension__ using Wide = unsigned __int128;
        values[16 * k + b] = int64_t(uint64_t(low) + uint64_t(Wide(group.wide(k, b)) * range >> 64));
      }
    }
  });
}

}  // namespace lamina::cpu::LM_ISA
