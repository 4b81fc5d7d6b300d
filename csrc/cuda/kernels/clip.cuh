// Norms and changes of many arrays in one launch (arrays.cuh). A norm's chunks leave the states of reduce_states.cuh in
// order, and reduce_finish_kernel merges them: the same sum in every run. What clips reads the norm from device memory,
// so that nobody waits for it and a captured graph replays right.
#pragma once
#include "cuda/kernels/arrays.cuh"
#include "cuda/kernels/reduce.cuh"

namespace lamina::cuda {

struct ClipEntry {
  void* data;
  int64_t n;
  int first_chunk;
  bool aligned;  // to 16 bytes
};

// [begin, end) of the array at hand that is this block's.
struct Chunk {
  const ClipEntry& entry;
  int64_t begin, end;
};
template <class Table>
LM_DEVICE Chunk find_chunk(const Table& table) {
  const int chunk = int(blockIdx.x);
  const ClipEntry& e = table.entry[find_entry(table, chunk)];
  const int64_t begin = (chunk - e.first_chunk) * kArrayChunk;
  return {e, begin, begin + kArrayChunk < e.n ? begin + kArrayChunk : e.n};
}

// f16 and bf16 enter the states as float, 16 bytes at a time.
template <class R, class T>
LM_DEVICE void add_converted(const ReduceArgs& args, typename R::State& s, const T* x, const Chunk& chunk) {
  constexpr int N = kPack<T>;
  int64_t at = chunk.begin;
  if (chunk.entry.aligned)
    for (at += threadIdx.x * N; at + N <= chunk.end; at += kArrayThreads * N) {
      const Pack<T, N> loaded = load_pack<N>(x + at);
      Pack<float, N> wide[1];
#pragma unroll
      for (int k = 0; k < N; ++k) wide[0][k] = float(loaded[k]);
      R::add(args, s, wide, at, 0);
    }
  const int64_t whole = chunk.entry.aligned ? chunk.begin + (chunk.end - chunk.begin) / N * N : chunk.begin;
  for (at = whole + threadIdx.x; at < chunk.end; at += kArrayThreads) add_one<R>(args, s, float(x[at]), at);
}

template <class R, class T, int capacity>
__global__ void __launch_bounds__(kArrayThreads, 2)
    norm_chunks_kernel(const __grid_constant__ ArrayTable<ClipEntry, capacity> table, const ReduceArgs args,
                       typename R::State* states) {
  using State = typename R::State;
  LM_SHARED(State, scratch, [32]);
  const Chunk chunk = find_chunk(table);
  const T* x = static_cast<const T*>(chunk.entry.data);
  State s = R::init(args);
  if constexpr (kSame<T, typename R::T>)
    add_run<R>(args, s, x + chunk.begin, chunk.end - chunk.begin, 0, int(threadIdx.x), kArrayThreads);
  else
    add_converted<R>(args, s, x, chunk);
  const auto join = [&](State a, const State& b) {
    R::merge(args, a, b);
    return a;
  };
  s = block_reduce(s, R::init(args), join, Shared<State>(scratch));
  if (threadIdx.x == 0) states[blockIdx.x] = s;
}

// x = f(x) over a chunk, 16 bytes at a time.
template <class T, class F>
LM_DEVICE void change_chunk(const Chunk& chunk, F f) {
  constexpr int N = kPack<T>;
  T* x = static_cast<T*>(chunk.entry.data);
  int64_t whole = chunk.begin;
  if (chunk.entry.aligned) {
    whole += (chunk.end - chunk.begin) / N * N;
    for (int64_t at = chunk.begin + threadIdx.x * N; at < whole; at += kArrayThreads * N) {
      Pack<T, N> pack = load_pack<N>(x + at);
#pragma unroll
      for (int k = 0; k < N; ++k) pack[k] = T(f(Compute<T>(pack[k])));
      store_pack(x + at, pack);
    }
  }
  for (int64_t at = whole + threadIdx.x; at < chunk.end; at += kArrayThreads) x[at] = T(f(Compute<T>(x[at])));
}

// Times limit / (norm + 1e-6) where that is below 1; a NaN goes on, to all gradients.
template <class T, class Norm, int capacity>
__global__ void __launch_bounds__(kArrayThreads, 2)
    scale_arrays_kernel(const __grid_constant__ ArrayTable<ClipEntry, capacity> table, double limit, const Norm* norm) {
  const Norm factor = Norm(limit) / (*norm + Norm(1e-6));
  if (factor >= Norm(1)) return;
  change_chunk<T>(find_chunk(table), [factor](Compute<T> x) { return x * Compute<T>(factor); });
}

// NaN stays.
template <class T, int capacity>
__global__ void __launch_bounds__(kArrayThreads, 2)
    clamp_arrays_kernel(const __grid_constant__ ArrayTable<ClipEntry, capacity> table, Compute<T> low,
                        Compute<T> high) {
  change_chunk<T>(find_chunk(table), [low, high](Compute<T> x) {
    const Compute<T> v = x < low ? low : x;
    return v > high ? high : v;
  });
}

}  // namespace lamina::cuda
