// Tiles of a matrix product: how a block brings (rows, depth) pieces of its operands to shared memory, and how it
// multiplies them. The one idea: an operand is a Source, which says where element (row, k) lies, so products of
// matrices and convolutions share everything else; and a tile keeps the direction in which its source is contiguous,
// so nothing is transposed on the way. Next: product.cuh (the kernel), patch.cuh (the source of a convolution).
#pragma once
#include "cuda/ptx.cuh"

namespace lamina::cuda {

// A matrix operand with any strides: element (row, k) of batch b. `rows` counts m for A, n for B.
template <class T>
struct Strided {
  const T* data;
  int64_t row_step, depth_step, batch_step;
  const int64_t* offsets;  // of each batch, instead of batch_step, or null
  int rows;
  bool wide;  // 16-byte loads are aligned, and whole or outside

  struct Place {
    int64_t offset;
    bool inside;
  };
  LM_DEVICE void select(int batch) { data += offsets ? offsets[batch] : batch * batch_step; }
  LM_DEVICE Place row(int i) const { return {i * row_step, i < rows}; }
  LM_DEVICE Place depth(int k, int end) const { return {k * depth_step, k < end}; }
  // Null outside.
  LM_DEVICE const T* at(const Place& row, const Place& depth) const {
    return row.inside && depth.inside ? data + row.offset + depth.offset : nullptr;
  }
};

// A tile of kRows x kDepth elements in shared memory: rows of k (kAlongK), or rows of rows. 16 bytes more than a row
// keep eight of them in different banks.
template <class T, int kRows_, bool kAlongK_>
struct Tile {
  static constexpr int kRows = kRows_, kWidth = kPack<T>, kDepth = 4 * kWidth;
  static constexpr bool kAlongK = kAlongK_;
  static constexpr int kStep = (kAlongK ? kDepth : kRows) + kWidth, kSize = (kAlongK ? kRows : kDepth) * kStep;
  LM_DEVICE static int at(int row, int k) { return kAlongK ? row * kStep + k : k * kStep + row; }
};

// One thread's share of the copies: kCount packs of 16 bytes a tile, always of the same rows.
template <class T, class Source, class Tile, int kThreads>
struct TileLoader {
  static constexpr int kWidth = Tile::kWidth, kCount = Tile::kRows * 4 / kThreads;
  static constexpr int kAcross = Tile::kAlongK ? 4 : Tile::kRows / kWidth;  // packs in a row of the tile
  static_assert(kCount * kThreads == Tile::kRows * 4 && kThreads % kAcross == 0, "whole packs for every thread");
  Source source;
  int first_row, along, across;  // of the first pack: position in its row, and which row
  typename Source::Place rows[Tile::kAlongK ? kCount : 1];

  LM_DEVICE TileLoader(const Source& source_, int first_row_) : source(source_), first_row(first_row_) {
    along = int(threadIdx.x) % kAcross * kWidth;
    across = int(threadIdx.x) / kAcross;
    if constexpr (Tile::kAlongK) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) rows[i] = source.row(first_row + across + i * (kThreads / kAcross));
    } else {
      rows[0] = source.row(first_row + along);
    }
  }
  // Starts the copies of k0 ... k0 + kDepth; what lies at `end` and behind is zero.
  LM_DEVICE void load(Shared<T> tile, int k0, int end) const {
    if (source.wide) {
      if constexpr (Tile::kAlongK) {
        const auto depth = source.depth(k0 + along, end);
#pragma unroll
        for (int i = 0; i < kCount; ++i) copy<16>(tile, i, 0, source.at(rows[i], depth));
      } else {
#pragma unroll
        for (int i = 0; i < kCount; ++i) copy<16>(tile, i, 0, source.at(rows[0], source.depth(k0 + line(i), end)));
      }
      return;
    }
#pragma unroll 1
    for (int e = 0; e < kWidth; ++e) {
      if constexpr (Tile::kAlongK) {
        const auto depth = source.depth(k0 + along + e, end);
#pragma unroll
        for (int i = 0; i < kCount; ++i) copy<sizeof(T)>(tile, i, e, source.at(rows[i], depth));
      } else {
        const auto row = source.row(first_row + along + e);
#pragma unroll
        for (int i = 0; i < kCount; ++i) copy<sizeof(T)>(tile, i, e, source.at(row, source.depth(k0 + line(i), end)));
      }
    }
  }

 private:
  LM_DEVICE int line(int i) const { return across + i * (kThreads / kAcross); }
  template <int kBytes>
  LM_DEVICE void copy(Shared<T> tile, int i, int e, const T* from) const {
    const auto to = tile + (line(i) * Tile::kStep + along + e);
    if constexpr (kBytes >= 4)
      cp_async<kBytes>(to, from ? from : source.data, from ? kBytes : 0);
    else
      to[0] = from ? *from : T(0.f);
  }
};

// float and double: 16 x 16 threads, each kM x kN elements. A fragment is as many rows as k, whichever lies together.
template <class T_, int kM, int kN>
struct FmaMath {
  using T = T_;
  static constexpr int kRows = 16 * kM, kColumns = 16 * kN, kThreads = 256, kStages = 3, kBlocks = 2;
  static constexpr int V = kPack<T>;
  T sum[kM][kN] = {};

  // A warp is 4 x 8 threads.
  LM_DEVICE static int thread_row() { return int(threadIdx.x) / 8 % 4 + int(threadIdx.x) / 64 * 4; }
  LM_DEVICE static int thread_column() { return int(threadIdx.x) % 8 + int(threadIdx.x) / 32 % 2 * 8; }
  template <bool kAlongK>
  LM_DEVICE static int place(int thread, int i) {
    return kAlongK ? thread + 16 * i : i / V * 16 * V + thread * V + i % V;
  }
  template <class Tile>
  LM_DEVICE static void fragment(Shared<T> tile, int thread, int group, int k, T (&f)[V][V]) {
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const int at = Tile::kAlongK ? Tile::at(place<true>(thread, group * V + i), k)
                                   : Tile::at(place<false>(thread, group * V), k + i);
      const Pack<T, V> pack = shared_cast<Pack<T, V>>(tile + at)[0];
#pragma unroll
      for (int e = 0; e < V; ++e) (Tile::kAlongK ? f[i][e] : f[e][i]) = pack[e];
    }
  }
  template <class TileA, class TileB>
  LM_DEVICE void multiply(Shared<T> a, Shared<T> b) {
    const int y = thread_row(), x = thread_column();
#pragma unroll(sizeof(T) == 8 ? 1 : 4)  // as far as 128 registers go, here and below
    for (int k = 0; k < TileA::kDepth; k += V) {
      T fa[kM / V][V][V];
#pragma unroll
      for (int g = 0; g < kM / V; ++g) fragment<TileA>(a, y, g, k, fa[g]);
#pragma unroll
      for (int g = 0; g < kN / V; ++g) {
        T fb[V][V];
        fragment<TileB>(b, x, g, k, fb);
#pragma unroll
        for (int e = 0; e < V; ++e)
#pragma unroll
          for (int i = 0; i < kM; ++i)
#pragma unroll
            for (int j = 0; j < V; ++j) sum[i][g * V + j] += fa[i / V][i % V][e] * fb[j][e];
      }
    }
  }
  // f(row, column, values) for runs of neighbouring columns.
  template <class TileA, class TileB, class F>
  LM_DEVICE void visit(F f) const {
    constexpr int kRun = TileB::kAlongK ? 1 : V;
#pragma unroll
    for (int i = 0; i < kM; ++i)
#pragma unroll
      for (int j = 0; j < kN; j += kRun) {
        T run[kRun];
#pragma unroll
        for (int e = 0; e < kRun; ++e) run[e] = sum[i][j + e];
        f(place<TileA::kAlongK>(thread_row(), i), place<TileB::kAlongK>(thread_column(), j), run);
      }
  }
};

// f16 and bf16 on the tensor cores: kDown x kAcross warps, each (16 kM) x (16 kN) elements, sums in float.
template <class T_, int kDown, int kAcross, int kM, int kN>
struct MmaMath {
  using T = T_;
  static constexpr int kRows = 16 * kM * kDown, kColumns = 16 * kN * kAcross, kThreads = 32 * kDown * kAcross;
  static constexpr int kStages = 4, kBlocks = 2;
  float sum[kM][2 * kN][4] = {};

  LM_DEVICE static int warp_row() { return int(threadIdx.x) / 32 / kAcross * 16 * kM; }
  LM_DEVICE static int warp_column() { return int(threadIdx.x) / 32 % kAcross * 16 * kN; }
  // Four 8 x 8 matrices: rows 0 and 8, then k 0 and 8, the rows first (A) or k first (B).
  template <class Tile, bool kRowsFirst>
  LM_DEVICE static void fragment(Shared<T> tile, int row, int k, unsigned (&f)[4]) {
    const int lane = int(threadIdx.x) % 32, i = lane % 8, lo = lane / 8 % 2 * 8, hi = lane / 16 * 8;
    row += kRowsFirst ? lo : hi;
    k += kRowsFirst ? hi : lo;
    ldmatrix<4, !Tile::kAlongK>(f, tile + (Tile::kAlongK ? Tile::at(row + i, k) : Tile::at(row, k + i)));
  }
  template <class TileA, class TileB>
  LM_DEVICE void multiply(Shared<T> a, Shared<T> b) {
#pragma unroll 1
    for (int k = 0; k < TileA::kDepth; k += 16) {
      unsigned fa[kM][4];
#pragma unroll
      for (int i = 0; i < kM; ++i) fragment<TileA, true>(a, warp_row() + 16 * i, k, fa[i]);
#pragma unroll
      for (int j = 0; j < kN; ++j) {
        unsigned fb[4];
        fragment<TileB, false>(b, warp_column() + 16 * j, k, fb);
        const unsigned left[2] = {fb[0], fb[1]}, right[2] = {fb[2], fb[3]};
#pragma unroll
        for (int i = 0; i < kM; ++i) {
          mma_m16n8k16<T>(sum[i][2 * j], fa[i], left);
          mma_m16n8k16<T>(sum[i][2 * j + 1], fa[i], right);
        }
      }
    }
  }
  template <class TileA, class TileB, class F>
  LM_DEVICE void visit(F f) const {
    const int g = int(threadIdx.x) % 32 / 4, t = int(threadIdx.x) % 4;
#pragma unroll
    for (int i = 0; i < kM; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int j = 0; j < 2 * kN; ++j) {
          const float run[2] = {sum[i][j][2 * half], sum[i][j][2 * half + 1]};
          f(warp_row() + 16 * i + 8 * half + g, warp_column() + 8 * j + 2 * t, run);
        }
  }
};

}  // namespace lamina::cuda
