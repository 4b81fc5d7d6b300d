// The emulator itself: what it computes, and that it finds what it promises to find.
#include <gtest/gtest.h>

#include <cstdio>
#include <ctime>
#include <numeric>

#include "cuda/kernels/block.cuh"
#include "cuda/launch.h"

namespace lamina::cuda {
namespace {

using emulate::Buffer;
using emulate::Fault;

// The text of the fault that launching raises.
template <class... P, class... A>
std::string fault_of(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, const A&... args) {
  try {
    launch(kernel, grid, block, shared, Stream{}, args...);
  } catch (const Fault& fault) {
    return fault.what();
  }
  return "no fault";
}

#define EXPECT_FAULT(TEXT, ...)                                                          \
  do {                                                                                   \
    const std::string fault_text = fault_of(__VA_ARGS__);                                \
    EXPECT_NE(fault_text.find(TEXT), std::string::npos) << fault_text;                   \
    EXPECT_NE(fault_text.find("LAMINA_EMULATE_SEED="), std::string::npos) << fault_text; \
  } while (0)

__global__ void indices(int* out) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] += int(thread + 1000 * block);
}

TEST(Grid, EveryThreadRunsOnce) {
  const dim3 grid(3, 2, 2), block(5, 3, 2);
  Buffer<int> out(std::vector<int>(360));
  launch(indices, grid, block, 0, Stream{}, out.data());
  for (int i = 0; i < 360; ++i) ASSERT_EQ(out[i], i % 30 + 1000 * (i / 30));
  launch(indices, dim3(0, 1), block, 0, Stream{}, static_cast<int*>(nullptr));
  EXPECT_THROW(launch(indices, grid, 1025, 0, Stream{}, out.data()), RuntimeError);
}

// Sum of a block by a tree; kBarrier = false forgets the barrier inside the loop.
template <bool kBarrier>
__global__ void tree_sum(const float* x, float* out) {
  LM_SHARED_DYNAMIC(float, s);
  const int t = int(threadIdx.x);
  s[t] = x[blockIdx.x * blockDim.x + t];
  __syncthreads();
  for (int half = int(blockDim.x) / 2; half > 0; half /= 2) {
    if (t < half) s[t] += s[t + half];
    if (kBarrier) __syncthreads();
  }
  if (t == 0) out[blockIdx.x] = s[0];
}

TEST(Barrier, OrdersSharedMemory) {
  const Buffer<float> x(std::vector<float>(1024, 1.f)), out(4);
  launch(tree_sum<true>, 4, 256, 256 * sizeof(float), Stream{}, x.data(), out.data());
  EXPECT_EQ(out.values(), std::vector<float>(4, 256.f));
  EXPECT_FAULT("race on shared memory 'dynamic'", tree_sum<false>, 4, 256, 256 * sizeof(float), x.data(), out.data());
}

__global__ void overwrite_early(float* out) {
  LM_SHARED(float, s, [32]);
  for (int round = 0; round < 2; ++round) {
    s[threadIdx.x] = float(round + threadIdx.x);
    __syncthreads();
    out[threadIdx.x] = s[31 - threadIdx.x];  // and no barrier before the next round writes
  }
}
__global__ void divergent(int limit) {
  if (int(threadIdx.x) < limit) __syncthreads();
}
__global__ void two_barriers(int limit) {
  if (int(threadIdx.x) < limit)
    __syncthreads();
  else
    __syncthreads();
}
__global__ void votes(int* out) {
  const int t = int(threadIdx.x);
  const int any = __syncthreads_or(t == 77), all = __syncthreads_and(t < 99), count = __syncthreads_count(t % 2);
  if (t == 50) out[0] = any, out[1] = all, out[2] = count;
}

TEST(Barrier, FindsMissingAndDivergentOnes) {
  const Buffer<float> out(32);
  EXPECT_FAULT("without a barrier in between", overwrite_early, 1, 32, 0, out.data());
  EXPECT_FAULT("divergent __syncthreads: of 64 threads 24 returned; 40 wait in __syncthreads at emulate_test.cpp:",
               divergent, 1, 64, 0, 40);
  EXPECT_FAULT("divergent __syncthreads: this thread is at emulate_test.cpp:", two_barriers, 1, 64, 0, 40);
  const Buffer<int> vote(3);
  launch(votes, 1, 100, 0, Stream{}, vote.data());
  EXPECT_EQ(vote.values(), (std::vector<int>{1, 0, 50}));
}

__global__ void warp_sum_in_memory(float* x, bool ordered) {
  LM_SHARED(float, s, [32]);
  const int t = int(threadIdx.x);
  s[t] = x[t];
  for (int half = 16; half > 0; half /= 2) {
    __syncwarp();
    const float other = t < half ? float(s[t + half]) : 0.f;
    if (ordered) __syncwarp();
    s[t] += other;
  }
  x[t] = s[t];
}

TEST(Barrier, OfAWarp) {
  const Buffer<float> x(std::vector<float>(32, 1.f));
  launch(warp_sum_in_memory, 1, 32, 0, Stream{}, x.data(), true);
  EXPECT_EQ(x[0], 32.f);
  EXPECT_FAULT("race", warp_sum_in_memory, 1, 32, 0, x.data(), false);
}

__global__ void shuffles(int* out) {
  const int lane = int(threadIdx.x) % 32, t = int(threadIdx.x);
  const int values[] = {
      __shfl_sync(kFullWarp, t, lane + 1), __shfl_sync(kFullWarp, t, 3, 8),
      __shfl_up_sync(kFullWarp, t, 2),     __shfl_up_sync(kFullWarp, t, 3, 16),
      __shfl_down_sync(kFullWarp, t, 2),   __shfl_down_sync(kFullWarp, t, 5, 8),
      __shfl_xor_sync(kFullWarp, t, 7),    int(__ballot_sync(kFullWarp, lane % 3 == 0)),
      __any_sync(kFullWarp, t == 40),      __all_sync(kFullWarp, t < 40),
      __reduce_add_sync(kFullWarp, t),     int(__match_any_sync(kFullWarp, lane % 2)),
  };
  for (int i = 0; i < 12; ++i) out[12 * t + i] = values[i];
}

TEST(Warp, Operations) {
  const Buffer<int> out(12 * 64);
  launch(shuffles, 1, 64, 0, Stream{}, out.data());
  for (int t = 0; t < 64; ++t) {
    const int lane = t % 32, warp = t - lane;
    const std::vector<int> expected = {
        warp + (lane + 1) % 32,
        warp + lane / 8 * 8 + 3,
        lane < 2 ? t : t - 2,
        lane % 16 < 3 ? t : t - 3,
        lane > 29 ? t : t + 2,
        lane % 8 > 2 ? t : t + 5,
        t ^ 7,
        0x49249249,
        warp == 32,
        warp == 0,
        32 * warp + 496,
        lane % 2 ? int(0xaaaaaaaa) : 0x55555555,
    };
    EXPECT_EQ(std::vector<int>(out.data() + 12 * t, out.data() + 12 * t + 12), expected) << t;
  }
}

__global__ void half_warps(int* out) {  // two groups of lanes, each with its own mask and number of steps
  const int lane = int(threadIdx.x);
  const unsigned mask = lane < 8 ? 0xffu : 0xffffff00u;
  int sum = 0;
  for (int i = 0; i < (lane < 8 ? 5 : 9); ++i) sum += __shfl_sync(mask, lane, lane < 8 ? i : 8 + i);
  out[lane] = sum;
}
__global__ void returned_lane() {
  if (threadIdx.x == 5) return;
  __shfl_xor_sync(kFullWarp, 1, 1);
}
__global__ void different_operations() {
  if (threadIdx.x == 5)
    __any_sync(kFullWarp, 1);
  else
    __all_sync(kFullWarp, 1);
}
__global__ void partial_warp() { __shfl_xor_sync(kFullWarp, 1, 1); }

TEST(Warp, Divergence) {
  const Buffer<int> out(32);
  launch(half_warps, 1, 32, 0, Stream{}, out.data());
  for (int lane = 0; lane < 32; ++lane) EXPECT_EQ(out[lane], lane < 8 ? 10 : 8 * 9 + 36);
  EXPECT_FAULT("deadlock: of 32 threads 1 returned; 31 wait in __shfl_xor_sync at emulate_test.cpp:", returned_lane, 1,
               32, 0);
  EXPECT_FAULT("divergent warp", different_operations, 1, 32, 0);
  EXPECT_FAULT("lanes that do not exist", partial_warp, 1, 20, 0);
}

__global__ void atomics(int* x, unsigned long long* wide, float* f, int* order) {
  LM_SHARED(int, count, [2]);
  if (threadIdx.x < 2) count[threadIdx.x] = 0;
  __syncthreads();
  atomicAdd(&count[threadIdx.x % 2], 1);
  order[atomicAdd(&x[0], 1)] = int(blockIdx.x * blockDim.x + threadIdx.x);
  atomicMax(&x[1], int(threadIdx.x));
  atomicMin(&x[2], -int(threadIdx.x));
  atomicOr(&x[3], 1 << threadIdx.x % 16);
  atomicCAS(&x[4], 0, int(threadIdx.x) + 1);
  atomicAdd(wide, 1ull << 33);
  atomicAdd(f, 0.5f);
  __syncthreads();
  if (threadIdx.x == 0) x[5] = atomicExch(&count[0], 7) + count[1];
}

TEST(Atomics, AndTheScheduleOfASeed) {
  const auto run = [](uint64_t seed) {
    emulate::set_seed(seed);
    const Buffer<int> x(std::vector<int>(6)), order(256);
    const Buffer<unsigned long long> wide(std::vector<unsigned long long>(1));
    const Buffer<float> f(std::vector<float>(1));
    launch(atomics, 2, 128, 0, Stream{}, x.data(), wide.data(), f.data(), order.data());
    EXPECT_EQ(x[0], 256);
    EXPECT_EQ(x[1], 127);
    EXPECT_EQ(x[2], -127);
    EXPECT_EQ(x[3], 0xffff);
    EXPECT_NE(x[4], 0);
    EXPECT_EQ(x[5], 128);
    EXPECT_EQ(wide[0], 256ull << 33);
    EXPECT_EQ(f[0], 128.f);
    return order.values();
  };
  const uint64_t seed = emulate::seed();
  const auto first = run(1);
  EXPECT_EQ(run(1), first);
  EXPECT_NE(run(2), first);
  emulate::set_seed(seed);
}

__global__ void shared_index(int i, int j) {
  LM_SHARED(float, before, [8]);
  LM_SHARED(float, s, [4][8]);
  LM_SHARED(float, after, [8]);
  before[0] = after[0] = 0;
  s[i][j] = 1;
}
__global__ void read_unwritten(float* out, int n) {
  LM_SHARED(float, s, [64]);
  if (int(threadIdx.x) < n) s[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = s[threadIdx.x];
}
__global__ void slices(int i) {
  LM_SHARED_DYNAMIC(float, s);
  Shared<float> a = shared_slice(s, 0, 8), b = shared_slice(s, 8, 8);
  b[0] = 0;
  a[i] = 1;
  Shared<float4> v = shared_cast<float4>(b + (i == 3 ? 1 : 4));
  v[0] = make_float4(1, 2, 3, 4);
}

TEST(Shared, BoundsAndInitialization) {
  EXPECT_EQ(fault_of(shared_index, 1, 1, 0, 3, 7), "no fault");
  EXPECT_FAULT("out of bounds: shared memory 's' at byte 128, 4 bytes", shared_index, 1, 1, 0, 3, 8);
  EXPECT_FAULT("out of bounds: shared memory 's'", shared_index, 1, 1, 0, 1, 8);
  EXPECT_FAULT("out of bounds: shared memory 's'", shared_index, 1, 1, 0, 0, -1);
  EXPECT_FAULT("row 4 of 4", shared_index, 1, 1, 0, 4, 0);
  const Buffer<float> out(64);
  EXPECT_FAULT("thread (63,0,0): uninitialized read: shared memory 's' at byte 252", read_unwritten, 2, 64, 0,
               out.data(), 63);
  EXPECT_EQ(fault_of(slices, 1, 1, 64, 7), "no fault");
  EXPECT_FAULT("out of bounds", slices, 1, 1, 64, 8);
  EXPECT_FAULT("misaligned", slices, 1, 1, 64, 3);
  EXPECT_FAULT("shared_slice", slices, 1, 1, 60, 7);
}

__global__ void global_index(float* x, int64_t i, float v) { x[i] = v; }
[[maybe_unused]] __global__ void misaligned(float* x) { reinterpret_cast<float4*>(x)[0] = make_float4(1, 2, 3, 4); }

TEST(Global, Bounds) {
  const Buffer<float> x(100), y(101);
  launch(global_index, 1, 1, 0, Stream{}, x.data(), 99, 1.f);
#if !defined(__SANITIZE_ADDRESS__)
  EXPECT_FAULT("out of bounds: global memory at address", global_index, 1, 1, 0, x.data(), 100, 1.f);
  EXPECT_FAULT("byte 400 of a buffer of 400", global_index, 1, 1, 0, x.data(), 100, 1.f);
  EXPECT_FAULT("misaligned", misaligned, 1, 1, 0, y.data() + 1);
#endif
  EXPECT_FAULT("out of bounds write at byte 404", global_index, 1, 1, 0, y.data(), 101, 1.f);
}

struct Moments {
  float sum, largest, least;
};
__global__ void reductions(const float* x, Moments* out) {
  LM_SHARED(Moments, scratch, [32]);
  LM_SHARED(double, more, [32]);
  const float v = x[blockIdx.x * blockDim.x + threadIdx.x];
  const auto combine = [](Moments a, Moments b) {
    return Moments{a.sum + b.sum, Max()(a.largest, b.largest), Min()(a.least, b.least)};
  };
  Moments m = block_reduce(Moments{v, v, v}, Moments{0, -INFINITY, INFINITY}, combine, scratch);
  const double sum = block_reduce(double(v), 0.0, Add(), more);
  if (threadIdx.x == 5) m.sum = m.sum == float(sum) ? m.sum : NAN, out[blockIdx.x] = m;
}

TEST(Reduce, OverABlock) {
  for (int threads : {32, 64, 96, 256, 1024}) {
    Buffer<float> x(2 * threads);
    for (int i = 0; i < 2 * threads; ++i) x[i] = float(i * 37 % 101 - 50);
    const Buffer<Moments> out(2);
    launch(reductions, 2, threads, 0, Stream{}, x.data(), out.data());
    for (int b = 0; b < 2; ++b) {
      const float* first = x.data() + b * threads;
      EXPECT_EQ(out[b].sum, std::accumulate(first, first + threads, 0.f));
      EXPECT_EQ(out[b].largest, *std::max_element(first, first + threads));
      EXPECT_EQ(out[b].least, *std::min_element(first, first + threads));
    }
  }
  EXPECT_TRUE(std::isnan(Max()(NAN, 1.f)) && std::isnan(Max()(1.f, NAN)) && std::isnan(Min()(1.f, NAN)));
}

__global__ void ten_barriers(int* out) {
  LM_SHARED(int, s, [256]);
  const int t = int(threadIdx.x);
  s[t] = t;
  for (int i = 0; i < 5; ++i) {
    __syncthreads();
    const int v = s[255 - t];
    __syncthreads();
    s[t] = v + __shfl_xor_sync(kFullWarp, v, 1);
  }
  out[t] = s[t];
}

TEST(Speed, Printed) {
  const Buffer<int> out(256);
  double best = 1e9;
  for (int round = 0; round < 5; ++round) {
    const std::clock_t start = std::clock();
    launch(ten_barriers, 100, 256, 0, Stream{}, out.data());
    best = std::min(best, double(std::clock() - start) / CLOCKS_PER_SEC * 1e6);
  }
  std::printf("a block of 256 threads, 10 barriers, 5 shuffles: %.0f us\n", best / 100);
}

}  // namespace
}  // namespace lamina::cuda
