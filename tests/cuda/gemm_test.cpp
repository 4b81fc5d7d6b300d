// Matrix products in the emulator against the CPU's in double, within the rounding of a sum of k terms.
#include "kernel/gemm.h"

#include "floats.h"

namespace lamina {
namespace {

using emulate::Buffer;

enum Layout { kRows, kColumns, kApart };  // contiguous along rows, along columns, or neither

struct Case {
  int64_t m, n, k;
  Layout a = kRows, b = kRows, c = kRows;
  int64_t batch = 1;
  double alpha = 1, beta = 0;
  int bias = 0;  // 1: one for each column, 2: for each row
  bool relu = false, tables = false;
  int64_t pad = 0, shift = 0;  // elements between rows; before the first
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.m << "x" << c.n << "x" << c.k << " layouts " << c.a << c.b << c.c << " batch " << c.batch << " pad "
       << c.pad;
}

// Strides of a (rows, columns) matrix, and its size.
struct Strides {
  int64_t row, column, size;
  Strides(Layout layout, int64_t rows, int64_t columns, int64_t pad) {
    row = layout == kRows ? columns + pad : layout == kColumns ? 1 : 2 * columns + pad;
    column = layout == kRows ? 1 : layout == kColumns ? rows + pad : 2;
    size = rows > 0 && columns > 0 ? (rows - 1) * row + (columns - 1) * column + 1 : 0;
  }
};

template <class T>
void check(const Case& c) {
  SCOPED_TRACE(testing::PrintToString(c));
  const Strides a(c.a, c.m, c.k, c.pad), b(c.b, c.k, c.n, c.pad), y(c.c, c.m, c.n, c.pad);
  const int64_t a_batch = (a.size + 7) / 8 * 8, b_batch = c.batch > 2 ? (b.size + 7) / 8 * 8 : 0;
  const int64_t y_batch = (y.size + 7) / 8 * 8;
  const auto xs = random_floats<T>(c.shift + c.batch * a_batch),
             ws = random_floats<T>(c.shift + c.batch * b_batch + b.size), bias = random_floats<T>(std::max(c.m, c.n));
  const auto out = random_floats<T>(c.batch * y_batch);
  std::vector<int64_t> a_table, b_table;
  for (int64_t i = 0; i < c.batch; ++i) {
    a_table.push_back((c.batch - 1 - i) * a_batch);
    b_table.push_back(i % 2 * b_batch);
  }
  auto problem = [&](DType dtype, const void* p, const void* q, void* r, int64_t item) {
    GemmProblem g;
    g.dtype = dtype;
    g.batch = c.batch, g.m = c.m, g.n = c.n, g.k = c.k;
    g.a = static_cast<const char*>(p) + c.shift * item, g.a_row = a.row, g.a_col = a.column, g.a_batch = a_batch;
    g.b = static_cast<const char*>(q) + c.shift * item, g.b_row = b.row, g.b_col = b.column, g.b_batch = b_batch;
    g.c = r, g.c_row = y.row, g.c_col = y.column, g.c_batch = y_batch;
    g.alpha = c.alpha, g.beta = c.beta;
    if (c.tables) g.a_offsets = a_table.data(), g.b_offsets = b_table.data();
    return g;
  };
  const std::vector<double> wide_x = widened(xs), wide_w = widened(ws), wide_bias = widened(bias);
  std::vector<double> expected = widened(out);
  kernel::gemm(Stream{}, problem(DType::F64, wide_x.data(), wide_w.data(), expected.data(), 8),
               {c.bias ? wide_bias.data() : nullptr, c.bias == 2, c.relu});
  cuda::gemm(Stream{}, problem(dtype_of<T>, xs.data(), ws.data(), out.data(), sizeof(T)),
             {c.bias ? bias.data() : nullptr, c.bias == 2, c.relu});
  expect_sums(out, expected, c.k);
}

void check_all(const Case& c) {
  check<float>(c);
  check<double>(c);
  check<f16>(c);
  check<bf16>(c);
}

TEST(Gemm, Sizes) {
  for (int64_t m : {0, 1, 9, 16, 129})
    for (int64_t n : {1, 17, 130})
      for (int64_t k : {0, 1, 35}) check_all({m, n, k});
  check_all({256, 128, 64});  // whole tiles, and more than one
  check_all({300, 200, 40});
}

TEST(Gemm, Layouts) {
  for (Layout a : {kRows, kColumns, kApart})
    for (Layout b : {kRows, kColumns, kApart})
      for (int64_t pad : {0, 3, 8}) check_all({.m = 40, .n = 72, .k = 48, .a = a, .b = b, .pad = pad});
  check_all({.m = 33, .n = 21, .k = 19, .c = kColumns});
  check_all({.m = 64, .n = 32, .k = 64, .a = kColumns, .c = kColumns});
  check_all({.m = 64, .n = 64, .k = 64, .shift = 1});  // not aligned
}

TEST(Gemm, Epilogue) {
  for (int bias : {0, 1, 2})
    for (double beta : {0.0, 1.0, 0.25}) {
      check_all({.m = 31, .n = 45, .k = 20, .alpha = 0.5, .beta = beta, .bias = bias, .relu = true});
      check_all({.m = 31, .n = 45, .k = 20, .c = kColumns, .beta = beta, .bias = bias});
      check_all({.m = 45, .n = 3, .k = 20, .alpha = -1, .beta = beta, .bias = bias, .relu = true});
      check_all({.m = 12, .n = 16, .k = 1100, .alpha = 2, .beta = beta, .bias = bias, .relu = true});
    }
  check_all({.m = 12, .n = 16, .k = 0, .beta = 0.5, .bias = 1, .relu = true});
}

TEST(Gemm, LongSumsAreCut) {
  check_all({.m = 16, .n = 16, .k = 1999});
  check_all({.m = 20, .n = 24, .k = 1024, .a = kColumns, .b = kColumns});
}

TEST(Gemm, FewRows) {
  for (int64_t m : {1, 2, 5, 8})
    for (Layout b : {kRows, kColumns, kApart})
      for (int64_t k : {7, 64, 2304}) check_all({.m = m, .n = 40, .k = k, .b = b});
  for (int64_t n : {1, 6})
    for (Layout a : {kRows, kColumns})
      for (Layout c : {kRows, kColumns}) check_all({.m = 300, .n = n, .k = 45, .a = a, .c = c});
  check_all({.m = 1, .n = 1, .k = 5000});
}

TEST(Gemm, Batches) {
  for (int64_t batch : {0, 2, 3, 7})
    for (bool tables : {false, true}) {
      check_all({.m = 12, .n = 20, .k = 24, .b = kColumns, .batch = batch, .tables = tables});
      check_all({.m = 3, .n = 20, .k = 24, .batch = batch, .tables = tables});
      check_all({.m = 20, .n = 3, .k = 24, .batch = batch, .tables = tables});
    }
  check<float>({.m = 1, .n = 2, .k = 3, .batch = 1000, .tables = true});
}

// A part of k whose values are not finite is not lost, and neither is beta's 0 times NaN read.
TEST(Gemm, NotFinite) {
  const Buffer<float> a(std::vector<float>(16, 1)), b(std::vector<float>(16, 1)), c(16);
  a[5] = INFINITY, b[2] = NAN;
  GemmProblem p;
  p.m = p.n = p.k = 4;
  p.a = a.data(), p.b = b.data(), p.c = c.data(), p.a_row = p.b_row = p.c_row = 4;
  cuda::gemm(Stream{}, p, {});
  for (int i = 0; i < 16; ++i) {
    if (i % 4 == 2)
      EXPECT_TRUE(std::isnan(c[size_t(i)]));
    else
      EXPECT_EQ(c[size_t(i)], i / 4 == 1 ? INFINITY : 4);
  }
}

template <class T>
void check_integers(DType dtype) {
  for (int64_t m : {0, 1, 16, 37})
    for (int64_t n : {1, 17, 32})
      for (int64_t k : {0, 1, 16, 33})
        for (bool turned : {false, true}) {
          const Buffer<T> a(size_t(m * k)), b(size_t(k * n)), c(size_t(m * (n + 2))), expected(size_t(m * (n + 2)));
          for (const Buffer<T>* x : {&a, &b, &c})
            for (T& v : *x) v = T(uint64_t(std::rand()) * 2654435761u);
          for (size_t i = 0; i < c.size(); ++i) expected[i] = c[i];
          const int64_t a_row = turned ? 1 : k, a_col = turned ? m : 1, b_row = turned ? 1 : n, b_col = turned ? k : 1;
          cuda::gemm_int(Stream{}, dtype, m, n, k, a.data(), a_row, a_col, b.data(), b_row, b_col, c.data(), n + 2);
          kernel::gemm_int(Stream{}, dtype, m, n, k, a.data(), a_row, a_col, b.data(), b_row, b_col, expected.data(),
                           n + 2);
          ASSERT_EQ(c.values(), expected.values()) << m << "x" << n << "x" << k << (turned ? " turned" : "");
        }
}
TEST(Gemm, Integers) {
  check_integers<uint8_t>(DType::U8);
  check_integers<int8_t>(DType::I8);
  check_integers<int16_t>(DType::I16);
  check_integers<int32_t>(DType::I32);
  check_integers<int64_t>(DType::I64);
}

}  // namespace
}  // namespace lamina
