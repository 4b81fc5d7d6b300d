// The emulated instructions of cuda/ptx.cuh: tensor-core products against float64, ldmatrix against its layout, and
// copies that are used too early. The fragments are filled here by the tables of the PTX manual, not by cuda/ptx.cuh.
#include "cuda/ptx.cuh"

#include <gtest/gtest.h>

#include "cuda/launch.h"

namespace lamina::cuda {
namespace {

using emulate::Buffer;
using emulate::Fault;

template <class... P, class... A>
std::string fault_of(void (*kernel)(P...), dim3 grid, dim3 block, const A&... args) {
  try {
    launch(kernel, grid, block, 0, Stream{}, args...);
  } catch (const Fault& fault) {
    return fault.what();
  }
  return "no fault";
}

LM_DEVICE unsigned pack(f16 lo, f16 hi) { return lo.bits | unsigned(hi.bits) << 16; }
LM_DEVICE unsigned pack(bf16 lo, bf16 hi) { return lo.bits | unsigned(hi.bits) << 16; }

// C += A B with A (16, 16), B (16, 8), C (16, 8), all row-major.
template <class T>
__global__ void product_16(const T* a, const T* b, float* c) {
  const int g = int(threadIdx.x) / 4, t = int(threadIdx.x) % 4;
  unsigned fa[4], fb[2];
  for (int i = 0; i < 4; ++i) {
    const int row = g + (i & 1) * 8, k = 2 * t + (i >> 1) * 8;
    fa[i] = pack(a[row * 16 + k], a[row * 16 + k + 1]);
  }
  for (int i = 0; i < 2; ++i) fb[i] = pack(b[(2 * t + 8 * i) * 8 + g], b[(2 * t + 8 * i + 1) * 8 + g]);
  float* first = c + g * 8 + 2 * t;
  float fc[4] = {first[0], first[1], first[64], first[65]};
  mma_m16n8k16<T>(fc, fa, fb);
  first[0] = fc[0], first[1] = fc[1], first[64] = fc[2], first[65] = fc[3];
}

// The same with A (16, 8) and B (8, 8) in tf32.
__global__ void product_8(const float* a, const float* b, float* c) {
  const int g = int(threadIdx.x) / 4, t = int(threadIdx.x) % 4;
  const unsigned fa[4] = {to_tf32(a[g * 8 + t]), to_tf32(a[(g + 8) * 8 + t]), to_tf32(a[g * 8 + t + 4]),
                          to_tf32(a[(g + 8) * 8 + t + 4])};
  const unsigned fb[2] = {to_tf32(b[t * 8 + g]), to_tf32(b[(t + 4) * 8 + g])};
  float* first = c + g * 8 + 2 * t;
  float fc[4] = {first[0], first[1], first[64], first[65]};
  mma_m16n8k8_tf32(fc, fa, fb);
  first[0] = fc[0], first[1] = fc[1], first[64] = fc[2], first[65] = fc[3];
}

template <class T>
std::vector<T> random_values(size_t n) {
  std::vector<T> values(n);
  for (T& v : values) v = T(float(std::rand()) / float(RAND_MAX) * 2 - 1);
  return values;
}

template <class T>
void check_product(void (*kernel)(const T*, const T*, float*), int depth, double tolerance) {
  const Buffer<T> a(random_values<T>(16 * depth)), b(random_values<T>(depth * 8));
  const Buffer<float> c(random_values<float>(16 * 8));
  const std::vector<float> before = c.values();
  launch(kernel, 1, 32, 0, Stream{}, static_cast<const T*>(a.data()), static_cast<const T*>(b.data()), c.data());
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j) {
      double sum = before[i * 8 + j];
      for (int k = 0; k < depth; ++k) sum += double(float(a[i * depth + k])) * double(float(b[k * 8 + j]));
      ASSERT_NEAR(c[i * 8 + j], sum, tolerance) << i << ", " << j;
    }
}

TEST(Mma, MatchesFloat64) {
  for (int round = 0; round < 5; ++round) {
    check_product<f16>(product_16<f16>, 16, 1e-6);
    check_product<bf16>(product_16<bf16>, 16, 1e-6);
    check_product<float>(product_8, 8, 8e-3);
  }
  EXPECT_EQ(to_tf32(1.f), 0x3f800000u);
  EXPECT_EQ(std::bit_cast<float>(to_tf32(1.f + 0x1p-11f)), 1.f + 0x1p-10f);
  EXPECT_TRUE(std::isinf(std::bit_cast<float>(to_tf32(INFINITY))));
}

template <int N, bool kTransposed>
__global__ void load_matrices(unsigned* out) {
  LM_SHARED(uint16_t, tile, [32][8]);
  const int lane = int(threadIdx.x);
  for (int j = 0; j < 8; ++j) tile[lane][j] = uint16_t(lane * 8 + j);
  __syncthreads();
  unsigned r[N];
  ldmatrix<N, kTransposed>(r, &tile[lane % (8 * N)][0]);
  for (int i = 0; i < N; ++i) out[lane * N + i] = r[i];
}

template <int N, bool kTransposed>
void check_load() {
  const Buffer<unsigned> out(32 * N);
  launch(load_matrices<N, kTransposed>, 1, 32, 0, Stream{}, out.data());
  for (int lane = 0; lane < 32; ++lane)
    for (int j = 0; j < N; ++j) {
      const int g = lane / 4, t = lane % 4;
      const int lo = kTransposed ? (8 * j + 2 * t) * 8 + g : (8 * j + g) * 8 + 2 * t, hi = lo + (kTransposed ? 8 : 1);
      ASSERT_EQ(out[lane * N + j], unsigned(lo | hi << 16)) << "lane " << lane << " matrix " << j;
    }
}

TEST(Ldmatrix, Layout) {
  check_load<1, false>();
  check_load<2, false>();
  check_load<4, false>();
  check_load<1, true>();
  check_load<2, true>();
  check_load<4, true>();
}

// Two stages of 4 floats per thread; `left` groups may be unfinished when the first stage is used.
template <int kLeft, bool kBarrier>
__global__ void staged(const float* x, float* out, int valid) {
  LM_SHARED(float, tile, [2][4 * 32]);
  const int t = int(threadIdx.x);
  for (int stage = 0; stage < 2; ++stage) {
    cp_async<16>(&tile[stage][4 * t], x + stage * 128 + 4 * t, t == 31 ? valid : 16);
    cp_async_commit();
  }
  cp_async_wait<kLeft>();
  if (kBarrier) __syncthreads();
  for (int i = 0; i < 4; ++i) out[4 * t + i] = tile[0][127 - 4 * t - i];
  cp_async_wait_all();
}
__global__ void never_waited(const float* x) {
  LM_SHARED(float, tile, [32]);
  cp_async<4>(&tile[threadIdx.x], x + threadIdx.x);
}

TEST(CpAsync, ArrivesWhenWaitedFor) {
  const Buffer<float> x(random_values<float>(256)), out(128);
  const float* const source = x.data();
  launch(staged<1, true>, 1, 32, 0, Stream{}, source, out.data(), 16);
  for (int i = 0; i < 128; ++i) ASSERT_EQ(out[i], x[127 - i]);
  launch(staged<0, true>, 1, 32, 0, Stream{}, source, out.data(), 8);
  for (int i = 0; i < 128; ++i) ASSERT_EQ(out[i], i < 2 ? 0.f : x[127 - i]);
  EXPECT_NE(fault_of(staged<2, true>, 1, 32, source, out.data(), 16).find("used before the copy was waited for"),
            std::string::npos);
  EXPECT_NE(fault_of(staged<1, false>, 1, 32, source, out.data(), 16), "no fault");
  EXPECT_NE(fault_of(never_waited, 1, 32, source).find("never waited for"), std::string::npos);
}

}  // namespace
}  // namespace lamina::cuda
