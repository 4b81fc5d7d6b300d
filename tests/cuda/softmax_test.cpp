// Softmax and cross-entropy in the emulator against the CPU kernels.
#include "kernel/softmax.h"

#include "compare.h"
#include "core/errors.h"
#include "cuda/launch.h"

namespace lamina {
namespace {

struct Around {
  int64_t outer, n, inner;
};
// Every group of threads: part of a warp, a warp's registers, a block's, those of the largest block, longer than any;
// lengths with and without wide accesses; columns.
const Around kShapes[] = {{0, 5, 1},    {1, 1, 1},    {7, 3, 1},    {9, 128, 1},  {3, 131, 1},   {2, 1000, 1},
                          {2, 1025, 1}, {1, 4096, 1}, {1, 9001, 1}, {2, 8196, 1}, {1, 33001, 1}, {1, 40004, 1},
                          {2, 5, 3},    {3, 40, 33},  {1, 129, 64}, {2, 1, 7}};

template <class T>
class Softmax : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Softmax, Types);

TYPED_TEST(Softmax, Forward) {
  using T = TypeParam;
  for (const Around& s : kShapes)
    for (bool log : {false, true}) {
      SCOPED_TRACE(testing::Message() << s.outer << " x " << s.n << " x " << s.inner << (log ? " log" : ""));
      const int64_t n = s.outer * s.n * s.inner;
      const auto x = random_buffer<T>(n, -5, 5);
      const Buffer<T> y{size_t(n)}, expected{size_t(n)};
      cuda::softmax_forward(Stream{}, sizeof(T), x.data(), y.data(), s.outer, s.n, s.inner, log);
      kernel::softmax_forward(Stream{}, sizeof(T), x.data(), expected.data(), s.outer, s.n, s.inner, log);
      expect_close(y, expected, log ? 1 : 1.0 / double(s.n));
    }
}

TYPED_TEST(Softmax, SpecialValues) {
  using T = TypeParam;
  const T inf = T(INFINITY), nan = T(NAN);
  for (int64_t n : {4, 40000})  // registers and online
    for (int64_t inner : {1, 2})
      for (const auto& head : {std::vector<T>{-inf, -inf, 0}, {inf, 0, 1}, {nan, 0, 1}, {T(1e30), T(-1e30), 0}})
        for (bool log : {false, true}) {
          const Buffer<T> x{size_t(n * inner)}, y{x.size()}, expected{x.size()};
          for (T& v : x) v = -inf;
          for (size_t i = 0; i < head.size(); ++i) x[i * size_t(inner)] = head[i];
          cuda::softmax_forward(Stream{}, sizeof(T), x.data(), y.data(), 1, n, inner, log);
          kernel::softmax_forward(Stream{}, sizeof(T), x.data(), expected.data(), 1, n, inner, log);
          expect_close(y, expected);
        }
}

TYPED_TEST(Softmax, Backward) {
  using T = TypeParam;
  for (const Around& s : kShapes)
    for (bool log : {false, true}) {
      SCOPED_TRACE(testing::Message() << s.outer << " x " << s.n << " x " << s.inner << (log ? " log" : ""));
      const int64_t n = s.outer * s.n * s.inner;
      const auto y = random_buffer<T>(n, -1, 0), g = random_buffer<T>(n);
      const Buffer<T> grad{size_t(n)}, expected{size_t(n)};
      cuda::softmax_backward(Stream{}, sizeof(T), y.data(), g.data(), grad.data(), s.outer, s.n, s.inner, log);
      kernel::softmax_backward(Stream{}, sizeof(T), y.data(), g.data(), expected.data(), s.outer, s.n, s.inner, log);
      expect_close(grad, expected, std::sqrt(double(s.n)));
    }
}

TYPED_TEST(Softmax, CrossEntropy) {
  using T = TypeParam;
  for (auto [rows, n] : {std::pair<int64_t, int64_t>{0, 3}, {1, 1}, {5, 10}, {130, 7}, {6, 1000}, {3, 2051}, {4, 5000}})
    for (bool weighted : {false, true})
      for (double smooth : {0.0, 0.125}) {
        SCOPED_TRACE(testing::Message() << rows << " x " << n << ", weighted " << weighted << ", smooth " << smooth);
        const auto x = random_buffer<T>(rows * n, -5, 5), w = random_buffer<T>(n, 0.5, 2),
                   scale = random_buffer<T>(rows);
        const auto target = random_targets(rows, n, -100);
        const Buffer<T> lse{size_t(rows)}, lse_expected{size_t(rows)}, loss{size_t(rows)}, loss_expected{size_t(rows)};
        CrossEntropy op{sizeof(T), rows,   n,          x.data(), target.data(), weighted ? w.data() : nullptr,
                        -100,      smooth, lse.data(), nullptr};
        CrossEntropy on_cpu = op;
        on_cpu.lse = lse_expected.data();
        cuda::cross_entropy_forward(Stream{}, op, loss.data());
        kernel::cross_entropy_forward(Stream{}, on_cpu, loss_expected.data());
        expect_close(lse, lse_expected);
        expect_close(loss, loss_expected, 1, 64 + double(n) * smooth);
        const Buffer<T> grad{x.size()}, grad_expected{x.size()};
        cuda::cross_entropy_backward(Stream{}, op, scale.data(), 1, grad.data());
        kernel::cross_entropy_backward(Stream{}, on_cpu, scale.data(), 1, grad_expected.data());
        expect_close(grad, grad_expected);
        if (rows == 0) continue;
        Buffer<double> divisor{1};
        divisor[0] = 3;
        op.divisor = on_cpu.divisor = divisor.data();
        cuda::cross_entropy_backward(Stream{}, op, scale.data(), 0, grad.data());
        kernel::cross_entropy_backward(Stream{}, on_cpu, scale.data(), 0, grad_expected.data());
        expect_close(grad, grad_expected);
        cuda::cross_entropy_mass(Stream{}, op, loss.data());
        kernel::cross_entropy_mass(Stream{}, on_cpu, loss_expected.data());
        expect_close(loss, loss_expected);
      }
}

// The host does not look at targets of a GPU: a wrong one is reported, and counts as an ignored one.
TYPED_TEST(Softmax, TargetOutOfRange) {
  using T = TypeParam;
  const auto x = random_buffer<T>(2 * 3), scale = random_buffer<T>(2);
  Buffer<int64_t> target{2};
  target[0] = 3, target[1] = 1;
  const Buffer<T> lse{2}, loss{2}, mass{2}, grad{6};
  const CrossEntropy op{sizeof(T), 2, 3, x.data(), target.data(), nullptr, -100, 0, lse.data(), nullptr};
  cuda::cross_entropy_forward(Stream{}, op, loss.data());
  cuda::cross_entropy_backward(Stream{}, op, scale.data(), 1, grad.data());
  cuda::cross_entropy_mass(Stream{}, op, mass.data());
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(grad[i] == 0, i < 3);
  EXPECT_TRUE(loss[0] == 0 && loss[1] > 0 && mass[0] == 0 && mass[1] == 1);
  try {
    throw_reported(*cuda::device_report({}), 0);
    FAIL();
  } catch (const IndexError& e) {
    EXPECT_STREQ(e.what(),
                 "cross_entropy: target 3 is out of range; need 0 <= target < 3, the number of classes, or "
                 "ignore_index -100 (found on cuda:0 while running)");
  }
}

}  // namespace
}  // namespace lamina
