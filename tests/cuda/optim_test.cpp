// Optimizer steps of many parameters in the emulator against the CPU.
#include "kernel/optim.h"

#include "compare.h"

namespace lamina {
namespace {

// Parameters of several sizes, some at odd addresses; `many`: more than fit the small table and, once, the large one.
template <class T>
struct Parameters {
  std::vector<Buffer<T>> columns[kOptimColumns];
  std::vector<Buffer<float>> counters;
  std::vector<OptimArray> arrays;

  Parameters(DType dtype, bool many, const bool (&present)[kOptimColumns], bool counted) {
    std::mt19937 engine(3);
    std::uniform_real_distribution<double> draw(0.1, 1);
    const std::vector<int64_t> few{0, 1, 7, 8192, 8193, 20000, 0},
        sizes = many ? std::vector<int64_t>(dtype == DType::F32 && !counted && !present[2] ? 490 : 40, 5) : few;
    for (size_t i = 0; i < sizes.size(); ++i) {
      const int64_t shift = i % 3 == 2;
      OptimArray a{dtype, i % 2 == 0, sizes[i], {}, nullptr};
      for (int c = 0; c < kOptimColumns; ++c) {
        if (!present[c]) continue;
        columns[c].emplace_back(size_t(sizes[i] + shift));
        // RMSprop's average of squares (column 2) stays above the square of its average (column 3), as in a real run:
        // otherwise their difference has no digits to compare.
        for (T& x : columns[c].back()) x = T(float(draw(engine) + (c == 2 ? 2 : 0)));
        a.data[c] = columns[c].back().data() + shift;
      }
      if (counted) {
        counters.emplace_back(1);
        counters.back()[0] = float(i % 4);
        a.counter = counters.back().data();
      }
      arrays.push_back(a);
    }
  }
};

template <class T, class Step, class Job, class Cuda>
void compare(DType dtype, const Step& step, const bool (&present)[kOptimColumns], bool counted, const Job& on_cpu,
             Cuda on_cuda) {
  for (bool many : {false, true}) {
    const Parameters<T> x(dtype, many, present, counted), expected(dtype, many, present, counted);
    const auto half = dtype == DType::F16 || dtype == DType::BF16;
    for (int times = 0; times < 2; ++times) {
      on_cuda(Stream{}, step, x.arrays.data(), int64_t(x.arrays.size()));
      on_cpu(Stream{}, step, expected.arrays.data(), int64_t(expected.arrays.size()));
    }
    for (size_t i = 0; i < x.counters.size(); ++i) ASSERT_EQ(x.counters[i][0], expected.counters[i][0]);
    for (int c = 0; c < kOptimColumns; ++c)
      for (size_t i = 0; i < x.columns[c].size(); ++i)
        expect_close(x.columns[c][i], expected.columns[c][i], 1, half ? 2e5 : 64);
  }
}

template <class F>
void every_dtype(F&& f) {
  f.template operator()<float>(DType::F32);
  f.template operator()<double>(DType::F64);
  f.template operator()<f16>(DType::F16);
  f.template operator()<bf16>(DType::BF16);
}

TEST(Optim, Sgd) {
  every_dtype([]<class T>(DType dtype) {
    compare<T>(dtype, SgdStep{0.1, 0, 0, 0, false, false}, {true, true}, false, kernel::sgd_update, cuda::sgd_update);
    for (bool nesterov : {false, true})
      compare<T>(dtype, SgdStep{0.1, 0.9, nesterov ? 0 : 0.2, 0.01, nesterov, !nesterov}, {true, true, true}, false,
                 kernel::sgd_update, cuda::sgd_update);
  });
}

TEST(Optim, Adam) {
  every_dtype([]<class T>(DType dtype) {
    for (bool decoupled : {false, true})
      for (bool largest : {false, true})
        compare<T>(dtype, AdamStep{0.01, 0.9, 0.99, 1e-3, largest ? 0 : 0.1, decoupled, decoupled},
                   {true, true, true, true, largest}, true, kernel::adam_update, cuda::adam_update);
  });
}

TEST(Optim, Rmsprop) {
  every_dtype([]<class T>(DType dtype) {
    for (bool centered : {false, true})
      for (bool momentum : {false, true})
        compare<T>(dtype, RmspropStep{0.01, 0.9, 1e-2, centered ? 0.1 : 0, momentum ? 0.5 : 0, momentum},
                   {true, true, true, centered, momentum}, true, kernel::rmsprop_update, cuda::rmsprop_update);
  });
}

}  // namespace
}  // namespace lamina
