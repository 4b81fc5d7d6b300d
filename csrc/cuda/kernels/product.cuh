// C = alpha A B + beta C + bias by tiles, for any sources of A and B and any layout of C (tile.cuh). Long sums with few
// tiles are cut along k: each part goes to a workspace, and a second kernel adds the parts in order.
#pragma once
#include "cuda/kernels/tile.cuh"

namespace lamina::cuda {

// How a product is cut. Parts of k are multiples of every tile's depth.
struct ProductShape {
  int m, n, k, batch;
  int parts, part_depth;
};

// Element (i, j) of a plain matrix.
struct MatrixLayout {
  int64_t row_step, column_step;
  LM_DEVICE int64_t row(int i) const { return i * row_step; }
  LM_DEVICE int64_t column(int j) const { return j * column_step; }
};

// Where sums go, and what happens to them on the way.
template <class T, class Layout>
struct Output {
  using Sum = Compute<T>;
  T* c;
  Layout layout;
  int64_t batch_step;
  Sum alpha, beta;
  const T* bias;
  int64_t bias_batch_step;
  bool bias_per_row, relu;
  bool wide;     // runs of neighbouring columns are aligned to their size
  Sum* partial;  // (parts, batch, m, n), or null

  LM_DEVICE T finish(Sum sum, int batch, int i, int j, int64_t at) const {
    sum *= alpha;
    if (beta != Sum(0)) sum += beta * Sum(c[at]);
    if (bias) sum += Sum(bias[batch * bias_batch_step + (bias_per_row ? i : j)]);
    return T(relu && sum < Sum(0) ? Sum(0) : sum);
  }
  template <int N>
  LM_DEVICE void store(const ProductShape& shape, int part, int batch, int i, int j, const Sum (&run)[N]) const {
    if (i >= shape.m) return;
    if (partial) {
      Sum* to = partial + ((int64_t(part) * shape.batch + batch) * shape.m + i) * shape.n + j;
#pragma unroll
      for (int e = 0; e < N; ++e)
        if (j + e < shape.n) to[e] = run[e];
      return;
    }
    const int64_t row = batch * batch_step + layout.row(i);
    if (N > 1 && wide && j + N <= shape.n) {
      const int64_t at = row + layout.column(j);
      Pack<T, N> pack;
#pragma unroll
      for (int e = 0; e < N; ++e) pack[e] = finish(run[e], batch, i, j + e, at + e);
      store_pack(c + at, pack);
      return;
    }
#pragma unroll
    for (int e = 0; e < N; ++e)
      if (j + e < shape.n) {
        const int64_t at = row + layout.column(j + e);
        c[at] = finish(run[e], batch, i, j + e, at);
      }
  }
};

template <class Math, class A, class B, bool kAAlongK, bool kBAlongK>
struct Product {
  using T = typename Math::T;
  using TileA = Tile<T, Math::kRows, kAAlongK>;
  using TileB = Tile<T, Math::kColumns, kBAlongK>;
  static constexpr int kStage = TileA::kSize + TileB::kSize;
  static constexpr int kSharedBytes = Math::kStages * kStage * int(sizeof(T));
};

// A block computes one tile of C of one part of one batch. Bands of 8 tile rows run column by column, so that blocks
// that run together share their operands in the L2 cache.
template <class Math, class A, class B, bool kAAlongK, bool kBAlongK, class Out>
__global__ void __launch_bounds__(Math::kThreads, Math::kBlocks) product_kernel(ProductShape shape, A a, B b, Out out) {
  using P = Product<Math, A, B, kAAlongK, kBAlongK>;
  using T = typename Math::T;
  using TileA = typename P::TileA;
  using TileB = typename P::TileB;
  constexpr int kStages = Math::kStages, kDepth = TileA::kDepth, kBand = 8;
  LM_SHARED_DYNAMIC(T, shared);

  const unsigned down = unsigned(shape.m + Math::kRows - 1) / Math::kRows;
  const unsigned across = unsigned(shape.n + Math::kColumns - 1) / Math::kColumns;
  const unsigned tile = blockIdx.x % (down * across), rest = blockIdx.x / (down * across);
  const int part = int(rest % unsigned(shape.parts)), batch = int(rest / unsigned(shape.parts));
  const unsigned band = tile / (kBand * across), height = min(unsigned(kBand), down - band * kBand);
  const unsigned in_band = tile - band * kBand * across;
  const int row0 = int(band * kBand + in_band % height) * Math::kRows, column0 = int(in_band / height) * Math::kColumns;

  const int begin = part * shape.part_depth, end = min(shape.k, begin + shape.part_depth);
  const int steps = (end - begin + kDepth - 1) / kDepth;
  a.select(batch);
  b.select(batch);
  const TileLoader<T, A, TileA, Math::kThreads> load_a(a, row0);
  const TileLoader<T, B, TileB, Math::kThreads> load_b(b, column0);
  const auto load = [&](int step) {
    if (step < steps) {
      const int at = step % kStages * P::kStage, k = begin + step * kDepth;
      load_a.load(shared_slice(shared, at, TileA::kSize), k, end);
      load_b.load(shared_slice(shared, at + TileA::kSize, TileB::kSize), k, end);
    }
    cp_async_commit();  // an empty group too: the count of the wait stays right
  };
#pragma unroll 1
  for (int step = 0; step < kStages - 1; ++step) load(step);
  Math math;
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<kStages - 2>();
    __syncthreads();  // the step's tiles are here, and nobody reads those of the step before any more
    load(step + kStages - 1);
    const int at = step % kStages * P::kStage;
    math.template multiply<TileA, TileB>(shared_slice(shared, at, TileA::kSize),
                                         shared_slice(shared, at + TileA::kSize, TileB::kSize));
  }
  cp_async_wait_all();
  math.template visit<TileA, TileB>(
      [&](int i, int j, const auto& run) { out.store(shape, part, batch, row0 + i, column0 + j, run); });
}

// Adds the parts of every element in order.
template <class Out>
__global__ void __launch_bounds__(256) add_parts_kernel(ProductShape shape, Out out) {
  using Sum = typename Out::Sum;
  const int64_t matrix = int64_t(shape.m) * shape.n, size = shape.batch * matrix;
  const Sum* partial = out.partial;
  out.partial = nullptr;
  for (int64_t at = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; at < size; at += int64_t(gridDim.x) * blockDim.x) {
    Sum sum[1] = {};
#pragma unroll 4
    for (int part = 0; part < shape.parts; ++part) sum[0] += partial[part * size + at];
    const int64_t in = at % matrix;
    out.store(shape, 0, int(at / matrix), int(in / shape.n), int(in % shape.n), sum);
  }
}

}  // namespace lamina::cuda
