// The passes of batch, group and instance norm in the emulator against the CPU.
#include "compare.h"
#include "kernel/norm.h"

namespace lamina {
namespace {

template <class T>
class ChannelNorms : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(ChannelNorms, Types);

// batches, channels, inner, rows of the last batch (channels-last)
struct Layout {
  int64_t batches, channels, inner, missing;
  bool last, shared;
};
const Layout kLayouts[] = {{1, 1, 1, 0, false, true},     {3, 5, 49, 0, false, true},   {40, 4, 64, 0, false, false},
                           {2, 3, 1025, 0, false, false}, {2, 2, 9000, 0, false, true}, {1, 7, 1, 0, true, true},
                           {3, 3, 50, 17, true, true},    {2, 64, 33, 5, true, true},   {2, 130, 300, 0, true, false},
                           {35, 8, 20, 3, true, true},    {2, 33, 10, 0, true, false}};

TYPED_TEST(ChannelNorms, Passes) {
  using T = TypeParam;
  for (const Layout& s : kLayouts) {
    SCOPED_TRACE(testing::Message() << s.batches << " x " << s.channels << " x " << s.inner << ", last " << s.last);
    const int64_t rows = s.batches * s.inner - s.missing, n = rows * s.channels, all = s.batches * s.channels;
    const Channels l{sizeof(T), s.batches, s.channels, s.inner, rows, s.last, s.shared ? 0 : s.channels};
    const int64_t count = s.shared ? s.channels : all;
    const auto x = random_buffer<T>(n, 9, 11), g = random_buffer<T>(n), mean = random_buffer<T>(count, 9, 11),
               a = random_buffer<T>(count), b = random_buffer<T>(count), d = random_buffer<T>(count);
    const Buffer<double> first{size_t(all)}, second{size_t(all)}, first_cpu{size_t(all)}, second_cpu{size_t(all)};
    const double tolerance = (sizeof(T) == 8 ? 1e-13 : 1e-5) * double(s.inner);
    const auto check = [&] {
      for (size_t i = 0; i < first.size(); ++i) {
        ASSERT_NEAR(first[i], first_cpu[i], tolerance) << i;
        ASSERT_NEAR(second[i], second_cpu[i], tolerance) << i;
      }
    };
    cuda::channel_moments(Stream{}, l, x.data(), first.data(), second.data());
    kernel::channel_moments(Stream{}, l, x.data(), first_cpu.data(), second_cpu.data());
    check();
    cuda::channel_grad_sums(Stream{}, l, x.data(), g.data(), mean.data(), first.data(), second.data());
    kernel::channel_grad_sums(Stream{}, l, x.data(), g.data(), mean.data(), first_cpu.data(), second_cpu.data());
    check();
    const Buffer<T> y{size_t(n)}, expected{size_t(n)};
    cuda::channel_affine(Stream{}, l, x.data(), mean.data(), a.data(), b.data(), y.data());
    kernel::channel_affine(Stream{}, l, x.data(), mean.data(), a.data(), b.data(), expected.data());
    expect_close(y, expected, 4);
    cuda::channel_grad(Stream{}, l, x.data(), g.data(), mean.data(), a.data(), b.data(), d.data(), y.data());
    kernel::channel_grad(Stream{}, l, x.data(), g.data(), mean.data(), a.data(), b.data(), d.data(), expected.data());
    expect_close(y, expected, 4);
  }
}

TYPED_TEST(ChannelNorms, Between) {
  using T = TypeParam;
  for (auto [batches, channels, groups] :
       {std::array<int64_t, 3>{1, 1, 1}, {3, 6, 2}, {40, 130, 65}, {2, 128, 1}, {70, 3, 3}})
    for (bool last : {false, true})
      for (bool affine : {false, true}) {
        SCOPED_TRACE(testing::Message() << batches << " x " << channels << ", last " << last << ", affine " << affine);
        const int64_t inner = 12, all = batches * channels, rows = batches * inner - (last ? 5 : 0);
        const Channels l{sizeof(T), batches, channels, inner, rows, last, 0};
        const size_t c = size_t(channels);
        const auto first = random_buffer<double>(all), second = random_buffer<double>(all, 1, 9);
        const auto w = random_buffer<T>(channels), bias = random_buffer<T>(channels);
        const void *weight = affine ? w.data() : nullptr, *shift = affine ? bias.data() : nullptr;
        const Buffer<double> total{2 * c}, total_cpu{2 * c};
        const Buffer<T> m{c}, m_cpu{c}, r{c}, r_cpu{c};
        cuda::batch_norm_statistics(Stream{}, l, first.data(), second.data(), 1e-5, total.data(), m.data(), r.data());
        kernel::batch_norm_statistics(Stream{}, l, first.data(), second.data(), 1e-5, total_cpu.data(), m_cpu.data(),
                                      r_cpu.data());
        expect_close(total, total_cpu), expect_close(m, m_cpu), expect_close(r, r_cpu);
        cuda::batch_norm_constants(Stream{}, sizeof(T), channels, first.data(), second.data(), 1e-5, m.data(),
                                   r.data());
        kernel::batch_norm_constants(Stream{}, sizeof(T), channels, first.data(), second.data(), 1e-5, m_cpu.data(),
                                     r_cpu.data());
        expect_close(m, m_cpu), expect_close(r, r_cpu);

        const Buffer<T> gw{c}, gw_cpu{c}, gb{c}, gb_cpu{c}, k{3 * size_t(all)}, k_cpu{3 * size_t(all)}, k3{3 * c},
            k3_cpu{3 * c};
        for (bool training : {false, true}) {
          const double* sums[2] = {training ? first.data() : nullptr, training ? second.data() : nullptr};
          cuda::batch_norm_grad(Stream{}, l, sums[0], sums[1], r.data(), weight, training, k3.data(), gw.data(),
                                gb.data());
          kernel::batch_norm_grad(Stream{}, l, sums[0], sums[1], r.data(), weight, training, k3_cpu.data(),
                                  gw_cpu.data(), gb_cpu.data());
          expect_close(k3, k3_cpu), expect_close(gw, gw_cpu, 9), expect_close(gb, gb_cpu, 9);
        }

        const Buffer<T> rstd{size_t(batches * groups)}, rstd_cpu{rstd.size()}, mean{size_t(all)}, mean_cpu{mean.size()};
        const Buffer<T> k2{2 * size_t(all)}, k2_cpu{k2.size()};
        cuda::group_norm_statistics(Stream{}, l, groups, first.data(), second.data(), 1e-5, weight, shift, rstd.data(),
                                    mean.data(), k2.data());
        kernel::group_norm_statistics(Stream{}, l, groups, first.data(), second.data(), 1e-5, weight, shift,
                                      rstd_cpu.data(), mean_cpu.data(), k2_cpu.data());
        expect_close(rstd, rstd_cpu), expect_close(mean, mean_cpu), expect_close(k2, k2_cpu);
        cuda::group_norm_grad(Stream{}, l, groups, first.data(), second.data(), rstd_cpu.data(), weight, k.data(),
                              gw.data(), gb.data());
        kernel::group_norm_grad(Stream{}, l, groups, first.data(), second.data(), rstd_cpu.data(), weight, k_cpu.data(),
                                gw_cpu.data(), gb_cpu.data());
        expect_close(k, k_cpu, 4), expect_close(gw, gw_cpu, 9), expect_close(gb, gb_cpu, 9);
        cuda::instance_norm_statistics(Stream{}, l, first.data(), second.data(), total.data());
        kernel::instance_norm_statistics(Stream{}, l, first.data(), second.data(), total_cpu.data());
        expect_close(total, total_cpu);

        const auto old = random_buffer<T>(channels);
        const Buffer<T> running(old.values()), running_cpu(old.values());
        cuda::update_running(Stream{}, sizeof(T), channels, 0.1, total_cpu.data(), running.data());
        kernel::update_running(Stream{}, sizeof(T), channels, 0.1, total_cpu.data(), running_cpu.data());
        expect_close(running, running_cpu);
      }
}

}  // namespace
}  // namespace lamina
