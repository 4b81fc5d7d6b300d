#include "core/rng.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <random>

#include "core/errors.h"
#include "core/pool.h"

namespace lamina {
namespace {

constexpr int64_t kGrain = 2048;  // blocks a chunk

// Calls write(values, first, count) with the `per_block` values that `make` draws from each Philox block. Which values
// a block yields depends on its index only, and the last block may be used in part.
template <int per_block, class T, class Make>
void fill(Generator& generator, T* out, int64_t n, Make make) {
  const int64_t blocks = chunk_count(n, per_block);
  const Philox philox = generator.take(blocks);
  parallel_for(chunk_count(blocks, kGrain), [&](int64_t chunk) {
    const int64_t end = std::min(blocks, (chunk + 1) * kGrain);
    for (int64_t b = chunk * kGrain; b < end; ++b) {
      T values[per_block];
      make(philox(b), values);
      std::copy_n(values, std::min<int64_t>(per_block, n - b * per_block), out + b * per_block);
    }
  });
}

uint64_t bits64(const Philox::Block& block, int k) { return uint64_t(block[2 * k + 1]) << 32 | block[2 * k]; }

}  // namespace

uint64_t Generator::seed() {
  std::random_device device;
  const uint64_t fresh = uint64_t(device()) << 32 | device();
  manual_seed(fresh);
  return fresh;
}

Philox Generator::state() const {
  std::lock_guard lock(mutex_);
  return state_;
}

void Generator::set_state(Philox state) {
  std::lock_guard lock(mutex_);
  state_ = state;
}

Philox Generator::take(uint64_t blocks) {
  std::lock_guard lock(mutex_);
  const Philox now = state_;
  state_.offset += blocks;
  return now;
}

Generator& default_generator() {
  static Generator generator;
  return generator;
}

void manual_seed(uint64_t seed) { default_generator().manual_seed(seed); }

template <class T>
void fill_uniform(Generator& generator, T* out, int64_t n, T low, T high) {
  // low + u * (high - low) may round up to high, which does not belong to the interval.
  const T scale = high - low, last = std::max(low, std::nextafter(high, low));
  if constexpr (sizeof(T) == 4) {
    fill<4>(generator, out, n, [=](const Philox::Block& block, T* values) {
      for (int k = 0; k < 4; ++k) values[k] = std::min(low + T(block[k] >> 8) * T(0x1p-24) * scale, last);
    });
  } else {
    fill<2>(generator, out, n, [=](const Philox::Block& block, T* values) {
      for (int k = 0; k < 2; ++k) values[k] = std::min(low + T(bits64(block, k) >> 11) * T(0x1p-53) * scale, last);
    });
  }
}

// Box, Muller, "A note on the generation of random normal deviates", 1958: for u in (0, 1] and v in [0, 1),
// sqrt(-2 ln u) (cos 2 pi v, sin 2 pi v) are two independent normal numbers.
template <class T>
void fill_normal(Generator& generator, T* out, int64_t n, T mean, T std) {
  const auto pair = [=](T u, T v, T* values) {
    const T radius = std * std::sqrt(T(-2) * std::log(u)), angle = 2 * std::numbers::pi_v<T> * v;
    values[0] = mean + radius * std::cos(angle);
    values[1] = mean + radius * std::sin(angle);
  };
  if constexpr (sizeof(T) == 4) {
    fill<4>(generator, out, n, [=](const Philox::Block& block, T* values) {
      for (int k = 0; k < 4; k += 2)
        pair(T(block[k]) * T(0x1p-32) + T(0x1p-33), T(block[k + 1] >> 8) * T(0x1p-24), values + k);
    });
  } else {
    fill<2>(generator, out, n, [=](const Philox::Block& block, T* values) {
      pair(T((bits64(block, 0) >> 11) + 1) * T(0x1p-53), T(bits64(block, 1) >> 11) * T(0x1p-53), values);
    });
  }
}

template <class T>
void fill_bernoulli(Generator& generator, T* out, int64_t n, double p) {
  LM_CHECK(p >= 0 && p <= 1, ValueError, "bernoulli: p is ", p, "; need 0 <= p <= 1");
  const uint64_t threshold = std::llround(p * 0x1p32);
  fill<4>(generator, out, n, [=](const Philox::Block& block, T* values) {
    for (int k = 0; k < 4; ++k) values[k] = T(block[k] < threshold);
  });
}

void fill_integers(Generator& generator, int64_t* out, int64_t n, int64_t low, int64_t high) {
  LM_CHECK(low < high, ValueError, "randint: low is ", low, ", high is ", high, "; need low < high");
  // The high half of (64 random bits) * range: uniform up to range / 2^64.
  const uint64_t range = uint64_t(high) - uint64_t(low);
  fill<2>(generator, out, n, [=](const Philox::Block& block, int64_t* values) {
    for (int k = 0; k < 2; ++k) {
      const auto product = static_cast<unsigned __int128>(bits64(block, k)) * range;
      values[k] = int64_t(uint64_t(low) + uint64_t(product >> 64));
    }
  });
}

template void fill_uniform(Generator&, float*, int64_t, float, float);
template void fill_uniform(Generator&, double*, int64_t, double, double);
template void fill_normal(Generator&, float*, int64_t, float, float);
template void fill_normal(Generator&, double*, int64_t, double, double);
template void fill_bernoulli(Generator&, float*, int64_t, double);
template void fill_bernoulli(Generator&, double*, int64_t, double);
template void fill_bernoulli(Generator&, uint8_t*, int64_t, double);

}  // namespace lamina
