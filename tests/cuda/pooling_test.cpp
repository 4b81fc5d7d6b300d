// Pools in the emulator against the CPU, whose table of boxes is made from the same rules.
#include "kernel/pooling.h"

#include "compare.h"

namespace lamina {
namespace {

struct Table {
  std::vector<int64_t> begin, end;
  std::vector<double> divisor;
};

PoolBoxes boxes_of(int64_t n, int64_t c, const PoolRule (&rules)[3], Table (&tables)[3]) {
  PoolBoxes b{n, c, {}};
  for (int i = 0; i < 3; ++i) {
    for (int64_t o = 0; o < rules[i].out; ++o) {
      const auto box = pool_box(rules[i], o);
      tables[i].begin.push_back(box.begin), tables[i].end.push_back(box.end), tables[i].divisor.push_back(box.divisor);
    }
    b.axis[i] = {rules[i].in,
                 rules[i].out,
                 rules[i].step,
                 tables[i].begin.data(),
                 tables[i].end.data(),
                 tables[i].divisor.data(),
                 rules[i]};
  }
  return b;
}

PoolRule window(int64_t in, int64_t kernel, int64_t stride, int64_t padding, int64_t step = 1, bool count = true,
                double divisor = 0) {
  return {
      in,     (in + 2 * padding - step * (kernel - 1) - 1) / stride + 1, kernel, stride, padding, step, false, count,
      divisor};
}
PoolRule adaptive(int64_t in, int64_t out) { return {in, out, 1, 1, 0, 1, true}; }

template <class T>
class Pools : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Pools, Types);

TYPED_TEST(Pools, All) {
  using T = TypeParam;
  const DType dtype = sizeof(T) == 4 ? DType::F32 : DType::F64;
  const PoolRule one;
  const PoolRule cases[][3] = {{one, one, window(9, 2, 2, 0)},
                               {one, window(7, 3, 2, 1), window(8, 3, 2, 1, 1, false)},
                               {one, window(9, 3, 1, 1, 2), window(10, 2, 3, 0, 3)},
                               {window(5, 2, 1, 0), window(4, 2, 2, 1), window(6, 3, 3, 1, 1, true, 5)},
                               {one, adaptive(7, 3), adaptive(5, 8)},
                               {one, adaptive(6, 1), adaptive(6, 1)}};
  for (const auto& rules : cases)
    for (auto [n, c] : {std::pair<int64_t, int64_t>{0, 4}, {1, 1}, {2, 3}, {2, 68}}) {
      SCOPED_TRACE(testing::Message() << n << " images, " << c << " channels, case " << &rules - cases);
      Table tables[3];
      const PoolBoxes b = boxes_of(n, c, rules, tables);
      const int64_t in = n * c * b.pixels_in(), out = n * c * b.pixels_out();
      const auto x = random_buffer<T>(in), g = random_buffer<T>(out);
      if (in) x[0] = T(NAN);
      const size_t size_out = size_t(out), size_in = size_t(in);
      const Buffer<T> y{size_out}, y_cpu{size_out}, gx{size_in}, gx_cpu{size_in};
      const Buffer<int64_t> index{size_out}, index_cpu{size_out};
      cuda::pool_max(Stream{}, dtype, b, x.data(), y.data(), index.data());
      kernel::pool_max(Stream{}, dtype, b, x.data(), y_cpu.data(), index_cpu.data());
      expect_close(y, y_cpu, 1, 0);
      ASSERT_EQ(index.values(), index_cpu.values());
      cuda::pool_max(Stream{}, dtype, b, x.data(), y.data(), nullptr);
      expect_close(y, y_cpu, 1, 0);
      cuda::pool_gather(Stream{}, dtype, b, x.data(), index.data(), y.data());
      kernel::pool_gather(Stream{}, dtype, b, x.data(), index.data(), y_cpu.data());
      expect_close(y, y_cpu, 1, 0);
      cuda::pool_max_backward(Stream{}, dtype, b, g.data(), index.data(), gx.data());
      kernel::pool_max_backward(Stream{}, dtype, b, g.data(), index.data(), gx_cpu.data());
      expect_close(gx, gx_cpu);
      cuda::pool_average(Stream{}, dtype, b, x.data(), y.data());
      kernel::pool_average(Stream{}, dtype, b, x.data(), y_cpu.data());
      expect_close(y, y_cpu);
      cuda::pool_average_backward(Stream{}, dtype, b, g.data(), gx.data());
      kernel::pool_average_backward(Stream{}, dtype, b, g.data(), gx_cpu.data());
      expect_close(gx, gx_cpu);
    }
}

}  // namespace
}  // namespace lamina
