// Random numbers. The one idea: a counter-based generator (Philox) has no state to advance; value i of a fill is a
// function of (seed, offset, i) alone. So a fill may be cut among any number of threads, or run on another device, and
// give the same stream; a Generator only hands out ranges of counters.
#pragma once
#include <array>
#include <cstdint>
#include <mutex>

namespace lamina {

// Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
// Ten rounds of two 32 x 32 -> 64 bit products; the key advances by the golden ratio and sqrt(3) - 1.
struct Philox {
  using Block = std::array<uint32_t, 4>;

  static constexpr Block block(Block counter, std::array<uint32_t, 2> key) {
    for (int round = 0; round < 10; ++round) {
      const uint64_t a = uint64_t{0xD2511F53} * counter[0], b = uint64_t{0xCD9E8D57} * counter[2];
      counter = {uint32_t(b >> 32) ^ counter[1] ^ key[0], uint32_t(b), uint32_t(a >> 32) ^ counter[3] ^ key[1],
                 uint32_t(a)};
      key = {key[0] + 0x9E3779B9, key[1] + 0xBB67AE85};
    }
    return counter;
  }

  uint64_t seed = 0, offset = 0;  // offset in blocks
  constexpr Block operator()(uint64_t index) const {
    const uint64_t i = offset + index;
    return block({uint32_t(i), uint32_t(i >> 32), 0, 0}, {uint32_t(seed), uint32_t(seed >> 32)});
  }
};

class Generator {
 public:
  static constexpr uint64_t kDefaultSeed = 67280421310721;
  explicit Generator(uint64_t seed = kDefaultSeed) : state_{seed, 0} {}

  void manual_seed(uint64_t seed) { set_state({seed, 0}); }
  uint64_t seed();  // a fresh seed from the system, which is also returned
  uint64_t initial_seed() const { return state().seed; }
  Philox state() const;  // the position in the stream
  void set_state(Philox state);
  Philox take(uint64_t blocks);  // the current position, moving past `blocks` blocks

 private:
  mutable std::mutex mutex_;
  Philox state_;
};

Generator& default_generator();
void manual_seed(uint64_t seed);  // of the default generator

// Fills of n values. T = float or double; bernoulli also uint8_t (for bool).
template <class T>
void fill_uniform(Generator& generator, T* out, int64_t n, T low = 0, T high = 1);  // [low, high)
template <class T>
void fill_normal(Generator& generator, T* out, int64_t n, T mean = 0, T std = 1);
template <class T>
void fill_bernoulli(Generator& generator, T* out, int64_t n, double p);                        // 1 with probability p
void fill_integers(Generator& generator, int64_t* out, int64_t n, int64_t low, int64_t high);  // [low, high)

}  // namespace lamina
