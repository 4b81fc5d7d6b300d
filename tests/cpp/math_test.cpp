// The functions in ULP against the C library in double, their special values, and every formula of the table: floats
// against doubles, and derivatives against central differences.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "math/binary.h"
#include "math/unary.h"

namespace lamina {
namespace {

using math::Simd;
using V = Simd<float>;
constexpr float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kSpecial[] = {0.f,     -0.f,  kInf,   -kInf,  kNan,   1.f,   -1.f,   0.5f,    -0.5f,   2.f,
                              3.f,     -2.f,  300.f,  -300.f, 88.72f, -87.f, -103.f, 1e-40f,  -1e-40f, 1e-45f,
                              -1e-45f, 3e38f, -3e38f, 1e5f,   1.1e5f, 1e10f, -1e10f, 0.9999f, 1.0001f};

// --- functions ---

// Error in units of the float nearest to the exact value; 0 or infinite where exactness is asked for.
double ulps(float got, double exact) {
  float want = float(exact);
  if (std::isnan(want)) return std::isnan(got) ? 0 : kInf;
  if (std::isinf(want)) return got == want || (std::abs(got) == std::numeric_limits<float>::max()) ? 0 : kInf;
  if (exact == 0) return got == 0 && std::signbit(got) == std::signbit(want) ? 0 : kInf;
  double unit = std::max(0x1p-149, std::ldexp(1.0, std::ilogb(exact) - 23));
  return std::abs(got - exact) / unit;
}

// f on vectors and on single floats over all exponents and signs, and on special values; low <= x <= high.
template <class F, class G>
void expect_ulps(const char* name, double bound, F f, G exact, float low = -kInf, float high = kInf) {
  std::vector<float> xs(std::begin(kSpecial), std::end(kSpecial));
  for (uint64_t u = 0; u < (1ull << 32); u += 30011) xs.push_back(math::from_bits(int32_t(uint32_t(u))));
  for (float x = -8; x < 8; x += 0.000531f) xs.push_back(x);
  std::erase_if(xs, [&](float x) { return x < low || x > high; });
  while (xs.size() % V::kLanes) xs.push_back(1.f);
  double worst = 0, worst_one = 0;
  float at = 0, at_one = 0;
  for (size_t i = 0; i < xs.size(); i += V::kLanes) {
    float got[V::kLanes];
    f(V::load(&xs[i])).store(got);
    for (int j = 0; j < V::kLanes; ++j) {
      float x = xs[i + j];
      double want = exact(double(x)), e = ulps(got[j], want), one = ulps(f(x), want);
      if (!(e <= worst)) worst = e, at = x;
      if (!(one <= worst_one)) worst_one = one, at_one = x;
    }
  }
  EXPECT_LE(worst, bound) << name << " on vectors at " << at;
  EXPECT_LE(worst_one, bound) << name << " on numbers at " << at_one;
}
#define EXPECT_ULPS(name, bound) \
  expect_ulps(#name, bound, [](auto x) { return math::name(x); }, [](double x) { return std::name(x); })

TEST(Math, ExponentialsAndLogarithms) {
  EXPECT_ULPS(exp, 1.1);
  EXPECT_ULPS(exp2, 1.1);
  EXPECT_ULPS(expm1, 1.6);
  EXPECT_ULPS(log, 1.0);
  EXPECT_ULPS(log2, 1.4);
  EXPECT_ULPS(log10, 1.8);
  EXPECT_ULPS(log1p, 1.6);
  expect_ulps("sigmoid", 2.4, [](auto x) { return math::sigmoid(x); }, [](double x) { return 1 / (1 + std::exp(-x)); });
}
TEST(Math, Trigonometry) {
  EXPECT_ULPS(sin, 1.6);
  EXPECT_ULPS(cos, 1.6);
  EXPECT_ULPS(tan, 2.5);
  EXPECT_ULPS(asin, 2.4);
  EXPECT_ULPS(acos, 1.4);
  EXPECT_ULPS(atan, 1.5);
}
TEST(Math, Hyperbolic) {
  EXPECT_ULPS(sinh, 1.8);
  EXPECT_ULPS(cosh, 1.6);
  EXPECT_ULPS(tanh, 1.8);
  EXPECT_ULPS(asinh, 2.0);
  EXPECT_ULPS(acosh, 2.0);
  EXPECT_ULPS(atanh, 2.4);
}
TEST(Math, ErrorFunctions) {
  EXPECT_ULPS(erf, 1.4);
  EXPECT_ULPS(erfc, 5.0);
}
TEST(Math, RoundingIsExact) {
  EXPECT_ULPS(floor, 0);
  EXPECT_ULPS(ceil, 0);
  EXPECT_ULPS(trunc, 0);
  expect_ulps("round", 0, [](auto x) { return math::round(x); }, [](double x) { return std::nearbyint(x); });
  EXPECT_ULPS(sqrt, 0.5);
  for (double x : {2.5, -3.5, 0.49999999999999994, 4503599627370497.5, -0.2})
    EXPECT_EQ(math::round(Simd<double>(x))[0], std::nearbyint(x)) << x;
}

// Two arguments: every pair of the special values, and a grid.
template <class F, class G>
void expect_ulps2(const char* name, double bound, F f, G exact) {
  std::vector<float> xs(std::begin(kSpecial), std::end(kSpecial));
  for (float x = -6; x <= 6; x += 0.25f) xs.push_back(x);
  for (float x = 1e-30f; x < 1e30f; x *= -77.7f) xs.push_back(x);
  for (float a : xs)
    for (float b : xs) {
      double want = exact(double(a), double(b));
      EXPECT_LE(ulps(f(V(a), V(b))[0], want), bound) << name << "(" << a << ", " << b << ") on vectors";
      EXPECT_LE(ulps(f(a, b), want), bound) << name << "(" << a << ", " << b << ") on numbers";
    }
}
TEST(Math, FunctionsOfTwo) {
  expect_ulps2(
      "pow", 0.6, [](auto a, auto b) { return math::pow(a, b); }, [](double a, double b) { return std::pow(a, b); });
  expect_ulps2(
      "atan2", 2.5, [](auto a, auto b) { return math::atan2(a, b); },
      [](double a, double b) { return std::atan2(a, b); });
  expect_ulps2(
      "hypot", 0.6, [](auto a, auto b) { return math::hypot(a, b); },
      [](double a, double b) { return std::hypot(a, b); });
  expect_ulps2(
      "fmod", 0, [](auto a, auto b) { return math::fmod(a, b); }, [](double a, double b) { return std::fmod(a, b); });
  expect_ulps2(
      "copysign", 0, [](auto a, auto b) { return math::copysign(a, b); },
      [](double a, double b) { return std::copysign(a, b); });
}

TEST(Math, GammaFunctions) {
  struct {
    double x, digamma, trigamma, tetragamma;
  } known[] = {{1, -0.57721566490153286061, 1.6449340668482264365, -2.4041138063191885708},
               {0.5, -1.9635100260214234794, 4.9348022005446793094, -16.828796644234319995},
               {10, 2.2517525890667211077, 0.10516633568168574612, -0.011049834970802067462},
               {-0.5, 0.03648997397857652056, 8.9348022005446793094, -0.82879664423431999559}};
  for (auto& k : known) {
    EXPECT_NEAR(math::digamma(k.x), k.digamma, 2e-14 * std::abs(k.digamma) + 2e-15) << k.x;
    EXPECT_NEAR(math::polygamma(k.x, 1), k.trigamma, 2e-14 * std::abs(k.trigamma)) << k.x;
    EXPECT_NEAR(math::polygamma(k.x, 2), k.tetragamma, 1e-13 * std::abs(k.tetragamma)) << k.x;
  }
  // psi'(x) + psi'(1 - x) = (pi / sin(pi x))^2; far below 0 it must not take long.
  EXPECT_NEAR(math::polygamma(-1e9 + 0.25, 1), 2 * math::kPi * math::kPi - 1e-9, 1e-8);
  EXPECT_EQ(math::polygamma(math::kInf, 1), 0);
  EXPECT_EQ(math::digamma(0.0), -math::kInf);
  EXPECT_TRUE(std::isnan(math::digamma(-1.0)));
  EXPECT_EQ(math::lgamma(-1.0), math::kInf);
}
TEST(Math, ErfinvInvertsErf) {
  for (double y = -0.9995; y < 1; y += 0.0131) EXPECT_NEAR(std::erf(math::erfinv(y)), y, 4e-16 + 4e-16 * std::abs(y));
  for (double y : {1e-300, 1e-20, 1e-8, 1 - 1e-10, 1 - 1e-15, -1 + 1e-16}) {
    double x = math::erfinv(y);
    EXPECT_NEAR(std::erf(x), y, 2e-16) << y;
    if (y > 0.5) {
      EXPECT_NEAR(std::erfc(x) / (1 - y), 1, 1e-13) << y;
    }
  }
  expect_ulps("erfinv", 4, [](auto y) { return math::erfinv(y); }, [](double y) { return math::erfinv(y); });
  EXPECT_EQ(math::erfinv(1.0), math::kInf);
  EXPECT_EQ(math::erfinv(-1.0), -math::kInf);
  EXPECT_TRUE(std::isnan(math::erfinv(1.5)));
}

// --- integers ---

template <class T>
class IntegerMath : public ::testing::Test {};
using Integers = ::testing::Types<int8_t, uint8_t, int16_t, int32_t, int64_t>;
TYPED_TEST_SUITE(IntegerMath, Integers);
TYPED_TEST(IntegerMath, DivisionRoundsDownAndNeverTraps) {
  using T = TypeParam;
  constexpr T kLeast = std::numeric_limits<T>::min(), kMost = std::numeric_limits<T>::max();
  for (T a : {T(0), T(1), T(7), T(-7), T(100), kLeast, kMost})
    for (T b : {T(1), T(2), T(-3), T(7), T(-1), kLeast, kMost}) {
      if (b == 0 || (a == kLeast && b == T(-1))) continue;
      T q = math::floor_divide(a, b), r = math::remainder(a, b);
      EXPECT_EQ(T(q * b + r), a) << int64_t(a) << " // " << int64_t(b);
      EXPECT_TRUE(r == 0 || (r < 0) == (b < 0)) << int64_t(a) << " % " << int64_t(b);
      EXPECT_EQ(math::fmod(a, b), T(a % b));
    }
  EXPECT_EQ(math::floor_divide(T(5), T(0)), T(0));
  EXPECT_EQ(math::remainder(T(5), T(0)), T(0));
  if (kLeast < 0) {
    EXPECT_EQ(math::remainder(kLeast, T(-1)), T(0));
  }
}
TYPED_TEST(IntegerMath, PowersAndShifts) {
  using T = TypeParam;
  EXPECT_EQ(math::pow(T(3), T(4)), T(81));
  EXPECT_EQ(math::pow(T(0), T(0)), T(1));
  if (T(-1) < 0) {
    EXPECT_EQ(math::pow(T(-2), T(3)), T(-8));
    EXPECT_EQ(math::pow(T(2), T(-1)), T(0));
    EXPECT_EQ(math::pow(T(-1), T(-3)), T(-1));
    EXPECT_EQ(math::BitwiseRightShift::f(T(-8), T(100)), T(-1));
  }
  EXPECT_EQ(math::BitwiseLeftShift::f(T(3), T(2)), T(12));
  EXPECT_EQ(math::BitwiseLeftShift::f(T(3), T(100)), T(0));
  EXPECT_EQ(math::BitwiseRightShift::f(T(12), T(2)), T(3));
  math::Hardtanh clamp{-math::kInf, 5};
  EXPECT_EQ(clamp.f(T(100)), T(5));
  EXPECT_EQ(clamp.f(std::numeric_limits<T>::min()), std::numeric_limits<T>::min());
}

// --- formulas ---

// "DOMAIN(low, high, kinks...)"
std::vector<double> domain(const char* text) {
  std::vector<double> out;
  for (const char* p = text; *p;) {
    char* end;
    double v = std::strtod(p, &end);
    if (end == p)
      ++p;
    else
      out.push_back(v), p = end;
  }
  return out;
}
std::vector<double> samples(const char* text) {
  std::vector<double> d = domain(text), out;
  for (int i = 1; i < 97; ++i) {
    double x = d[0] + (d[1] - d[0]) * std::fmod(i * 0.61803398875, 1.0);
    bool near = false;
    for (size_t k = 2; k < d.size(); ++k) near = near || std::abs(x - d[k]) < 1e-3;
    if (!near) out.push_back(float(x));
  }
  return out;
}
::testing::AssertionResult close(double got, double want, double tolerance) {
  if (std::abs(got - want) <= tolerance * (1 + std::abs(want))) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "got " << got << ", want " << want;
}

template <class F>
void check_unary(const char* name, const F& f, const char* where) {
  if constexpr (F::kDomain != math::Domain::kIntegral) {
    for (double x : samples(where)) {
      if constexpr (F::kPredicate) {
        bool lanes[V::kLanes];
        f.f(V(float(x))).store(lanes);
        EXPECT_EQ(lanes[0], bool(f.f(x))) << name << "(" << x << ")";
      } else {
        double y = f.f(x), h = 1e-5, slope = (f.f(x + h) - f.f(x - h)) / (2 * h);
        EXPECT_TRUE(close(f.f(float(x)), y, 2e-6)) << name << "(" << x << ") in float";
        EXPECT_TRUE(close(f.f(V(float(x)))[0], y, 2e-6)) << name << "(" << x << ") on vectors";
        EXPECT_TRUE(close(f.f(Simd<double>(x))[0], y, 1e-15)) << name << "(" << x << ") on double vectors";
        if constexpr (requires { f.df(); }) {
          EXPECT_TRUE(close(f.df(), slope, 1e-7)) << name << "'(" << x << ")";
        }
        if constexpr (requires { f.df_y(y); }) {
          EXPECT_TRUE(close(f.df_y(y), slope, 1e-7)) << name << "'(" << x << ")";
          EXPECT_TRUE(close(f.df_y(V(float(y)))[0], slope, 5e-6)) << name << "'(" << x << ") on vectors";
        }
        if constexpr (requires { f.df_x(x); }) {
          EXPECT_TRUE(close(f.df_x(x), slope, 1e-7)) << name << "'(" << x << ")";
          EXPECT_TRUE(close(f.df_x(V(float(x)))[0], slope, 5e-6)) << name << "'(" << x << ") on vectors";
        }
      }
    }
  }
}
// Attributes in the order of the row.
template <class F>
F with_attributes(const char* name) {
  std::string n = name;
  if constexpr (std::is_empty_v<F>)
    return F{};
  else if constexpr (sizeof(F) == 8)
    return F{n == "polygamma" ? 1 : n == "elu" || n == "celu" ? 1.3 : n == "logit" ? -1 : 0.5};
  else if constexpr (sizeof(F) == 16)
    return n == "softplus" ? F{1.5, 20} : n == "threshold" ? F{0.25, -3} : F{-1, 1};
  else
    return F{0, math::kInf, -math::kInf};
}
TEST(Formulas, OfOneOperand) {
#define UNARY(name, Functor, oracle, where, doc) check_unary(#name, math::Functor{}, #where);
#define UNARY_ATTRS(name, Functor, PARAMS, signature, oracle, where, doc) \
  check_unary(#name, with_attributes<math::Functor>(#name), #where);
#include "ops.def"
}

template <class F>
void check_binary(const char* name, const F& f, const char* where_a, const char* where_b) {
  if constexpr (F::kDomain != math::Domain::kIntegral && !F::kPredicate) {
    std::vector<double> as = samples(where_a), bs = samples(where_b);
    for (size_t i = 0; i < as.size(); ++i) {
      double a = as[i], b = bs[(i * 37 + 5) % bs.size()], y = f.f(a, b), h = 1e-5;
      auto at = [&](const char* what) {
        return std::string(name) + what + std::to_string(a) + ", " + std::to_string(b);
      };
      if (std::abs(a - b) < 1e-3) continue;
      if constexpr (!std::is_same_v<F, math::Nextafter>) {
        EXPECT_TRUE(close(f.f(float(a), float(b)), y, 2e-6)) << at(" in float ");
        EXPECT_TRUE(close(f.f(V(float(a)), V(float(b)))[0], y, 2e-6)) << at(" on vectors ");
      }
      EXPECT_TRUE(close(f.f(Simd<double>(a), Simd<double>(b))[0], y, 1e-15)) << at(" on double vectors ");
      double slope_a = (f.f(a + h, b) - f.f(a - h, b)) / (2 * h), slope_b = (f.f(a, b + h) - f.f(a, b - h)) / (2 * h);
      if (std::abs(slope_a) > 1e3 || std::abs(slope_b) > 1e3) continue;  // a step of floor_divide or fmod
      if constexpr (requires { f.da(); }) {
        EXPECT_TRUE(close(f.da(), slope_a, 1e-7)) << at(" da ");
      }
      if constexpr (requires { f.db(); }) {
        EXPECT_TRUE(close(f.db(), slope_b, 1e-7)) << at(" db ");
      }
      if constexpr (requires { f.da_b(b); }) {
        EXPECT_TRUE(close(f.da_b(b), slope_a, 1e-7)) << at(" da_b ");
      }
      if constexpr (requires { f.db_a(a); }) {
        EXPECT_TRUE(close(f.db_a(a), slope_b, 1e-7)) << at(" db_a ");
      }
      if constexpr (requires { f.da(a, b); }) {
        EXPECT_TRUE(close(f.da(a, b), slope_a, 1e-7)) << at(" da ");
      }
      if constexpr (requires { f.db(a, b); }) {
        EXPECT_TRUE(close(f.db(a, b), slope_b, 1e-7)) << at(" db ");
      }
      const V va = V(float(a)), vb = V(float(b));
      if constexpr (requires { f.da(a, b); }) {
        EXPECT_TRUE(close(f.da(va, vb)[0], slope_a, 5e-6)) << at(" da on vectors ");
      }
      if constexpr (requires { f.db(a, b); }) {
        EXPECT_TRUE(close(f.db(va, vb)[0], slope_b, 5e-6)) << at(" db on vectors ");
      }
    }
  }
}
TEST(Formulas, OfTwoOperands) {
#define BINARY(name, Functor, oracle, where_a, where_b, doc) check_binary(#name, math::Functor{}, #where_a, #where_b);
#include "ops.def"
}

// What PyTorch gives where a formula is not smooth, or an operand is not finite.
TEST(Formulas, EdgesAreThoseOfPyTorch) {
  EXPECT_EQ(math::Relu::df_y(0.0), 0);
  EXPECT_EQ(math::Abs::df_x(0.0), 0);
  EXPECT_TRUE(std::isnan(math::Relu::f(V(kNan))[0]));
  EXPECT_EQ(math::Elu{1}.df_x(1000.0), 1);
  EXPECT_EQ(math::Mish::f(V(300.f))[0], 300.f);
  EXPECT_EQ(math::Mish::df_x(V(300.f))[0], 1.f);
  EXPECT_EQ((math::Softplus{1, 20}.f(V(300.f))[0]), 300.f);
  EXPECT_EQ(math::LogSigmoid::f(V(-300.f))[0], -300.f);
  EXPECT_EQ(math::GeluTanh::f(V(-1e20f))[0], 0.f);
  EXPECT_EQ(math::Maximum::da(2.0, 2.0), 0.5);
  EXPECT_EQ(math::Maximum::db(2.0, 3.0), 1);
  for (auto [a, b] : {std::pair{kNan, 1.f}, {1.f, kNan}}) {
    EXPECT_TRUE(std::isnan(math::Maximum::f(V(a), V(b))[0]));
    EXPECT_TRUE(std::isnan(math::Minimum::f(V(a), V(b))[0]));
    EXPECT_EQ(math::Fmax::f(V(a), V(b))[0], 1.f);
    EXPECT_EQ(math::Fmin::f(V(a), V(b))[0], 1.f);
  }
  EXPECT_EQ(math::Pow::da(0.0, 0.0), 0);
  EXPECT_EQ(math::Pow::da(math::kNan, 0.0), 0);
  EXPECT_EQ(math::Atan2::da(0.0, 0.0), 0);
  EXPECT_EQ(math::Pow::db(0.0, 2.0), 0);
  EXPECT_EQ(math::Pow::da(0.0, 2.0), 0);
  EXPECT_EQ(math::Pow::da(0.0, 1.0), 1);
  EXPECT_EQ(math::Xlogy::f(V(0.f), V(0.f))[0], 0.f);
  EXPECT_TRUE(std::isnan(math::Xlogy::f(V(0.f), V(kNan))[0]));
  EXPECT_EQ(math::Logaddexp::f(V(-kInf), V(-kInf))[0], -kInf);
  EXPECT_EQ(math::Logaddexp::f(V(kInf), V(-kInf))[0], kInf);
  EXPECT_EQ(math::Sinc::f(V(0.f))[0], 1.f);
  EXPECT_EQ(math::Sinc::df_x(V(0.f))[0], 0.f);
  EXPECT_NEAR(math::Sinc::df_x(1e-4), -math::kPi * math::kPi / 3 * 1e-4, 1e-11);
  math::NanToNum fix{7, math::kInf, -math::kInf};
  EXPECT_EQ(fix.f(V(kNan))[0], 7.f);
  EXPECT_EQ(fix.f(V(kInf))[0], std::numeric_limits<float>::max());
  EXPECT_EQ(fix.f(V(-kInf))[0], -std::numeric_limits<float>::max());
}
// Python's // and % on floats, as PyTorch has them.
TEST(Formulas, FloatDivisionRoundsDown) {
  struct {
    float a, b, quotient, rest;
  } known[] = {{7, 3, 2, 1},
               {-7, 3, -3, 2},
               {7, -3, -3, -2},
               {-7, -3, 2, -1},
               {1, 0.1f, 9, 0.09999999f},
               {6, kInf, 0, 6},
               {-6, kInf, -1, kInf},
               {1e10f, 3, 3333333248.f, 1}};
  for (auto& k : known) {
    EXPECT_EQ(math::floor_divide(V(k.a), V(k.b))[0], k.quotient) << k.a << " // " << k.b;
    EXPECT_FLOAT_EQ(math::remainder(V(k.a), V(k.b))[0], k.rest) << k.a << " % " << k.b;
  }
  EXPECT_EQ(math::floor_divide(V(1.f), V(0.f))[0], kInf);
  EXPECT_TRUE(std::isnan(math::floor_divide(V(0.f), V(0.f))[0]));
  EXPECT_TRUE(std::isnan(math::remainder(V(1.f), V(0.f))[0]));
}

// A tail is a partial register: the same value as in a whole one.
TEST(Vec, PartialLoadsAndStores) {
  float in[V::kLanes], out[V::kLanes];
  for (int i = 0; i < V::kLanes; ++i) in[i] = float(i + 1), out[i] = -1;
  for (int n = 0; n < V::kLanes; ++n) {
    V v = V::load(in, n);
    for (int i = 0; i < V::kLanes; ++i) EXPECT_EQ(v[i], i < n ? float(i + 1) : 0.f);
    math::exp(v).store(out, n);
    for (int i = 0; i < n; ++i) EXPECT_EQ(out[i], math::exp(V::load(in))[i]);
    EXPECT_EQ(out[n], -1.f);
  }
  bool flags[V::kLanes];
  (V::load(in) > V(2.f)).store(flags);
  for (int i = 0; i < V::kLanes; ++i) EXPECT_EQ(flags[i], i >= 2);
  EXPECT_TRUE(math::any(V::load(in) == V(float(V::kLanes))));
  EXPECT_FALSE(math::any(V::load(in) == V(0.f)));
}

}  // namespace
}  // namespace lamina
