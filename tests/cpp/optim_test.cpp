// The optimizer kernels of every instruction set against the formulas in double, for lengths around a vector's.
#include "cpu/optim_loops.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace lamina {
namespace {

using Arrays = std::vector<std::vector<double>>;  // gradient, parameter, three of state

Arrays start(int n) {
  Arrays a(5, std::vector<double>(n));
  for (int c = 0; c < 5; ++c)
    for (int i = 0; i < n; ++i) a[c][i] = float(c >= 2 ? 0.4 + 0.01 * ((i + c) % 7) : std::sin(1.3 * i + c));
  return a;
}

void sgd(const SgdStep& s, Arrays& a, int i) {
  double d = (s.maximize ? -1 : 1) * a[0][i] + s.weight_decay * a[1][i];
  a[2][i] = s.first ? d : s.momentum * a[2][i] + (1 - s.dampening) * d;
  a[1][i] -= s.lr * (s.nesterov ? d + s.momentum * a[2][i] : a[2][i]);
}

void adam(const AdamStep& s, Arrays& a, int i) {
  double d = (s.maximize ? -1 : 1) * a[0][i] + (s.decoupled ? 0 : s.weight_decay * a[1][i]);
  if (s.decoupled) a[1][i] *= 1 - s.lr * s.weight_decay;
  a[2][i] = s.beta1 * a[2][i] + (1 - s.beta1) * d;
  a[3][i] = s.beta2 * a[3][i] + (1 - s.beta2) * d * d;
  a[4][i] = std::max(a[4][i], a[3][i]);
  a[1][i] -= s.lr * a[2][i] / s.correction1 / (std::sqrt(a[4][i] / s.correction2) + s.eps);
}

void rmsprop(const RmspropStep& s, Arrays& a, int i) {
  double d = (s.maximize ? -1 : 1) * a[0][i] + s.weight_decay * a[1][i];
  a[2][i] = s.alpha * a[2][i] + (1 - s.alpha) * d * d;
  a[3][i] = s.alpha * a[3][i] + (1 - s.alpha) * d;
  a[4][i] = s.momentum * a[4][i] + d / (std::sqrt(std::max(0.0, a[2][i] - a[3][i] * a[3][i])) + s.eps);
  a[1][i] -= s.lr * a[4][i];
}

template <class T, class Step, class Kernel, class Formula>
void compare(DType dtype, const Step& step, Kernel kernel, Formula formula, double tolerance) {
  for (int n : {0, 1, 3, 7, 8, 15, 16, 33, 100}) {
    Arrays expected = start(n);
    std::vector<std::vector<T>> arrays;
    void* data[5];
    for (const auto& column : expected) arrays.emplace_back(column.begin(), column.end());
    for (int c = 0; c < 5; ++c) data[c] = arrays[c].data();
    static T none;  // an empty vector's data() may be null, which would mean "not there"
    for (void*& p : data) p = p ? p : &none;
    kernel(dtype, step, n, data);
    for (int i = 0; i < n; ++i) formula(step, expected, i);
    for (int c = 0; c < 5; ++c)
      for (int i = 0; i < n; ++i) ASSERT_NEAR(arrays[c][i], expected[c][i], tolerance) << "n " << n << " column " << c;
  }
}

template <class Step, class Kernel, class Formula>
void check(const Step& step, const Kernel& kernel, Formula formula) {
  std::vector<decltype(kernel.base)> builds{kernel.base};
#if defined(__x86_64__)
  if (isa() >= Isa::avx2) builds.push_back(kernel.avx2);
  if (isa() >= Isa::avx512) builds.push_back(kernel.avx512);
#endif
  for (auto build : builds) {
    compare<float>(DType::F32, step, build, formula, 2e-6);
    compare<double>(DType::F64, step, build, formula, 1e-14);
  }
}

TEST(Optim, Sgd) {
  check(SgdStep{0.1, 0.9, 0.2, 0.05, false, false, false}, cpu::loop::sgd_step, sgd);
  check(SgdStep{0.1, 0.9, 0.0, 0.0, true, true, false}, cpu::loop::sgd_step, sgd);
  check(SgdStep{0.1, 0.9, 0.2, 0.05, false, false, true}, cpu::loop::sgd_step, sgd);
}

TEST(Optim, Adam) {
  check(AdamStep{0.1, 0.9, 0.99, 1e-3, 0.0, false, false, 0.19, 0.0199}, cpu::loop::adam_step, adam);
  check(AdamStep{0.1, 0.9, 0.99, 1e-3, 0.05, false, true, 0.19, 0.0199}, cpu::loop::adam_step, adam);
  check(AdamStep{0.1, 0.9, 0.99, 1e-3, 0.05, true, false, 0.19, 0.0199}, cpu::loop::adam_step, adam);
}

TEST(Optim, Rmsprop) {
  check(RmspropStep{0.01, 0.9, 1e-2, 0.05, 0.8, false}, cpu::loop::rmsprop_step, rmsprop);
  check(RmspropStep{0.01, 0.9, 1e-2, 0.0, 0.8, true}, cpu::loop::rmsprop_step, rmsprop);
}

}  // namespace
}  // namespace lamina
