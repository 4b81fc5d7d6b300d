// The counter-based generator Philox4x32-10: block i of a stream is a function of (seed, i) alone. No other includes,
// so that kernels of every device use it. Next: rng.h (who hands out ranges of counters), kernel/random.h (fills).
#pragma once
#include <cstdint>

namespace lamina {

// Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011: ten rounds of two 32 x 32 -> 64
// bit products; the key advances by the golden ratio and by sqrt(3) - 1.
struct Philox {
  static constexpr uint32_t kMultiply0 = 0xD2511F53, kMultiply1 = 0xCD9E8D57;
  static constexpr uint32_t kKey0 = 0x9E3779B9, kKey1 = 0xBB67AE85;

  struct Block {
    uint32_t word[4];
    bool operator==(const Block&) const = default;
  };

  uint64_t seed = 0, offset = 0;  // offset counts blocks
  // In device memory, in what a captured graph draws (core/capture.h): `offset` counts from there.
  const Philox* base = nullptr;
  [[gnu::always_inline]] constexpr Philox resolved() const {
    return base ? Philox{base->seed, base->offset + offset, nullptr} : *this;
  }

  [[gnu::always_inline]] static constexpr Block rounds(Block c, uint64_t key) {
    uint32_t k0 = uint32_t(key), k1 = uint32_t(key >> 32);
    for (int round = 0; round < 10; ++round, k0 += kKey0, k1 += kKey1) {
      const uint64_t a = uint64_t{kMultiply0} * c.word[0], b = uint64_t{kMultiply1} * c.word[2];
      c = {{uint32_t(b >> 32) ^ c.word[1] ^ k0, uint32_t(b), uint32_t(a >> 32) ^ c.word[3] ^ k1, uint32_t(a)}};
    }
    return c;
  }

  [[gnu::always_inline]] constexpr Block operator()(uint64_t index) const {
    const uint64_t i = offset + index;
    return rounds({{uint32_t(i), uint32_t(i >> 32), 0, 0}}, seed);
  }
};

}  // namespace lamina
