// Shape operators, creation and random numbers from C++: layouts (which results are views), values against index
// arithmetic, gradients of views, and errors. The tests derived from ops.def compare every row with NumPy.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "autograd/engine.h"
#include "core/mode.h"
#include "core/pool.h"
#include "ops/ops.h"

namespace lamina {
namespace {

Tensor iota(const Shape& sizes, DType dtype = DType::F64) {
  return reshape(arange(Scalar(sizes.numel()), dtype, std::nullopt), Sizes(sizes));
}
std::vector<double> values(const Tensor& x) {
  Tensor y = contiguous(cast(x.alias(), DType::F64));
  return {y.data<double>(), y.data<double>() + y.numel()};
}
using V = std::vector<double>;

bool shares(const Tensor& a, const Tensor& b) { return a->storage == b->storage; }

template <class Kind>
void expect_error(const std::function<void()>& f, const std::vector<std::string>& parts) {
  try {
    f();
    ADD_FAILURE() << "no error";
  } catch (const Kind& e) {
    for (const std::string& part : parts) EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
}

// sum(weights * f(x)) has gradient J^T weights; compared with central differences, and so is the gradient of that with
// respect to the weights (which is f itself, by linearity).
void check_gradient(const std::function<Tensor(const Tensor&)>& f, const Shape& sizes) {
  Tensor x = iota(sizes);
  x->requires_grad = true;
  Tensor y = f(x);
  Tensor weights = iota(y.sizes());
  weights->requires_grad = true;
  Tensor grad = run_grad({y}, {weights}, {x}, {.create_graph = true})[0];
  ASSERT_EQ(grad.sizes(), x.sizes());
  V w = values(weights), got = values(grad);
  NoGrad guard;
  for (int64_t i = 0; i < x.numel(); ++i) {
    double expected = 0;
    Tensor a = clone(x), b = clone(x);
    a.data<double>()[i] += 0.5;
    b.data<double>()[i] -= 0.5;
    V fa = values(f(a)), fb = values(f(b));
    for (size_t k = 0; k < fa.size(); ++k) expected += w[k] * (fa[k] - fb[k]);
    EXPECT_NEAR(got[size_t(i)], expected, 1e-9) << i;
  }
  EnableGrad on;
  Tensor direction = iota(x.sizes());
  Tensor again = run_grad({grad}, {direction}, {weights}, {})[0];
  EXPECT_EQ(values(again), values(f(direction)));
}

TEST(Reshape, ViewsWhereStridesAllow) {
  Tensor x = iota({2, 3, 4});
  EXPECT_TRUE(shares(reshape(x, Shape{6, -1}), x));
  Tensor t = transpose(x, 0, 1);  // (3, 2, 4)
  EXPECT_TRUE(shares(reshape(t, Shape{3, 2, 2, 2}), x));
  EXPECT_TRUE(shares(view(t, Shape{3, 1, 2, 4}), x));
  Tensor copied = reshape(t, Shape{6, 4});
  EXPECT_FALSE(shares(copied, x));
  EXPECT_EQ(values(copied), values(t));
  expect_error<ValueError>([&] { view(t, Sizes(Shape{6, 4})); }, {"view", "(3, 2, 4)", "(6, 4)"});
  expect_error<ValueError>([&] { reshape(x, Shape{5, -1}); }, {"24 elements", "(2, 3, 4)", "(5, -1)"});
  expect_error<ValueError>([&] { reshape(x, Shape{4, 4}); }, {"24", "16"});
  expect_error<ValueError>([&] { reshape(x, Shape{-1, -1}); }, {"more than one -1"});
  expect_error<ValueError>([&] { reshape(x, Shape{int64_t(1) << 62, 8}); }, {"64 bits"});
}

TEST(Reshape, ExpandedAndEmpty) {
  Tensor x = expand(iota({3, 1}), Sizes(Shape{3, 4}));
  EXPECT_EQ(values(reshape(x, Shape{12})), (V{0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2}));
  EXPECT_TRUE(shares(reshape(x, Shape{3, 2, 2}), x));
  EXPECT_EQ(reshape(zeros(Shape{0, 3}, {}, {}), Shape{3, 0, 5}).sizes(), (Shape{3, 0, 5}));
  expect_error<ValueError>([&] { reshape(zeros(Shape{0, 3}, {}, {}), Shape{0, -1}); }, {"cannot infer -1"});
}

TEST(Views, LayoutsAndValues) {
  Tensor x = iota({2, 3, 4});
  EXPECT_EQ(permute(x, Sizes(Shape{2, 0, -2})).sizes(), (Shape{4, 2, 3}));
  EXPECT_EQ(movedim(x, Shape{0}, Shape{-1}).sizes(), (Shape{3, 4, 2}));
  EXPECT_EQ(values(lamina::select(lamina::select(x, 0, 1), -1, -1)), (V{15, 19, 23}));
  EXPECT_EQ(values(slice(iota({10}), 0, -7, 9, 2)), (V{3, 5, 7}));
  EXPECT_EQ(values(diagonal(iota({3, 4}), 1, 0, 1)), (V{1, 6, 11}));
  EXPECT_EQ(values(diagonal(iota({3, 4}), -2, 0, 1)), (V{8}));
  EXPECT_EQ(diagonal(iota({3, 4}), 9, 0, 1).sizes(), (Shape{0}));
  EXPECT_EQ(values(unfold(iota({5}), 0, 3, 2)), (V{0, 1, 2, 2, 3, 4}));
  EXPECT_EQ(unsqueeze(x, -1).sizes(), (Shape{2, 3, 4, 1}));
  EXPECT_EQ(squeeze(zeros(Shape{1, 2, 1}, {}, {}), Shape{0}).sizes(), (Shape{2, 1}));
  EXPECT_EQ(flatten(x, 1, -1).sizes(), (Shape{2, 12}));
  EXPECT_EQ(unflatten(x, 2, Shape{2, -1}).sizes(), (Shape{2, 3, 2, 2}));
  EXPECT_TRUE(shares(unflatten(transpose(x, 0, 2), 0, Shape{2, 2}), x));
  EXPECT_EQ(values(diag(iota({2}), -1)), (V{0, 0, 0, 0, 0, 0, 0, 1, 0}));
}

TEST(Views, BitsAsAnotherType) {
  Tensor x = ones(Shape{2, 3}, DType::F32, {});
  Tensor bytes = view(x, DType::U8);
  EXPECT_EQ(bytes.sizes(), (Shape{2, 12}));
  EXPECT_EQ(values(view(x, DType::I32)), V(6, double(0x3f800000)));
  EXPECT_EQ(values(view(bytes, DType::F32)), V(6, 1));
  expect_error<ValueError>([&] { view(transpose(x, 0, 1), DType::U8); }, {"stride 1"});
}

TEST(Copies, MemoryOrders) {
  Tensor x = iota({2, 3, 4, 5});
  Tensor last = contiguous(x, "channels_last");
  EXPECT_EQ(last.strides(), (Shape{60, 1, 15, 3}));
  EXPECT_EQ(values(last), values(x));
  EXPECT_TRUE(contiguous(last, "channels_last").is(last));
  EXPECT_EQ(clone(last).strides(), last.strides());
  EXPECT_TRUE(clone(last, "contiguous_format").is_contiguous());
  expect_error<ValueError>([&] { contiguous(iota({2, 3}), "channels_last"); }, {"(2, 3)", "4 dimensions"});
  expect_error<ValueError>([&] { clone(x, "fortran"); }, {"fortran", "channels_last"});
}

TEST(Copies, OverlappingMemory) {
  Tensor x = iota({6});
  copy_into(slice(x, 0, 1, 6), slice(x, 0, 0, 5));
  EXPECT_EQ(values(x), (V{0, 0, 1, 2, 3, 4}));
}

TEST(Join, CatAndStack) {
  Tensor a = iota({2, 2}), b = iota({1, 2}, DType::I64);
  EXPECT_EQ(values(cat({a, b}, 0)), (V{0, 1, 2, 3, 0, 1}));
  EXPECT_EQ(cat({b, a}, 0).dtype(), DType::F64);
  EXPECT_EQ(values(cat({a, a}, -1)), (V{0, 1, 0, 1, 2, 3, 2, 3}));
  EXPECT_EQ(values(stack({a, a}, 1)), (V{0, 1, 0, 1, 2, 3, 2, 3}));
  EXPECT_EQ(cat({zeros(Shape{0}, {}, {}), a}, 1).sizes(), (Shape{2, 2}));
  expect_error<ValueError>([&] { cat({a, iota({2, 3})}, 0); }, {"(2, 2)", "(2, 3)"});
  expect_error<ValueError>([&] { cat({}, 0); }, {"no tensors"});
  expect_error<ValueError>([&] { stack({a, b}, 0); }, {"(2, 2)", "(1, 2)"});
}

TEST(Join, SplitFlipRoll) {
  TensorList parts = split(iota({5}), std::vector<int64_t>{1, 4}, 0);
  EXPECT_EQ(values(parts[1]), (V{1, 2, 3, 4}));
  EXPECT_EQ(chunk(iota({5}), 4, 0).size(), 3u);
  EXPECT_EQ(tensor_split(iota({5}), 4, 0)[0].size(0), 2);
  EXPECT_EQ(values(flip(iota({2, 3}), Sizes(Shape{0, 1}))), (V{5, 4, 3, 2, 1, 0}));
  EXPECT_EQ(values(roll(iota({2, 3}), Shape{1, -1}, Shape{0, 1})), (V{4, 5, 3, 1, 2, 0}));
  EXPECT_EQ(values(roll(iota({2, 3}), Shape{-1}, std::nullopt)), (V{1, 2, 3, 4, 5, 0}));
  EXPECT_EQ(values(rot90(iota({2, 3}), 1, std::nullopt)), (V{2, 5, 1, 4, 0, 3}));
  EXPECT_EQ(values(repeat(iota({2}), Sizes(Shape{2, 2}))), (V{0, 1, 0, 1, 0, 1, 0, 1}));
  EXPECT_EQ(values(repeat_interleave(iota({3}), cast(iota({3}), DType::I64), 0)), (V{1, 2, 2}));
  expect_error<ValueError>([&] { split(iota({5}), std::vector<int64_t>{1, 3}, 0); }, {"4", "5"});
}

TEST(Pad, Modes) {
  Tensor x = iota({4});
  EXPECT_EQ(values(pad(x, Shape{1, 2}, "constant", Scalar(9))), (V{9, 0, 1, 2, 3, 9, 9}));
  EXPECT_EQ(values(pad(x, Shape{-1, 1}, "constant", {})), (V{1, 2, 3, 0}));
  EXPECT_EQ(values(pad(x, Shape{3, 2}, "reflect", {})), (V{3, 2, 1, 0, 1, 2, 3, 2, 1}));
  EXPECT_EQ(values(pad(x, Shape{1, 2}, "replicate", {})), (V{0, 0, 1, 2, 3, 3, 3}));
  EXPECT_EQ(values(pad(x, Shape{2, 1}, "circular", {})), (V{2, 3, 0, 1, 2, 3, 0}));
  EXPECT_EQ(values(triu(iota({2, 3}), 1)), (V{0, 1, 2, 0, 0, 5}));
  EXPECT_EQ(values(tril(iota({3, 2}), -1)), (V{0, 0, 2, 0, 4, 5}));
  expect_error<ValueError>([&] { pad(x, Shape{4, 0}, "reflect", {}); }, {"reflect", "(4, 0)", "size 4"});
  expect_error<ValueError>([&] { pad(x, Shape{1}, "constant", {}); }, {"(1,)", "(4,)"});
  expect_error<ValueError>([&] { pad(x, Shape{1, 1}, "mirror", {}); }, {"mirror", "reflect"});
}

TEST(Gradients, OfFirstAndSecondOrder) {
  check_gradient([](const Tensor& x) { return reshape(transpose(x, 0, 1), Shape{6}); }, {2, 3});
  check_gradient([](const Tensor& x) { return permute(x, Sizes(Shape{2, 0, 1})); }, {2, 3, 2});
  check_gradient([](const Tensor& x) { return expand(x, Sizes(Shape{2, 3, 2})); }, {3, 1});
  check_gradient([](const Tensor& x) { return slice(x, 1, 1, 5, 2); }, {2, 5});
  check_gradient([](const Tensor& x) { return lamina::select(x, 0, -1); }, {2, 3});
  check_gradient([](const Tensor& x) { return diagonal(x, 1, 0, 2); }, {2, 2, 3});
  check_gradient([](const Tensor& x) { return diag_embed(x, -1, 0, 2); }, {2, 3});
  check_gradient([](const Tensor& x) { return unfold(x, 1, 3, 1); }, {2, 5});
  check_gradient([](const Tensor& x) { return as_strided(x, Shape{3, 3}, Shape{1, 2}, 1); }, {8});
  check_gradient([](const Tensor& x) { return as_strided(transpose(x, 0, 1), Shape{2, 2}, Shape{2, 1}, 1); }, {2, 3});
  check_gradient([](const Tensor& x) { return cat({x, x, flip(x, Sizes(Shape{0}))}, 1); }, {2, 2});
  check_gradient([](const Tensor& x) { return stack({x, roll(x, Shape{1}, std::nullopt)}, 1); }, {2, 2});
  check_gradient([](const Tensor& x) { return split(x, 2, 1)[1]; }, {2, 5});
  check_gradient([](const Tensor& x) { return cat({unbind(x, 0)[1], unbind(x, 0)[0]}, 0); }, {3, 2});
  check_gradient([](const Tensor& x) { return repeat(x, Sizes(Shape{2, 1, 3})); }, {2, 2});
  check_gradient([](const Tensor& x) { return pad(x, Shape{-1, 2, 1, 0}, "constant", {}); }, {2, 3});
  check_gradient([](const Tensor& x) { return pad(x, Shape{2, 1, -1, 1}, "reflect", {}); }, {3, 3});
  check_gradient([](const Tensor& x) { return pad(x, Shape{2, 1}, "replicate", {}); }, {2, 3});
  check_gradient([](const Tensor& x) { return triu(contiguous(transpose(x, 0, 1)), 0); }, {2, 3});
  check_gradient([](const Tensor& x) { return cast(cast(x, DType::F32), DType::F64); }, {2, 3});
}

TEST(Create, Ranges) {
  EXPECT_EQ(values(arange(Scalar(5), Scalar(0), Scalar(-2), {}, {})), (V{5, 3, 1}));
  EXPECT_EQ(arange(Scalar(3), {}, {}).dtype(), DType::I64);
  EXPECT_EQ(arange(Scalar(0.0), Scalar(1.0), Scalar(0.1), {}, {}).size(0), 10);
  EXPECT_EQ(arange(Scalar(INT64_MAX - 2), Scalar(INT64_MAX), Scalar(1), {}, {}).data<int64_t>()[1], INT64_MAX - 1);
  EXPECT_EQ(values(linspace(0, 1, 5, {}, {})), (V{0, .25, .5, .75, 1}));
  EXPECT_EQ(linspace(0.1, 0.7, 100001, DType::F64, {}).data<double>()[100000], 0.7);
  EXPECT_EQ(values(eye(2, 3, {}, {})), (V{1, 0, 0, 0, 1, 0}));
  EXPECT_EQ(values(tril_indices(2, 2, 0, {}, {})), (V{0, 1, 1, 0, 0, 1}));
  expect_error<ValueError>([] { arange(Scalar(0), Scalar(3), Scalar(-1), {}, {}); }, {"step -1", "start 0", "end 3"});
  expect_error<ValueError>([] { zeros(Shape{2, -1}, {}, {}); }, {"negative size", "(2, -1)"});
  expect_error<ValueError>([] { zeros(Shape{int64_t(1) << 61, 4}, {}, {}); }, {"64 bits"});
  expect_error<ValueError>([] { full(Shape{2}, Scalar(300), DType::U8, {}); }, {"300", "uint8"});
}

TEST(Random, SameForAnyNumberOfThreads) {
  auto draw = [](int64_t threads) {
    set_num_threads(threads);
    Generator g(7);
    Tensor a = randn(Shape{40000}, &g, {}, {}), b = exponential_(empty(Shape{40000}, {}, {}), 2, &g);
    Tensor c = bernoulli(rand(Shape{1000}, &g, DType::BF16, {}), &g), d = randperm(1000, &g, {}, {});
    return values(cat({a, b, cast(c, DType::F32), cast(d, DType::F32)}, 0));
  };
  EXPECT_EQ(draw(1), draw(5));
}

TEST(Random, Ranges) {
  Generator g(1);
  for (DType dtype : {DType::F16, DType::BF16, DType::F32, DType::F64})
    for (double u : values(rand(Shape{20000}, &g, dtype, {}))) ASSERT_TRUE(0 <= u && u < 1) << dtype << u;
  V counts(4, 0);
  for (double k : values(multinomial(full(Shape{2, 4}, Scalar(0.5), {}, {}), 4000, true, &g))) ++counts[size_t(k)];
  for (double count : counts) EXPECT_NEAR(count, 2000, 200);
  for (int trial = 0; trial < 20; ++trial) {
    V picks = values(multinomial(cast(arange(Scalar(5), {}, {}), DType::F32), 4, false, &g));
    std::sort(picks.begin(), picks.end());
    EXPECT_EQ(picks, (V{1, 2, 3, 4}));
  }
  expect_error<ValueError>([&] { multinomial(zeros(Shape{3}, {}, {}), 1, true, &g); }, {"add up to 0"});
  expect_error<ValueError>([&] { randint(3, 3, Shape{2}, &g, {}, {}); }, {"low is 3", "high is 3"});
  expect_error<ValueError>([&] { randint(0, 300, Shape{2}, &g, DType::U8, {}); }, {"300", "uint8"});
}

}  // namespace
}  // namespace lamina
