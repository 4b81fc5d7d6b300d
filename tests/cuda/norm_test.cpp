// layer_norm and rms_norm in the emulator against the CPU kernels.
#include "kernel/norm.h"

#include "compare.h"

namespace lamina {
namespace {

template <class T>
class RowNorms : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(RowNorms, Types);

// More rows than blocks, so that blocks take several; rows for a warp, a block, and beyond all registers.
const std::pair<int64_t, int64_t> kShapes[] = {{0, 4},     {1, 1},    {150, 5},  {61, 128},   {14, 131}, {9, 1000},
                                               {15, 1028}, {2, 4095}, {2, 8200}, {150, 8193}, {2, 17001}};

TYPED_TEST(RowNorms, ForwardAndBackward) {
  using T = TypeParam;
  for (auto [rows, n] : kShapes)
    for (bool centered : {true, false})
      for (bool affine : {true, false}) {
        if (rows > 20 && n > 4096 && (!centered || sizeof(T) == 8)) continue;
        SCOPED_TRACE(testing::Message() << rows << " x " << n << ", centered " << centered << ", affine " << affine);
        const auto x = random_buffer<T>(rows * n, 1, 3), g = random_buffer<T>(rows * n), w = random_buffer<T>(n),
                   b = random_buffer<T>(n);
        const Buffer<T> mean{size_t(rows)}, rstd{size_t(rows)}, mean_cpu{size_t(rows)}, rstd_cpu{size_t(rows)},
            y{x.size()}, y_cpu{x.size()}, gx{x.size()}, gx_cpu{x.size()}, gw{size_t(n)}, gw_cpu{size_t(n)},
            gb{size_t(n)}, gb_cpu{size_t(n)}, scratch{size_t(2 * norm_row_chunks(rows) * n)};
        NormRows op{sizeof(T),   rows,        n,    x.data(), affine ? w.data() : nullptr,
                    mean.data(), rstd.data(), 1e-5, centered};
        NormRows on_cpu = op;
        on_cpu.mean = mean_cpu.data(), on_cpu.rstd = rstd_cpu.data();
        const void* bias = affine ? b.data() : nullptr;
        cuda::norm_rows_forward(Stream{}, op, bias, y.data());
        kernel::norm_rows_forward(Stream{}, on_cpu, bias, y_cpu.data());
        if (centered) expect_close(mean, mean_cpu);
        expect_close(rstd, rstd_cpu);
        if (n > 1) expect_close(y, y_cpu);

        cuda::norm_rows_backward(Stream{}, on_cpu, g.data(), gx.data(), gw.data(), gb.data(), scratch.data());
        kernel::norm_rows_backward(Stream{}, on_cpu, g.data(), gx_cpu.data(), gw_cpu.data(), gb_cpu.data(),
                                   scratch.data());
        if (n > 1) expect_close(gx, gx_cpu);
        expect_close(gw, gw_cpu, 1 + std::sqrt(double(rows)));
        expect_close(gb, gb_cpu, 1 + std::sqrt(double(rows)));
        // Only some of the three.
        cuda::norm_rows_backward(Stream{}, on_cpu, g.data(), gx.data(), nullptr, nullptr, scratch.data());
        if (n > 1) expect_close(gx, gx_cpu);
        cuda::norm_rows_backward(Stream{}, on_cpu, g.data(), nullptr, nullptr, gb.data(), scratch.data());
        expect_close(gb, gb_cpu, 1 + std::sqrt(double(rows)));
      }
}

}  // namespace
}  // namespace lamina
