// The loops of reductions on the device. The one idea: one result belongs to a group of threads (a few lanes, a warp or
// a block), and where there are few results their elements are split into pieces whose states a second kernel merges
// in order; sizes alone decide, so results are the same in every run. Next: reduce_states.cuh, reduce.cu.
#pragma once
#include "cuda/kernels/block.cuh"
#include "cuda/kernels/nest.cuh"
#include "cuda/kernels/reduce_states.cuh"

namespace lamina::cuda {

constexpr int kReduceBlock = 256;
// Blocks per multiprocessor: what the compiler aims at by itself spills registers.
template <class R>
constexpr int kReduceBlocks = sizeof(typename R::T) == 8 ? 2 : 3;

// One element as a pack.
template <class R>
LM_DEVICE void add_one(const ReduceArgs& args, typename R::State& s, typename R::T x, int64_t at) {
  Pack<typename R::T, 1> pack[1];
  pack[0][0] = x;
  R::add(args, s, pack, at, 0);
}

// n adjacent elements, the first at position `first`, by `width` threads of which this is `lane`: 16 bytes a load, up
// to four in flight.
template <class R>
LM_DEVICE void add_run(const ReduceArgs& args, typename R::State& s, const typename R::T* x, int64_t n, int64_t first,
                       int lane, int width) {
  using T = typename R::T;
  constexpr int N = kPack<T>, U = sizeof(T) == 1 ? 2 : 4;
  const int64_t skew = int64_t(reinterpret_cast<uintptr_t>(x) % 16 / sizeof(T));
  const int64_t head = skew == 0 ? 0 : (N - skew < n ? N - skew : n);
  if (n < N || head > 0)
    for (int64_t i = lane; i < (n < N ? n : head); i += width) add_one<R>(args, s, x[i], first + i);
  if (n < N) return;
  const int64_t packs = (n - head) / N;
  const T* body = x + head;
  int64_t i = lane;
  for (; i + (U - 1) * width < packs; i += U * width) {
    Pack<T, N> loaded[U];
#pragma unroll
    for (int u = 0; u < U; ++u) loaded[u] = load_pack<N>(body + (i + u * width) * N);
    R::add(args, s, loaded, first + head + i * N, int64_t(width) * N);
  }
  for (; i < packs; i += width) {
    Pack<T, N> loaded[1];
    loaded[0] = load_pack<N>(body + i * N);
    R::add(args, s, loaded, first + head + i * N, 0);
  }
  for (int64_t k = head + packs * N + lane; k < n; k += width) add_one<R>(args, s, x[k], first + k);
}

// Results whose elements lie side by side. Group g of `width` threads (a power of two up to 32, or the block) takes
// piece g / results of result g % results; a piece is `step` elements. With states, [pieces][results], the states are
// left there.
template <class R>
__global__ void __launch_bounds__(kReduceBlock, kReduceBlocks<R>)
    reduce_rows_kernel(const ReduceArgs args, int width, int64_t pieces, int64_t step, typename R::State* states) {
  using State = typename R::State;
  LM_SHARED(State, scratch, [32]);
  const int lane = int(threadIdx.x) % width;
  const int64_t group = int64_t(blockIdx.x) * (kReduceBlock / width) + int(threadIdx.x) / width;
  const int64_t results = args.kept.total;
  int64_t result = 0;
  const int64_t piece = divide(group, results, result);
  State s = R::init(args);
  if (piece < pieces) {
    const auto* x = static_cast<const typename R::T*>(args.x) + offset_of(args.kept, result);
    const Loops& reduced = args.reduced;
    const int64_t from = piece * step, end = from + step < reduced.total ? from + step : reduced.total;
    if (reduced.n <= 1) {
      add_run<R>(args, s, x + from, end - from, from, lane, width);
    } else if (const int64_t run = reduced.size[reduced.n - 1]; run >= 4 * width) {
      for (int64_t i = from; i < end;) {
        int64_t at;
        divide(i, run, at);
        const int64_t n = run - at < end - i ? run - at : end - i;
        add_run<R>(args, s, x + offset_of(reduced, i), n, i, lane, width);
        i += n;
      }
    } else {
      for (int64_t i = from + lane; i < end; i += width) add_one<R>(args, s, x[offset_of(reduced, i)], i);
    }
  }
  const auto join = [&](State a, const State& b) {
    R::merge(args, a, b);
    return a;
  };
  if (width == kReduceBlock) {
    s = block_reduce(s, R::init(args), join, Shared<State>(scratch));
  } else {
    for (int mask = width / 2; mask > 0; mask /= 2) s = join(s, shuffle_xor(s, mask));
  }
  if (lane != 0 || piece >= pieces) return;
  if (states)
    states[group] = s;
  else
    R::finish(args, s, result);
}

// Merges s over the threads of a block that stand in the same column of `width` threads; thread < width gets it.
template <class R>
LM_DEVICE typename R::State merge_down(const ReduceArgs& args, typename R::State s, int width,
                                       Shared<typename R::State> scratch) {
  using State = typename R::State;
  const int thread = int(threadIdx.x);
  scratch[thread] = s;
  for (int half = kReduceBlock / 2; half >= width; half /= 2) {
    __syncthreads();
    if (thread < half) {
      const State other = scratch[thread + half];
      R::merge(args, s, other);
      scratch[thread] = s;
    }
  }
  return s;
}

// Results that lie side by side, `width` (a power of two up to 32) to a block; the block's other direction is the
// elements. Its number counts pieces, then tiles of columns, then the outer kept positions.
template <class R>
__global__ void __launch_bounds__(kReduceBlock, kReduceBlocks<R>)
    reduce_columns_kernel(const ReduceArgs args, int width, int64_t columns, int64_t tiles, int64_t pieces,
                          int64_t step, typename R::State* states) {
  using T = typename R::T;
  using State = typename R::State;
  constexpr int U = 8;
  LM_SHARED(State, scratch, [kReduceBlock]);
  int64_t piece, tile;
  const int64_t outer = divide(divide(int64_t(blockIdx.x), pieces, piece), tiles, tile);
  const int64_t column = tile * width + int(threadIdx.x) % width, result = outer * columns + column;
  const int row = int(threadIdx.x) / width, rows = kReduceBlock / width;
  const Loops& reduced = args.reduced;
  const int64_t end = (piece + 1) * step < reduced.total ? (piece + 1) * step : reduced.total;
  State s = R::init(args);
  if (column < columns) {
    const T* x = static_cast<const T*>(args.x) + offset_of(args.kept, result);
    const bool flat = reduced.n == 1;
    const int64_t stride = reduced.n ? reduced.stride[0] : 0;
    int64_t i = piece * step + row;
    for (; i + (U - 1) * rows < end; i += U * rows) {
      Pack<T, 1> loaded[U];
#pragma unroll
      for (int u = 0; u < U; ++u) {
        const int64_t at = i + u * rows;
        loaded[u][0] = x[flat ? at * stride : offset_of(reduced, at)];
      }
      R::add(args, s, loaded, i, int64_t(rows));
    }
    for (; i < end; i += rows) add_one<R>(args, s, x[offset_of(reduced, i)], i);
  }
  s = merge_down<R>(args, s, width, scratch);
  if (int(threadIdx.x) >= width || column >= columns) return;
  if (states)
    states[piece * args.kept.total + result] = s;
  else
    R::finish(args, s, result);
}

// Merges states [pieces][results], `width` results to a block.
template <class R>
__global__ void __launch_bounds__(kReduceBlock, kReduceBlocks<R>)
    reduce_finish_kernel(const ReduceArgs args, int width, int64_t pieces, const typename R::State* states) {
  using State = typename R::State;
  LM_SHARED(State, scratch, [kReduceBlock]);
  const int64_t result = int64_t(blockIdx.x) * width + int(threadIdx.x) % width, results = args.kept.total;
  State s = R::init(args);
  if (result < results)
    for (int64_t piece = int(threadIdx.x) / width; piece < pieces; piece += kReduceBlock / width)
      R::merge(args, s, states[piece * results + result]);
  s = merge_down<R>(args, s, width, scratch);
  if (int(threadIdx.x) < width && result < results) R::finish(args, s, result);
}

}  // namespace lamina::cuda
