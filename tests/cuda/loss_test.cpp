// Elementwise losses and nll_loss in the emulator against the CPU kernels.
#include "kernel/loss.h"

#include "compare.h"
#include "core/errors.h"
#include "cuda/launch.h"
#include "math/loss.h"

namespace lamina {
namespace {

template <class T>
class Losses : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Losses, Types);

TYPED_TEST(Losses, Elementwise) {
  using T = TypeParam;
  for (int kind = 0; kind <= int(LossKind::KlDivLog); ++kind)
    for (int64_t n : {0, 1, 4095, 4096, 9003}) {
      SCOPED_TRACE(testing::Message() << "kind " << kind << ", n = " << n);
      const auto x = random_buffer<T>(n, 0.05, 0.95), t = random_buffer<T>(n, 0.05, 0.95),
                 scale = random_buffer<T>(n + 1);
      const Loss op{sizeof(T), n, LossKind(kind), 0.5, x.data(), t.data(), 3};
      const Buffer<T> y{x.size()}, y_cpu{x.size()}, gt{x.size()}, gt_cpu{x.size()}, total{1}, total_cpu{1};
      cuda::loss_forward(Stream{}, op, y.data(), nullptr);
      kernel::loss_forward(Stream{}, op, y_cpu.data(), nullptr);
      expect_close(y, y_cpu);
      cuda::loss_total(Stream{}, op, total.data());
      kernel::loss_total(Stream{}, op, total_cpu.data());
      expect_close(total, total_cpu, 1 + std::sqrt(double(n)));
      for (int64_t step : {0, 1}) {
        cuda::loss_backward(Stream{}, op, scale.data(), step, y.data(), gt.data());
        kernel::loss_backward(Stream{}, op, scale.data(), step, y_cpu.data(), gt_cpu.data());
        expect_close(y, y_cpu, 4), expect_close(gt, gt_cpu, 4);
      }
      cuda::loss_backward(Stream{}, op, scale.data(), 1, nullptr, gt.data());
      expect_close(gt, gt_cpu, 4);
    }
}

TYPED_TEST(Losses, Nll) {
  using T = TypeParam;
  for (auto [outer, n, inner] : {std::array<int64_t, 3>{0, 3, 2}, {1, 1, 1}, {300, 10, 1}, {3, 5, 200}})
    for (bool weighted : {false, true}) {
      SCOPED_TRACE(testing::Message() << outer << " x " << n << " x " << inner << ", weighted " << weighted);
      const int64_t count = outer * inner;
      const auto x = random_buffer<T>(count * n), w = random_buffer<T>(n, 0.5, 2), g = random_buffer<T>(count + 1);
      const auto target = random_targets(count, n, -100);
      Nll op{sizeof(T), outer, n, inner, target.data(), weighted ? w.data() : nullptr, -100, nullptr};
      const Buffer<T> y{size_t(count)}, y_cpu{y.size()}, gx{x.size()}, gx_cpu{x.size()}, total{1}, total_cpu{1};
      const Buffer<double> divisor{1}, divisor_cpu{1};
      cuda::nll_gather(Stream{}, op, x.data(), y.data());
      kernel::nll_gather(Stream{}, op, x.data(), y_cpu.data());
      expect_close(y, y_cpu);
      cuda::class_loss_total(Stream{}, op, y.data(), nullptr, total.data());
      kernel::class_loss_total(Stream{}, op, y_cpu.data(), nullptr, total_cpu.data());
      expect_close(total, total_cpu, 8);
      cuda::class_loss_total(Stream{}, op, y.data(), divisor.data(), total.data());
      kernel::class_loss_total(Stream{}, op, y_cpu.data(), divisor_cpu.data(), total_cpu.data());
      expect_close(total, total_cpu), expect_close(divisor, divisor_cpu, 300);
      for (int64_t step : {0, 1}) {
        op.divisor = step ? nullptr : divisor_cpu.data();
        cuda::nll_scatter(Stream{}, op, g.data(), step, gx.data());
        kernel::nll_scatter(Stream{}, op, g.data(), step, gx_cpu.data());
        expect_close(gx, gx_cpu);
      }
    }
  // Out of range: reported, and as if ignored.
  Buffer<int64_t> target{1};
  target[0] = -7;
  const auto x = random_buffer<T>(4), g = random_buffer<T>(1);
  const Nll op{sizeof(T), 1, 4, 1, target.data(), nullptr, -100, nullptr};
  const Buffer<T> y{1}, gx{4};
  cuda::nll_gather(Stream{}, op, x.data(), y.data());
  cuda::nll_scatter(Stream{}, op, g.data(), 1, gx.data());
  EXPECT_EQ(y[0], 0);
  EXPECT_EQ(gx.values(), std::vector<T>(4, 0));
  EXPECT_THROW(throw_reported(*cuda::device_report({}), 0), IndexError);
}

}  // namespace
}  // namespace lamina
