// The convolution kernels against plain loops in double, and that they do not depend on the number of threads.
#include "kernel/conv.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "core/pool.h"

namespace lamina {
namespace {

struct Case {
  int64_t n, groups, c_in, c_out, in[3], kernel[3], stride[3], dilation[3], padding[3];
};

// 1-d, 2-d, 3-d; strides that leave gaps; groups; depthwise; one channel; images cut in bands; more than one pass over
// k.
const Case kCases[] = {
    {2, 1, 3, 5, {1, 1, 9}, {1, 1, 3}, {1, 1, 1}, {1, 1, 1}, {0, 0, 1}},
    {3, 1, 4, 20, {1, 7, 6}, {1, 3, 2}, {1, 1, 1}, {1, 1, 1}, {0, 1, 0}},
    {2, 1, 1, 16, {1, 12, 12}, {1, 3, 3}, {1, 1, 1}, {1, 1, 1}, {0, 1, 1}},
    {2, 1, 3, 4, {1, 9, 10}, {1, 2, 1}, {1, 3, 2}, {1, 1, 1}, {0, 0, 0}},
    {2, 1, 5, 7, {1, 11, 9}, {1, 3, 3}, {1, 2, 2}, {1, 2, 1}, {0, 2, 1}},
    {2, 2, 6, 8, {1, 6, 7}, {1, 3, 3}, {1, 1, 2}, {1, 1, 1}, {0, 1, 1}},
    {2, 18, 18, 18, {1, 6, 7}, {1, 3, 3}, {1, 1, 1}, {1, 1, 1}, {0, 1, 1}},
    {1, 5, 5, 5, {3, 6, 7}, {2, 3, 3}, {1, 2, 1}, {1, 1, 2}, {0, 1, 1}},
    {1, 1, 2, 3, {4, 5, 4}, {2, 3, 2}, {1, 2, 1}, {2, 1, 1}, {1, 1, 0}},
    {1, 1, 40, 6, {1, 70, 80}, {1, 3, 3}, {1, 1, 1}, {1, 1, 1}, {0, 1, 1}},
    {5, 1, 260, 17, {1, 4, 3}, {1, 3, 3}, {1, 1, 1}, {1, 1, 1}, {0, 1, 1}},
};

ConvGeometry geometry(const Case& t) {
  ConvGeometry g;
  g.n = t.n, g.groups = t.groups, g.c_in = t.c_in, g.c_out = t.c_out;
  for (int i = 0; i < 3; ++i) {
    g.in[i] = t.in[i], g.kernel[i] = t.kernel[i], g.stride[i] = t.stride[i];
    g.dilation[i] = t.dilation[i], g.padding[i] = t.padding[i];
    g.out[i] = (t.in[i] + 2 * t.padding[i] - t.dilation[i] * (t.kernel[i] - 1) - 1) / t.stride[i] + 1;
  }
  return g;
}

// Strides of (n, c, spatial), channels-last or in logical order.
ConvImage image(const void* data, int64_t c, const int64_t (&size)[3], bool channels_last) {
  const int64_t pixels = size[0] * size[1] * size[2], step = channels_last ? c : 1;
  return {data, c * pixels, channels_last ? 1 : pixels, {size[1] * size[2] * step, size[2] * step, step}};
}

std::vector<double> random_vector(int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  std::vector<double> v(static_cast<size_t>(n));
  for (double& x : v) x = normal(random);
  return v;
}

// fn(index in x, in w, in y) for every product of the convolution.
template <class F>
void each_product(const ConvGeometry& g, const ConvImage& x, const ConvImage& y, F fn) {
  const int64_t c = g.c_in / g.groups, out = g.c_out / g.groups;
  int64_t p[3], k[3];
  for (int64_t n = 0; n < g.n; ++n)
    for (int64_t o = 0; o < g.c_out; ++o)
      for (p[0] = 0; p[0] < g.out[0]; ++p[0])
        for (p[1] = 0; p[1] < g.out[1]; ++p[1])
          for (p[2] = 0; p[2] < g.out[2]; ++p[2])
            for (int64_t i = 0; i < c; ++i)
              for (k[0] = 0; k[0] < g.kernel[0]; ++k[0])
                for (k[1] = 0; k[1] < g.kernel[1]; ++k[1])
                  for (k[2] = 0; k[2] < g.kernel[2]; ++k[2]) {
                    int64_t at = n * x.n + (o / out * c + i) * x.c, to = n * y.n + o * y.c, tap = 0;
                    bool inside = true;
                    for (int d = 0; d < 3; ++d) {
                      const int64_t q = p[d] * g.stride[d] + k[d] * g.dilation[d] - g.padding[d];
                      inside &= q >= 0 && q < g.in[d];
                      at += q * x.x[d];
                      to += p[d] * y.x[d];
                      tap = tap * g.kernel[d] + k[d];
                    }
                    if (inside) fn(at, (o * c + i) * g.kernel[0] * g.kernel[1] * g.kernel[2] + tap, to);
                  }
}

void expect_close(const std::vector<double>& got, const std::vector<double>& want, const char* what) {
  double worst = 0;
  for (size_t i = 0; i < want.size(); ++i) worst = std::max(worst, std::fabs(got[i] - want[i]));
  EXPECT_LT(worst, 1e-10) << what;
}

TEST(Conv, ForwardAndBothGradients) {
  for (const Case& t : kCases)
    for (bool channels_last : {true, false}) {
      SCOPED_TRACE(str("c_in=", t.c_in, " groups=", t.groups, " in=", t.in[1], "x", t.in[2], " last=", channels_last));
      const ConvGeometry g = geometry(t);
      const int64_t in = g.in[0] * g.in[1] * g.in[2] * g.c_in * g.n,
                    out = g.out[0] * g.out[1] * g.out[2] * g.c_out * g.n;
      const int64_t weights = g.c_out * (g.c_in / g.groups) * g.kernel[0] * g.kernel[1] * g.kernel[2];
      const auto x = random_vector(in, 1), w = random_vector(weights, 2), bias = random_vector(g.c_out, 3);
      const auto grad = random_vector(out, 4), bias_in = random_vector(g.c_in, 5);
      const ConvImage xs = image(x.data(), g.c_in, g.in, channels_last);
      const ConvImage gs = image(grad.data(), g.c_out, g.out, channels_last);
      const ConvImage x_last = image(nullptr, g.c_in, g.in, true), y_last = image(nullptr, g.c_out, g.out, true);

      std::vector<double> y(out, NAN), grad_x(in, NAN), grad_w(weights, NAN);
      cpu::conv_forward(DType::F64, g, xs, w.data(), bias.data(), y.data());
      std::vector<double> want(out);
      for (size_t i = 0; i < want.size(); ++i) want[i] = bias[i % size_t(g.c_out)];
      each_product(g, xs, y_last, [&](int64_t a, int64_t b, int64_t c) { want[c] += x[a] * w[b]; });
      expect_close(y, want, "forward");

      cpu::conv_data_grad(DType::F64, g, gs, w.data(), bias_in.data(), grad_x.data());
      want.assign(in, 0);
      for (size_t i = 0; i < want.size(); ++i) want[i] = bias_in[i % size_t(g.c_in)];
      each_product(g, x_last, gs, [&](int64_t a, int64_t b, int64_t c) { want[a] += grad[c] * w[b]; });
      expect_close(grad_x, want, "data gradient");

      cpu::conv_weight_grad(DType::F64, g, xs, gs, grad_w.data());
      want.assign(weights, 0);
      each_product(g, xs, gs, [&](int64_t a, int64_t b, int64_t c) { want[b] += grad[c] * x[a]; });
      expect_close(grad_w, want, "weight gradient");
    }
}

TEST(Conv, SameBitsForAnyNumberOfThreads) {
  const int64_t before = get_num_threads();
  const Case t{6, 1, 24, 40, {1, 20, 20}, {1, 3, 3}, {1, 1, 1}, {1, 1, 1}, {0, 1, 1}};
  const ConvGeometry g = geometry(t);
  const int64_t in = 400 * g.c_in * g.n, out = 400 * g.c_out * g.n, weights = 9 * g.c_in * g.c_out;
  const auto x = random_vector(in, 1), w = random_vector(weights, 2), grad = random_vector(out, 4);
  std::vector<double> first[3],
      again[3] = {std::vector<double>(out), std::vector<double>(in), std::vector<double>(weights)};
  for (int threads : {1, 2, 5}) {
    set_num_threads(threads);
    const ConvImage xs = image(x.data(), g.c_in, g.in, true), gs = image(grad.data(), g.c_out, g.out, true);
    cpu::conv_forward(DType::F64, g, xs, w.data(), nullptr, again[0].data());
    cpu::conv_data_grad(DType::F64, g, gs, w.data(), nullptr, again[1].data());
    cpu::conv_weight_grad(DType::F64, g, xs, gs, again[2].data());
    for (int i = 0; i < 3; ++i) {
      if (threads == 1) first[i] = again[i];
      EXPECT_EQ(0, std::memcmp(first[i].data(), again[i].data(), again[i].size() * 8)) << threads << " threads, " << i;
    }
  }
  set_num_threads(before);
}

}  // namespace
}  // namespace lamina
