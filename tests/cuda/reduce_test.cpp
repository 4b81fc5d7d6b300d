// Every reduction in the emulator against the CPU's: integers, extremes and positions exactly, sums to rounding.
#include "kernel/reduce.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "cuda/emulate/memory.h"

namespace lamina {
namespace {

using emulate::Buffer;

std::mt19937 engine(1);

constexpr Reduce kForAll[] = {Reduce::Sum,    Reduce::Prod, Reduce::Max, Reduce::Min,         Reduce::ArgMax,
                              Reduce::ArgMin, Reduce::Any,  Reduce::All, Reduce::CountNonzero};
constexpr Reduce kForFloats[] = {Reduce::NanSum, Reduce::SumAbs, Reduce::SumSquare, Reduce::SumPow,
                                 Reduce::MaxAbs, Reduce::MinAbs, Reduce::Var,       Reduce::LogSumExp};

// Few different values, so that there are ties; `special`: some are NaN or infinite.
template <class T>
Buffer<T> draw(size_t n, bool special) {
  Buffer<T> x(n);
  std::uniform_int_distribution<int> small(0, 40), rare(0, int(n / 3) + 2);
  for (T& v : x) {
    v = T(small(engine) - (std::is_signed_v<T> ? 20 : 0));
    if constexpr (std::is_floating_point_v<T>) {
      v = v / 8 + T(small(engine)) / 1024;
      const int odd = special ? rare(engine) : 9;
      if (odd == 0) v = NAN;
      if (odd == 1) v = -INFINITY;
      if (odd == 2) v = INFINITY;
    }
  }
  return x;
}

template <class T>
void expect_near(const Buffer<T>& y, const Buffer<T>& expected, double tolerance, const std::string& what) {
  for (size_t i = 0; i < y.size(); ++i) {
    const double a = double(y[i]), b = double(expected[i]);
    if (std::isnan(b) ? std::isnan(a) : a == b || std::abs(a - b) <= tolerance * std::max(1.0, std::abs(b))) continue;
    ADD_FAILURE() << what << ", result " << i << ": " << a << ", on the CPU " << b;
    return;
  }
}

template <class Out>
void compare(ReduceJob job, double tolerance, const std::string& what) {
  const auto results = size_t(job.kept.total);
  const bool at = job.kind == Reduce::ArgMax || job.kind == Reduce::ArgMin, var = job.kind == Reduce::Var;
  const Buffer<Out> y(results), expected(results), mean(results), expected_mean(results);
  const Buffer<int64_t> where(results), expected_where(results);
  job.out = y.data();
  job.out2 = at ? static_cast<void*>(where.data()) : var ? mean.data() : nullptr;
  cuda::reduce(Stream{}, job);
  job.out = expected.data();
  job.out2 = at ? static_cast<void*>(expected_where.data()) : var ? expected_mean.data() : nullptr;
  kernel::reduce(Stream{}, job);
  expect_near(y, expected, tolerance, what);
  if (at) {
    EXPECT_EQ(where.values(), expected_where.values()) << what;
  }
  if (var) expect_near(mean, expected_mean, tolerance, what);
}

template <class T>
void run(ReduceJob job, const std::string& what) {
  job.dtype = dtype_of<T>;
  job.p = job.kind == Reduce::SumPow ? 3 : 1;
  job.root = job.kind == Reduce::SumPow || job.kind == Reduce::SumSquare;
  if (job.kind == Reduce::Sum && std::is_floating_point_v<T>) job.divisor = double(job.reduced.total);
  const std::string name = what + str(", kind ", int(job.kind), " of ", job.dtype);
  const double tolerance = std::is_same_v<T, float> ? 1e-5 : 1e-12;
  switch (job.kind) {
    case Reduce::Any:
    case Reduce::All:
      return compare<uint8_t>(job, 0, name);
    case Reduce::CountNonzero:
      return compare<int64_t>(job, 0, name);
    case Reduce::Sum:
    case Reduce::Prod:
      if constexpr (!std::is_floating_point_v<T>) return compare<int64_t>(job, 0, name);
      [[fallthrough]];
    default:
      return compare<T>(job, tolerance, name);
  }
}

template <class T>
void all_kinds(ReduceJob job, const std::string& what) {
  const bool empty = job.reduced.total == 0;
  for (Reduce kind : kForAll) {
    job.kind = kind;
    if (!empty || (kind != Reduce::ArgMax && kind != Reduce::ArgMin)) run<T>(job, what);
  }
  if constexpr (std::is_floating_point_v<T>)
    for (Reduce kind : kForFloats) {
      job.kind = kind;
      run<T>(job, what);
    }
}

template <class T>
void rows(int64_t results, int64_t n, int64_t stride, bool special) {
  const auto x = draw<T>(size_t(results * stride), special);
  ReduceJob job;
  job.x = x.data();
  job.kept.add(results, stride);
  job.reduced.add(n, 1);
  all_kinds<T>(job, str(results, " rows of ", n, " at ", stride));
}

template <class T>
void columns(int64_t n, int64_t results, int64_t stride, bool special) {
  const auto x = draw<T>(size_t(n * stride), special);
  ReduceJob job;
  job.x = x.data();
  job.kept.add(results, 1);
  job.reduced.add(n, stride);
  job.columns = results > 1;
  all_kinds<T>(job, str(results, " columns of ", n, " at ", stride));
}

template <class T>
void shapes() {
  for (bool special : {false, true}) {
    rows<T>(3, 1, 1, special);
    rows<T>(70, 5, 5, special);
    rows<T>(9, 33, 40, special);
    rows<T>(2, 257, 300, special);
  }
  rows<T>(2, 2500, 2501, true);
  columns<T>(40, 3, 3, true);
  columns<T>(77, 35, 37, false);
  columns<T>(7, 64, 64, true);
}

TEST(Reduce, Bytes) {
  shapes<uint8_t>();
  shapes<int8_t>();
}
TEST(Reduce, Integers) {
  shapes<int16_t>();
  shapes<int32_t>();
  shapes<int64_t>();
}
TEST(Reduce, Floats) { shapes<float>(); }
TEST(Reduce, Doubles) { shapes<double>(); }

TEST(Reduce, Bools) {
  Buffer<uint8_t> x(100);
  for (uint8_t& v : x) v = uint8_t(engine() & 1);
  for (Reduce kind : {Reduce::Any, Reduce::All, Reduce::CountNonzero, Reduce::ArgMax}) {
    ReduceJob job;
    job.kind = kind;
    job.x = x.data();
    job.kept.add(20, 5);
    job.reduced.add(5, 1);
    job.dtype = DType::Bool;
    if (kind == Reduce::CountNonzero)
      compare<int64_t>(job, 0, "bools");
    else
      compare<uint8_t>(job, 0, "bools");
  }
}

TEST(Reduce, Nothing) {
  rows<float>(0, 4, 4, false);
  rows<float>(3, 0, 0, false);
  rows<int32_t>(3, 0, 0, false);
  columns<float>(0, 3, 3, false);
}

// Few results from many elements are split into pieces; the result is the same every time.
TEST(Reduce, Pieces) {
  rows<float>(1, 40000, 40000, false);
  rows<float>(1, 40001, 40001, true);
  rows<int64_t>(2, 20000, 20001, false);
  columns<float>(6000, 3, 3, false);
  columns<double>(1500, 40, 41, true);
}

// Two reduced and two kept dimensions, in rows and in columns, long and short innermost loops.
TEST(Reduce, Nests) {
  for (int64_t inner : {3, 200}) {
    const auto x = draw<float>(size_t(5 * 4 * 6 * (inner + 1)), true);
    ReduceJob job;
    job.x = x.data();
    job.kept.add(4, 6 * (inner + 1));
    job.reduced.add(5, 4 * 6 * (inner + 1));
    job.reduced.add(6, inner + 1);
    job.reduced.add(inner, 1);
    all_kinds<float>(job, str("nest with rows of ", inner));
  }
  const auto x = draw<float>(5 * 4 * 6 * 35, true);
  ReduceJob job;
  job.x = x.data();
  job.columns = true;
  job.kept.add(4, 6 * 35);
  job.kept.add(33, 1);
  job.reduced.add(5, 4 * 6 * 35);
  job.reduced.add(6, 35);
  all_kinds<float>(job, "nest with columns");
}

}  // namespace
}  // namespace lamina
