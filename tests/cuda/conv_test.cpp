// Convolutions in the emulator against the CPU's in double, within the rounding of their sums.
#include "kernel/conv.h"

#include "floats.h"

namespace lamina {
namespace {

using emulate::Buffer;

enum Order { kChannelsLast, kChannelsFirst, kPadded };

struct Case {
  const char* name;
  ConvGeometry g;
  Order order = kChannelsLast;
};

ConvGeometry geometry(int64_t n, int64_t groups, int64_t c_in, int64_t c_out, std::vector<int64_t> in,
                      std::vector<int64_t> kernel, int64_t stride = 1, int64_t padding = 0, int64_t dilation = 1) {
  ConvGeometry g;
  g.n = n, g.groups = groups, g.c_in = c_in, g.c_out = c_out;
  for (size_t i = 0; i < in.size(); ++i) {
    const size_t at = 3 - in.size() + i;
    g.in[at] = in[i], g.kernel[at] = kernel[i];
    g.stride[at] = stride, g.padding[at] = padding, g.dilation[at] = dilation;
    g.out[at] = (in[i] + 2 * padding - dilation * (kernel[i] - 1) - 1) / stride + 1;
  }
  return g;
}

int64_t volume(const int64_t (&size)[3]) { return size[0] * size[1] * size[2]; }

// An image in the order asked for, and how many elements it spans.
ConvImage image(const void* data, int64_t c, const int64_t (&size)[3], Order order) {
  ConvImage m{data, 0, 1, {}};
  int64_t step = order == kChannelsLast ? c : order == kPadded ? c + 3 : 1;
  for (int i = 2; i >= 0; --i) m.x[i] = step, step *= size[i];
  if (order == kChannelsFirst) m.c = step, step *= c;
  m.n = step;
  return m;
}

template <class T>
void check(const Case& test) {
  SCOPED_TRACE(testing::Message() << test.name << ", order " << test.order << ", item " << sizeof(T));
  const ConvGeometry& g = test.g;
  const ConvImage x_image = image(nullptr, g.c_in, g.in, test.order),
                  y_image = image(nullptr, g.c_out, g.out, test.order);
  const int64_t taps = volume(g.kernel), c = g.c_in / g.groups, rows = g.c_out / g.groups;
  const auto x = random_floats<T>(g.n * x_image.n), grad = random_floats<T>(g.n * y_image.n),
             w = random_floats<T>(g.c_out * c * taps), bias = random_floats<T>(std::max(g.c_in, g.c_out));
  const auto wide_x = widened(x), wide_grad = widened(grad), wide_w = widened(w), wide_bias = widened(bias);
  auto at = [](ConvImage m, const void* data) {
    m.data = data;
    return m;
  };
  constexpr DType type = dtype_of<T>;
  const Stream stream{};
  for (bool biased : {false, true}) {
    const Buffer<T> y(size_t(g.n * volume(g.out) * g.c_out));
    std::vector<double> expected(y.size());
    cuda::conv_forward(stream, type, g, at(x_image, x.data()), w.data(), biased ? bias.data() : nullptr, y.data());
    kernel::conv_forward(stream, DType::F64, g, at(x_image, wide_x.data()), wide_w.data(),
                         biased ? wide_bias.data() : nullptr, expected.data());
    expect_sums(y, expected, taps * c);

    const Buffer<T> grad_x(size_t(g.n * volume(g.in) * g.c_in));
    expected.assign(grad_x.size(), 0);
    cuda::conv_data_grad(stream, type, g, at(y_image, grad.data()), w.data(), biased ? bias.data() : nullptr,
                         grad_x.data());
    kernel::conv_data_grad(stream, DType::F64, g, at(y_image, wide_grad.data()), wide_w.data(),
                           biased ? wide_bias.data() : nullptr, expected.data());
    expect_sums(grad_x, expected, taps * rows);
  }
  const Buffer<T> grad_w(w.size());
  std::vector<double> expected(w.size());
  cuda::conv_weight_grad(stream, type, g, at(x_image, x.data()), at(y_image, grad.data()), grad_w.data());
  kernel::conv_weight_grad(stream, DType::F64, g, at(x_image, wide_x.data()), at(y_image, wide_grad.data()),
                           expected.data());
  expect_sums(grad_w, expected, g.n * volume(g.out));
}

void check_all(const char* name, const ConvGeometry& g) {
  for (Order order : {kChannelsLast, kChannelsFirst, kPadded}) {
    const Case test{name, g, order};
    check<float>(test);
    check<double>(test);
    check<f16>(test);
    check<bf16>(test);
  }
}

TEST(Conv, OneToThreeDimensions) {
  check_all("1d", geometry(2, 1, 3, 5, {17}, {4}, 1, 1));
  check_all("2d", geometry(2, 1, 8, 16, {7, 6}, {3, 3}, 1, 1));
  check_all("3d", geometry(1, 1, 2, 3, {4, 5, 6}, {2, 3, 2}, 1, 1));
  check_all("pointwise", geometry(2, 1, 16, 24, {5, 5}, {1, 1}));
  check_all("whole", geometry(2, 1, 4, 8, {5, 5}, {5, 5}));
}

TEST(Conv, StrideAndDilation) {
  check_all("stride 2", geometry(2, 1, 8, 8, {9, 8}, {3, 3}, 2, 1));
  check_all("stride 3, kernel 2: gaps", geometry(1, 1, 3, 4, {10, 11}, {2, 2}, 3));
  check_all("pointwise, stride 2", geometry(1, 1, 8, 8, {6, 7}, {1, 1}, 2));
  check_all("dilation 2", geometry(1, 1, 4, 8, {9, 9}, {3, 3}, 1, 2, 2));
  check_all("dilation 2, stride 2", geometry(1, 1, 4, 4, {9, 10}, {3, 3}, 2, 2, 2));
  check_all("dilation 3, stride 2", geometry(1, 1, 4, 4, {12}, {3}, 2, 1, 3));
  check_all("dilation 4, stride 6", geometry(1, 1, 4, 4, {40}, {4}, 6, 1, 4));
}

TEST(Conv, Groups) {
  check_all("groups", geometry(2, 3, 6, 12, {5, 6}, {3, 3}, 1, 1));
  check_all("wide groups", geometry(1, 2, 16, 32, {6, 5}, {3, 2}, 2, 1));
  check_all("multiplier", geometry(1, 4, 4, 8, {6, 5}, {3, 3}, 1, 1));
}

TEST(Conv, Depthwise) {
  check_all("depthwise", geometry(2, 5, 5, 5, {7, 6}, {3, 3}, 1, 1));
  check_all("wide depthwise", geometry(2, 40, 40, 40, {7, 6}, {3, 3}, 2, 1));
  check_all("dilated depthwise", geometry(1, 8, 8, 8, {30}, {3}, 3, 1, 2));
}

TEST(Conv, ManyTiles) {
  const Case test{"many tiles", geometry(5, 1, 16, 136, {13, 12}, {3, 3}, 1, 1), kChannelsLast};
  check<float>(test);
  check<bf16>(test);
}

}  // namespace
}  // namespace lamina
