// x[...] and x[...] = v, sorting and gathering against plain loops; results of every layout and thread count.
#include "ops/index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "core/pool.h"

namespace lamina {
namespace {

Tensor counting(const Shape& sizes, DType dtype = DType::F32) {
  Tensor x = empty_tensor(sizes, dtype);
  for (int64_t i = 0; i < x.numel(); ++i) {
    if (dtype == DType::F32)
      x.data<float>()[i] = float(i);
    else
      x.data<int64_t>()[i] = i;
  }
  return x;
}
Tensor integers(const Shape& sizes, std::vector<int64_t> values) {
  Tensor x = empty_tensor(sizes, DType::I64);
  std::copy(values.begin(), values.end(), x.data<int64_t>());
  return x;
}
Tensor mask_of(const Shape& sizes, std::vector<int> values) {
  Tensor x = empty_tensor(sizes, DType::Bool);
  std::copy(values.begin(), values.end(), x.data<bool>());
  return x;
}
std::vector<double> list(const Tensor& x) {
  Tensor y = empty_tensor(x.sizes(), DType::F64);
  copy_into(y, x);
  return {y.data<double>(), y.data<double>() + y.numel()};
}
using Values = std::vector<double>;
using I = Index;
Tensor get(const Tensor& x, std::vector<Index> index) { return index_get(x, index); }
Tensor put(Tensor x, std::vector<Index> index, const Tensor& value, bool accumulate = false) {
  index_put(x, index, value, accumulate);
  return x;
}

TEST(Index, BasicPartIsAView) {
  const Tensor x = counting({2, 3, 4});
  EXPECT_EQ(list(get(x, {I::integer(1), I::integer(-1)})), (Values{20, 21, 22, 23}));
  EXPECT_EQ(get(x, {I::integer(0)})->storage.get(), x->storage.get());
  EXPECT_EQ(list(get(x, {I::ellipsis(), I::integer(1)})), (Values{1, 5, 9, 13, 17, 21}));
  EXPECT_EQ(get(x, {I::none(), I::slice(0, 1), I::ellipsis(), I::none()}).sizes(), (Shape{1, 1, 3, 4, 1}));
  EXPECT_EQ(list(get(x, {I::integer(0), I::integer(0), I::slice({}, {}, 3)})), (Values{0, 3}));
  EXPECT_EQ(list(get(x, {I::integer(0), I::integer(0), I::slice(-2, {})})), (Values{2, 3}));
  EXPECT_EQ(get(x, {I::slice(5, 1)}).sizes(), (Shape{0, 3, 4}));
  EXPECT_EQ(list(get(counting({}), {I::ellipsis()})), Values{0});
}

TEST(Index, TensorsBroadcastTogetherAndStandWhereTheyStood) {
  const Tensor x = counting({2, 3, 4}), rows = integers({2}, {1, -2}), columns = integers({2}, {3, 0});
  EXPECT_EQ(list(get(x, {I::of(rows), I::integer(0), I::of(columns)})), (Values{15, 0}));  // index 0, -2 -> 1, 0
  // Neighbours: the index's shape replaces them.
  EXPECT_EQ(get(x, {I::slice({}, {}), I::of(integers({5, 1}, {0, 1, 2, 0, 1})), I::of(columns)}).sizes(),
            (Shape{2, 5, 2}));
  // Apart: it comes first.
  const Tensor apart = get(x, {I::of(rows), I::slice({}, {}), I::of(columns)});
  EXPECT_EQ(apart.sizes(), (Shape{2, 3}));
  EXPECT_EQ(list(apart), (Values{15, 19, 23, 0, 4, 8}));
  EXPECT_EQ(list(get(x, {I::ellipsis(), I::of(integers({2, 2}, {0, 1, 2, 3}))})).size(), 24u);
}

TEST(Index, Masks) {
  const Tensor x = counting({2, 3});
  EXPECT_EQ(list(get(x, {I::of(mask_of({2, 3}, {0, 1, 0, 1, 0, 1}))})), (Values{1, 3, 5}));
  EXPECT_EQ(list(get(x, {I::slice({}, {}), I::of(mask_of({3}, {1, 0, 1}))})), (Values{0, 2, 3, 5}));
  EXPECT_EQ(get(x, {I::boolean(true)}).sizes(), (Shape{1, 2, 3}));
  EXPECT_EQ(get(x, {I::boolean(false)}).sizes(), (Shape{0, 2, 3}));
  EXPECT_EQ(list(get(x, {I::of(mask_of({2}, {0, 1})), I::of(integers({1}, {2}))})), (Values{5}));
}

TEST(Index, StridedSourcesAreNotCopiedWrong) {
  const Tensor base = counting({6, 8});
  const Tensor x = base.with_layout({4, 3, 2}, {1, 16, 8}, 2);  // x[a][b][c] = 2 + a + 16 b + 8 c
  const Tensor a = integers({3}, {3, 0, 2}), b = integers({3}, {2, 1, 2});
  EXPECT_EQ(list(get(x, {I::of(a), I::of(b)})), (Values{37, 45, 18, 26, 36, 44}));
  EXPECT_EQ(list(get(x, {I::slice({}, {}), I::of(integers({1}, {1})), I::of(integers({1}, {1}))})),
            (Values{26, 27, 28, 29}));
}

TEST(Index, Assignment) {
  EXPECT_EQ(list(put(counting({4}), {I::slice(1, 3)}, counting({}))), (Values{0, 0, 0, 3}));
  EXPECT_EQ(list(put(counting({2, 2}), {I::integer(1)}, integers({1, 2}, {7, 8}))), (Values{0, 1, 7, 8}));
  EXPECT_EQ(list(put(counting({4}), {I::of(integers({2}, {-1, 0}))}, integers({2}, {8, 9}))), (Values{9, 1, 2, 8}));
  EXPECT_EQ(list(put(counting({4}), {I::of(mask_of({4}, {1, 0, 1, 0}))}, counting({}))), (Values{0, 1, 0, 3}));
  // The last value wins, or all add up.
  const Tensor twice = integers({3}, {1, 1, 2});
  EXPECT_EQ(list(put(counting({4}), {I::of(twice)}, integers({3}, {5, 6, 7}))), (Values{0, 6, 7, 3}));
  EXPECT_EQ(list(put(counting({4}), {I::of(twice)}, integers({3}, {5, 6, 7}), true)), (Values{0, 12, 9, 3}));
  // Overlapping source and target.
  Tensor x = counting({5});
  put(x, {I::slice(1, {})}, get(x, {I::slice({}, -1)}));
  EXPECT_EQ(list(x), (Values{0, 0, 1, 2, 3}));
  EXPECT_EQ(x.version(), 1u);
}

TEST(Index, Errors) {
  const Tensor x = counting({2, 3});
  EXPECT_THROW(get(x, {I::integer(2)}), IndexError);
  EXPECT_THROW(get(x, {I::integer(0), I::integer(0), I::integer(0)}), IndexError);
  EXPECT_THROW(get(x, {I::ellipsis(), I::ellipsis()}), IndexError);
  EXPECT_THROW(get(x, {I::slice({}, {}, -1)}), ValueError);
  EXPECT_THROW(get(x, {I::of(counting({2}))}), TypeError);
  EXPECT_THROW(get(x, {I::of(mask_of({3}, {1, 1, 1}))}), IndexError);
  EXPECT_THROW(put(counting({4}), {I::slice({}, {})}, counting({3})), ValueError);
  try {
    get(x, {I::slice({}, {}), I::of(integers({2, 2}, {0, 1, -5, 0}))});
    FAIL();
  } catch (const IndexError& error) {
    EXPECT_STREQ(error.what(),
                 "index: index -5 at position (1, 0) is out of range for dimension 1 of size 3; need -3 <= index < 3");
  }
}

TEST(Sort, AgreesWithStableSortAtEveryLength) {
  std::mt19937 engine(1);
  for (int64_t n : {1, 2, 17, 300, 511, 512, 5000})
    for (bool descending : {false, true}) {
      Tensor x = empty_tensor({n}, DType::F32), wide = empty_tensor({n}, DType::I64);
      for (int64_t i = 0; i < n; ++i) {
        x.data<float>()[i] = i % 97 == 3 ? NAN : i % 5 == 0 ? -0.0f : float(int(engine() % 50) - 25) * 0.5f;
        wide.data<int64_t>()[i] = int64_t(engine()) * (engine() % 2 ? 1 : -1) << 20;
      }
      auto check = [&]<class T>(const Tensor& t, T) {
        std::vector<int64_t> order(n);
        for (int64_t i = 0; i < n; ++i) order[i] = i;
        const T* v = t.data<T>();
        auto less = [&](T a, T b) { return a < b || (a == a && b != b); };
        std::stable_sort(order.begin(), order.end(),
                         [&](int64_t a, int64_t b) { return descending ? less(v[b], v[a]) : less(v[a], v[b]); });
        const TensorPair got = sort(t, 0, descending, true);
        const std::vector<int64_t> at(got[1].data<int64_t>(), got[1].data<int64_t>() + n);
        EXPECT_EQ(at, order) << n << descending;
        const int64_t k = n / 20;
        const TensorPair top = topk(t, k, 0, descending, true);
        EXPECT_TRUE(std::equal(order.begin(), order.begin() + k, top[1].data<int64_t>()));
      };
      check(x, float());
      check(wide, int64_t());
    }
}

TEST(Scatter, AddsInOrderForAnyNumberOfThreads) {
  const int64_t before = get_num_threads();
  std::mt19937 engine(2);
  Tensor index = empty_tensor({40'000}, DType::I64), source = empty_tensor({40'000, 80}, DType::F32);
  for (int64_t i = 0; i < index.numel(); ++i) index.data<int64_t>()[i] = engine() % 100;
  for (int64_t i = 0; i < source.numel(); ++i) source.data<float>()[i] = float(engine() % 1000) * 0.37f;
  std::vector<float> want(100 * 80);
  for (int64_t i = 0; i < index.numel(); ++i)
    for (int64_t c = 0; c < 80; ++c) want[index.data<int64_t>()[i] * 80 + c] += source.data<float>()[i * 80 + c];
  for (int64_t threads : {1, 2, 5}) {
    set_num_threads(threads);
    const Tensor got = index_add(full_tensor({100, 80}, 0.0, DType::F32), 0, index, source, 1);
    EXPECT_TRUE(std::equal(want.begin(), want.end(), got.data<float>()));
  }
  set_num_threads(before);
}

}  // namespace
}  // namespace lamina
