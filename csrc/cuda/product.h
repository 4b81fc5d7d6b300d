// Launches a product by tiles: chooses the tile, and cuts k where there are too few tiles for the device. Shared by
// gemm.cu and conv.cu. Next: kernels/product.cuh.
#pragma once
#include <optional>
#include <type_traits>

#include "cuda/kernels/product.cuh"
#include "cuda/launch.h"

namespace lamina::cuda {

// Large tiles where they keep the device busy, small ones otherwise. The addresses of an image take registers, so that
// a convolution in float has a tile of half the size.
template <class T>
struct Maths {
  using Large = FmaMath<float, 8, 8>;
  using Image = FmaMath<float, 8, 4>;
  using Small = FmaMath<float, 4, 4>;
};
template <>
struct Maths<double> {
  using Large = FmaMath<double, 8, 4>;
  using Image = Large;
  using Small = FmaMath<double, 4, 4>;
};
template <class T>
  requires(sizeof(T) == 2)
struct Maths<T> {
  using Large = MmaMath<T, 2, 4, 4, 2>;  // 128 x 128
  using Image = Large;
  using Small = MmaMath<T, 2, 2, 2, 2>;  // 64 x 64
};

constexpr int kDepthUnit = 32;  // a multiple of every tile's depth

inline int checked_size(int64_t size, const char* op) {
  LM_CHECK(size < (int64_t(1) << 31) - 256, ValueError, op, ": a dimension of the product is ", size,
           "; need less than 2^31 on CUDA");
  return int(size);
}
inline int tiles_of(int64_t n, int tile) { return int((n + tile - 1) / tile); }

// k in equal parts, so that `blocks` blocks become about two for each multiprocessor, of at least `least` each.
inline void cut_depth(ProductShape& shape, int64_t blocks, int least, Stream stream) {
  const int64_t wanted = 2 * multiprocessors(stream) / std::max<int64_t>(blocks, 1);
  const int64_t parts = std::clamp<int64_t>(std::min<int64_t>(wanted, shape.k / least), 1, 64);
  const int64_t depth = std::max<int64_t>(1, (shape.k + parts - 1) / parts);
  shape.part_depth = int((depth + kDepthUnit - 1) / kDepthUnit * kDepthUnit);
  shape.parts = std::max(1, tiles_of(shape.k, shape.part_depth));
}

// run(out) with a workspace for the parts if there are several, which are added afterwards.
template <class Out, class F>
void with_parts(Stream stream, const ProductShape& shape, Out out, F run) {
  std::optional<Workspace> scratch;
  const int64_t size = int64_t(shape.batch) * shape.m * shape.n;
  if (shape.parts > 1) {
    scratch.emplace(stream, size_t(shape.parts * size) * sizeof(typename Out::Sum));
    out.partial = scratch->as<typename Out::Sum>();
  }
  run(out);
  if (shape.parts > 1)
    launch(add_parts_kernel<Out>, blocks_for(size, 256, multiprocessors(stream) * 8), 256, 0, stream, shape, out);
}

template <class Math, bool kAAlongK, bool kBAlongK, class A, class B, class Out>
void launch_tiles(Stream stream, ProductShape shape, const A& a, const B& b, const Out& out) {
  using P = Product<Math, A, B, kAAlongK, kBAlongK>;
  const int64_t tiles = int64_t(tiles_of(shape.m, Math::kRows)) * tiles_of(shape.n, Math::kColumns) * shape.batch;
  cut_depth(shape, tiles, 256, stream);
  LM_CHECK(tiles * shape.parts <= INT32_MAX, ValueError, "gemm: ", tiles, " tiles of the result; need less than 2^31");
  with_parts(stream, shape, out, [&](const Out& to) {
    launch(product_kernel<Math, A, B, kAAlongK, kBAlongK, Out>, unsigned(tiles * shape.parts), Math::kThreads,
           size_t(P::kSharedBytes), stream, shape, a, b, to);
  });
}

// m, n, k and batch of `shape` are given.
template <class T, bool kAAlongK, bool kBAlongK, class A, class B, class Out>
void launch_product(Stream stream, const ProductShape& shape, const A& a, const B& b, const Out& out) {
  using Large = std::conditional_t<std::is_same_v<A, Strided<T>>, typename Maths<T>::Large, typename Maths<T>::Image>;
  const int64_t large = int64_t(tiles_of(shape.m, Large::kRows)) * tiles_of(shape.n, Large::kColumns) * shape.batch;
  if (large >= multiprocessors(stream))
    launch_tiles<Large, kAAlongK, kBAlongK>(stream, shape, a, b, out);
  else
    launch_tiles<typename Maths<T>::Small, kAAlongK, kBAlongK>(stream, shape, a, b, out);
}

}  // namespace lamina::cuda
