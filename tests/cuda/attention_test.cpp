// Attention in the emulator against the CPU's in double.
#include "kernel/attention.h"

#include <limits>

#include "floats.h"

namespace lamina {
namespace {

using emulate::Buffer;

struct Case {
  int64_t batch, heads, key_heads, rows, keys, depth, width;
  bool causal = false, masked = false, heads_inside = false;
};

Heads layout(int64_t heads, int64_t rows, int64_t n, bool heads_inside) {
  return heads_inside ? Heads{nullptr, heads * rows * n, n, heads * n} : Heads{nullptr, heads * rows * n, rows * n, n};
}
Heads at(Heads view, const void* data) {
  view.data = const_cast<void*>(data);
  return view;
}

template <class T>
void check(const Case& c) {
  SCOPED_TRACE(testing::Message() << c.batch << " x " << c.heads << "/" << c.key_heads << " heads, " << c.rows << " x "
                                  << c.keys << " x " << c.depth << " -> " << c.width << (c.causal ? ", causal" : "")
                                  << (c.masked ? ", masked" : "") << (c.heads_inside ? ", heads inside" : ""));
  const auto query = random_floats<T>(c.batch * c.heads * c.rows * c.depth),
             key = random_floats<T>(c.batch * c.key_heads * c.keys * c.depth),
             value = random_floats<T>(c.batch * c.key_heads * c.keys * c.width),
             grad = random_floats<T>(c.batch * c.heads * c.rows * c.width);
  const auto mask = random_floats<T>(c.batch * c.heads * c.rows * c.keys);
  if (c.masked)  // the second row sees nothing
    for (int64_t j = 0; j < c.keys; ++j) mask[size_t(c.keys + j)] = T(-std::numeric_limits<double>::infinity());
  const auto wide_query = widened(query), wide_key = widened(key), wide_value = widened(value),
             wide_grad = widened(grad), wide_mask = widened(mask);
  const Heads q = layout(c.heads, c.rows, c.depth, c.heads_inside), k = layout(c.key_heads, c.keys, c.depth, false),
              v = layout(c.key_heads, c.keys, c.width, c.heads_inside),
              o = layout(c.heads, c.rows, c.width, c.heads_inside);
  AttentionProblem p;
  p.dtype = dtype_of<T>;
  p.batch = c.batch, p.heads = c.heads, p.key_heads = c.key_heads, p.rows = c.rows, p.keys = c.keys;
  p.depth = c.depth, p.width = c.width, p.scale = 0.7, p.causal = c.causal;
  p.query = at(q, query.data()), p.key = at(k, key.data()), p.value = at(v, value.data());
  if (c.masked) p.mask = at(layout(c.heads, c.rows, c.keys, false), mask.data());
  AttentionProblem w = p;
  w.dtype = DType::F64;
  w.query = at(q, wide_query.data()), w.key = at(k, wide_key.data()), w.value = at(v, wide_value.data());
  if (c.masked) w.mask = at(p.mask, wide_mask.data());

  const Stream stream{};
  const Buffer<T> out(grad.size()), lse(size_t(c.batch * c.heads * c.rows)), grad_q(query.size()), grad_k(key.size()),
      grad_v(value.size());
  std::vector<double> y(out.size()), sums(lse.size()), gq(query.size()), gk(key.size()), gv(value.size());
  cuda::attention_forward(stream, p, at(o, out.data()), lse.data());
  kernel::attention_forward(stream, w, at(o, y.data()), sums.data());
  for (size_t i = 0; i < sums.size(); ++i) {
    if (std::isinf(sums[i]))
      ASSERT_EQ(double(lse[i]), sums[i]);
    else
      ASSERT_NEAR(double(lse[i]), sums[i], kSumEpsilon<T> * double(c.depth + c.keys + 8)) << i;
  }
  expect_sums(out, y, c.depth + c.keys);
  cuda::attention_backward(stream, p, at(o, out.data()), lse.data(), at(o, grad.data()), grad_q.data(), grad_k.data(),
                           grad_v.data());
  kernel::attention_backward(stream, w, at(o, y.data()), sums.data(), at(o, wide_grad.data()), gq.data(), gk.data(),
                             gv.data());
  const int64_t terms = 4 * (c.depth + c.width + c.keys), members = c.heads / c.key_heads;
  expect_sums(grad_q, gq, terms);
  expect_sums(grad_k, gk, terms + 4 * members * c.rows);
  expect_sums(grad_v, gv, terms + 4 * members * c.rows);
}

TEST(Attention, MatchesTheCpu) {
  for (bool heads_inside : {false, true})
    for (bool causal : {false, true})
      for (bool masked : {false, true}) {
        const Case c{2, 2, 2, 9, 13, 8, 5, causal, masked, heads_inside};
        check<float>(c);
        check<double>(c);
        check<float>({2, 4, 2, 17, 17, 8, 8, causal, masked, heads_inside});
        check<float>({1, 3, 1, 5, 70, 16, 16, causal, masked, heads_inside});
      }
  check<float>({1, 1, 1, 1, 1, 1, 1});
  check<float>({3, 2, 1, 33, 7, 4, 4, true});
  check<double>({1, 2, 2, 40, 66, 32, 32, true});
}

}  // namespace
}  // namespace lamina
