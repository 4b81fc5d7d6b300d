// One group of 16 Philox blocks in SIMD registers, for kernel files. The one idea: a 32-bit word in a 64-bit lane,
// because every instruction set can multiply the low halves of 64-bit lanes; what is in the high halves never matters.
#pragma once
#include <cstdint>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "core/philox.h"

namespace lamina::cpu::LM_ISA {

constexpr int kGroupBlocks = 16;

#if defined(__AVX512F__)
typedef uint64_t Words __attribute__((vector_size(64)));
[[gnu::always_inline]] inline Words multiply_low(Words a, Words b) {
  return Words(_mm512_mul_epu32(__m512i(a), __m512i(b)));
}
#elif defined(__AVX2__)
typedef uint64_t Words __attribute__((vector_size(32)));
[[gnu::always_inline]] inline Words multiply_low(Words a, Words b) {
  return Words(_mm256_mul_epu32(__m256i(a), __m256i(b)));
}
#else
typedef uint64_t Words __attribute__((vector_size(16)));
[[gnu::always_inline]] inline Words multiply_low(Words a, Words b) {
#if defined(__SSE2__)
  return Words(_mm_mul_epu32(__m128i(a), __m128i(b)));
#else
  return (a & 0xffffffff) * (b & 0xffffffff);
#endif
}
#endif

// word[k][b]: word k of block 16 * group + b.
struct PhiloxGroup {
  alignas(64) uint32_t word[4][kGroupBlocks];

  [[gnu::always_inline]] inline PhiloxGroup(Philox philox, int64_t group) {
    constexpr int kLanes = sizeof(Words) / 8;
    const Words multiply0 = Words{} + Philox::kMultiply0, multiply1 = Words{} + Philox::kMultiply1;
    Words lanes;
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = lane;
    for (int first = 0; first < kGroupBlocks; first += kLanes) {
      const Words index = lanes + (philox.offset + uint64_t(group) * kGroupBlocks + first);
      Words c0 = index, c1 = index >> 32, c2{}, c3{};
      uint32_t k0 = uint32_t(philox.seed), k1 = uint32_t(philox.seed >> 32);
      for (int round = 0; round < 10; ++round, k0 += Philox::kKey0, k1 += Philox::kKey1) {
        const Words a = multiply_low(c0, multiply0), b = multiply_low(c2, multiply1);
        c0 = (b >> 32) ^ c1 ^ (Words{} + k0);
        c2 = (a >> 32) ^ c3 ^ (Words{} + k1);
        c1 = b;
        c3 = a;
      }
      typedef uint32_t Half __attribute__((vector_size(sizeof(Words) / 2)));
      const Words result[4] = {c0, c1, c2, c3};
      for (int k = 0; k < 4; ++k) {
        const Half low = __builtin_convertvector(result[k], Half);
        __builtin_memcpy(&word[k][first], &low, sizeof(low));
      }
    }
  }

  // The 64-bit number made of words 2 k and 2 k + 1 of block b.
  [[gnu::always_inline]] inline uint64_t wide(int k, int b) const {
    return uint64_t(word[2 * k + 1][b]) << 32 | word[2 * k][b];
  }
};

}  // namespace lamina::cpu::LM_ISA
