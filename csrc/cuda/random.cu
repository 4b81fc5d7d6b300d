// Random fills (kernel/random.h) and dropout (kernel/embedding.h).
#include "kernel/random.h"

#include "cuda/kernels/random.cuh"
#include "cuda/launch.h"
#include "kernel/embedding.h"

namespace lamina::cuda {

namespace {

template <class Make>
void fill(Stream stream, Philox philox, void* out, int64_t n, Make make) {
  using T = typename Make::Result;
  constexpr int64_t kGroupValues = int64_t(kGroupBlocks) * Make::kValues;
  const int64_t blocks = (n + kGroupValues - 1) / kGroupValues * kGroupBlocks;
  launch(random_fill_kernel<Make>, blocks_for(blocks, 256), 256, 0, stream, philox, blocks, static_cast<T*>(out), n,
         make);
}

}  // namespace

void random_uniform(Stream stream, Philox philox, DType dtype, void* out, int64_t n, double low, double high) {
  if (dtype == DType::F32) {
    const float from = float(low), below = __builtin_nextafterf(float(high), from);
    fill(stream, philox, out, n, UniformFloat{from, float(high) - from, below > from ? below : from});
  } else {
    const double below = __builtin_nextafter(high, low);
    fill(stream, philox, out, n, UniformDouble{low, high - low, below > low ? below : low});
  }
}

void random_normal(Stream stream, Philox philox, DType dtype, void* out, int64_t n, double mean, double std) {
  if (dtype == DType::F32)
    fill(stream, philox, out, n, NormalFloat{float(mean), float(std)});
  else
    fill(stream, philox, out, n, NormalDouble{mean, std});
}

void random_bernoulli(Stream stream, Philox philox, uint8_t* out, int64_t n, double p) {
  const uint64_t threshold = uint64_t(p * 0x1p32 + 0.5);
  fill(stream, philox, out, n, Bernoulli{threshold ? uint32_t(threshold - 1) : 0, threshold > 0});
}

void random_integers(Stream stream, Philox philox, int64_t* out, int64_t n, int64_t low, int64_t high) {
  fill(stream, philox, out, n, Integers{low, uint64_t(high) - uint64_t(low)});
}

void dropout_apply(Stream stream, int64_t item, const void* x, void* y, int64_t n, uint32_t threshold, double scale,
                   Philox philox) {
  const int64_t blocks = (n + 4 * kGroupBlocks - 1) / (4 * kGroupBlocks) * kGroupBlocks;
  const auto run = [&]<class T>() {
    launch(dropout_kernel<T>, blocks_for(blocks, 256), 256, 0, stream, philox, blocks, static_cast<const T*>(x),
           static_cast<T*>(y), n, threshold, T(scale));
  };
  item == 4 ? run.template operator()<float>() : run.template operator()<double>();
}

}  // namespace lamina::cuda
