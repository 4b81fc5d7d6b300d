// Norms, scaling and clamping of many arrays in the emulator against the CPU.
#include "kernel/clip.h"

#include <limits>

#include "compare.h"

namespace lamina {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// Arrays of several sizes, some at odd addresses; `many`: more than fit the small table, or the large one.
template <class T>
struct Arrays {
  std::vector<Buffer<T>> buffers;
  std::vector<FlatArray> list;

  Arrays(DType dtype, int many = 0) {
    std::mt19937 engine(5);
    std::uniform_real_distribution<double> draw(-1, 1);
    const std::vector<int64_t> sizes =
        many ? std::vector<int64_t>(size_t(many), 3) : std::vector<int64_t>{0, 1, 7, 8192, 8193, 20000, 5, 0};
    for (size_t i = 0; i < sizes.size(); ++i) {
      const int64_t shift = i % 3 == 2;
      buffers.emplace_back(size_t(sizes[i] + shift));
      for (T& x : buffers.back()) x = T(float(draw(engine)));
      list.push_back({dtype, sizes[i], buffers.back().data() + shift});
    }
  }
  int64_t count() const { return int64_t(list.size()); }
};

template <class F>
void every_dtype(F&& f) {
  f.template operator()<float, float>(DType::F32);
  f.template operator()<double, double>(DType::F64);
  f.template operator()<f16, float>(DType::F16);
  f.template operator()<bf16, float>(DType::BF16);
}

template <class C>
void expect_norms(const std::vector<FlatArray>& list, double p, bool nan = false) {
  Buffer<C> got(1), again(1), want(1);
  cuda::norm_of_arrays(Stream{}, p, list.data(), int64_t(list.size()), got.data());
  cuda::norm_of_arrays(Stream{}, p, list.data(), int64_t(list.size()), again.data());
  kernel::norm_of_arrays(Stream{}, p, list.data(), int64_t(list.size()), want.data());
  SCOPED_TRACE(p);
  expect_close(got, want, 1, 8);
  EXPECT_EQ(std::isnan(got[0]), nan);
  EXPECT_EQ(std::memcmp(got.data(), again.data(), sizeof(C)), 0) << got[0] << " " << again[0];
}

TEST(Clip, Norms) {
  every_dtype([]<class T, class C>(DType dtype) {
    const Arrays<T> x(dtype);
    for (double p : {2.0, 1.0, 3.5, kInf, -kInf}) expect_norms<C>(x.list, p);
    for (int many : {40, dtype == DType::F32 ? 1400 : 33}) expect_norms<C>(Arrays<T>(dtype, many).list, 2);
    if (dtype == DType::F32) expect_norms<C>({}, 2);
    for (double p : {2.0, kInf}) expect_norms<C>({x.list[0]}, p);
  });
}

TEST(Clip, NormOfSeveralDtypes) {
  const Arrays<float> x(DType::F32);
  const Arrays<bf16> y(DType::BF16);
  std::vector<FlatArray> list = x.list;
  list.insert(list.begin() + 3, y.list.begin(), y.list.end());
  for (double p : {2.0, kInf}) expect_norms<float>(list, p);
}

TEST(Clip, NanAndInfinity) {
  Arrays<float> x(DType::F32);
  x.buffers[4][8000] = std::numeric_limits<float>::infinity();
  for (double p : {2.0, 1.0, kInf}) expect_norms<float>(x.list, p);
  x.buffers[5][3] = std::numeric_limits<float>::quiet_NaN();
  for (double p : {2.0, kInf, -kInf}) expect_norms<float>(x.list, p, true);
}

template <class T, class OnBoth>
void expect_changed(DType dtype, int many, OnBoth&& change) {
  const Arrays<T> x(dtype, many), want(dtype, many);
  change(x, true);
  change(want, false);
  for (size_t i = 0; i < x.buffers.size(); ++i)
    expect_close(x.buffers[i], want.buffers[i], 1, sizeof(T) == 2 ? 2e5 : 4);
}

TEST(Clip, Scaling) {
  every_dtype([]<class T, class C>(DType dtype) {
    for (DType norm_dtype : {DType::F32, DType::F64})
      for (double norm : {10.0, 0.5, std::nan("")})
        for (int many : {0, 40}) {
          Buffer<float> f(1);
          Buffer<double> d(1);
          f[0] = float(d[0] = norm);
          const void* at = norm_dtype == DType::F64 ? static_cast<void*>(d.data()) : f.data();
          expect_changed<T>(dtype, many, [&](const Arrays<T>& x, bool cuda) {
            if (cuda)
              cuda::scale_arrays(Stream{}, 2, norm_dtype, at, x.list.data(), x.count());
            else
              kernel::scale_arrays(Stream{}, 2, norm_dtype, at, x.list.data(), x.count());
          });
        }
  });
}

TEST(Clip, Clamping) {
  every_dtype([]<class T, class C>(DType dtype) {
    for (int many : {0, 40})
      expect_changed<T>(dtype, many, [&](const Arrays<T>& x, bool cuda) {
        for (const Buffer<T>& buffer : x.buffers)
          if (buffer.size() > 2) buffer[2] = T(std::numeric_limits<float>::quiet_NaN());
        if (cuda)
          cuda::clamp_arrays(Stream{}, -0.25, 0.5, x.list.data(), x.count());
        else
          kernel::clamp_arrays(Stream{}, -0.25, 0.5, x.list.data(), x.count());
      });
  });
}

}  // namespace
}  // namespace lamina
