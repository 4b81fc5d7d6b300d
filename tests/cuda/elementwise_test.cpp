// Every row of the table in the emulator against the CPU's loops: types, sizes, layouts.
#include "cpu/elementwise_loops.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>

#include "cpu/copy_loops.h"
#include "cuda/elementwise.h"
#include "cuda/emulate/memory.h"
#include "math/binary.h"
#include "math/unary.h"

namespace lamina {
namespace {

using emulate::Buffer;
using Sizes = std::vector<int64_t>;

struct Domain {
  double low, high;
};

struct UnaryCase {
  const char* name;
  UnaryId id;
  std::vector<double> attributes;
  Domain x;
};
struct BinaryCase {
  const char* name;
  BinaryId id;
  Domain a, b;
};

// "alpha=1.0, beta=-inf" as numbers.
std::vector<double> defaults(const char* signature) {
  std::vector<double> values;
  for (const char* p = signature; (p = std::strchr(p, '='));) values.push_back(std::strtod(++p, nullptr));
  return values;
}

#define DOMAIN(low, high, ...) \
  Domain { low, high }
#define INTEGERS(low, high) \
  Domain { low, high }
const UnaryCase kUnary[] = {
#define UNARY(name, Functor, oracle, domain, ...) {#name, UnaryId::name, {}, domain},
#define UNARY_ATTRS(name, Functor, params, signature, oracle, domain, ...) \
  {#name, UnaryId::name, defaults(signature), domain},
#include "ops.def"
};
#define DOMAIN(low, high, ...) \
  Domain { low, high }
#define INTEGERS(low, high) \
  Domain { low, high }
const BinaryCase kBinary[] = {
#define BINARY(name, Functor, oracle, domain_a, domain_b, ...) {#name, BinaryId::name, domain_a, domain_b},
#include "ops.def"
};

std::mt19937 random_bits(1);

// Elements of any dtype in device memory, drawn from a domain.
struct Memory {
  DType dtype;
  Buffer<uint8_t> bytes;
  int64_t n;

  Memory(DType dtype, int64_t n, Domain domain, const std::vector<double>& first = {})
      : dtype(dtype), bytes(size_t(n * item_size(dtype))), n(n) {
    std::vector<double> values(static_cast<size_t>(n));
    std::uniform_real_distribution<double> draw(domain.low, domain.high);
    for (size_t i = 0; i < values.size(); ++i) values[i] = i < first.size() ? first[i] : draw(random_bits);
    cpu::convert(DType::F64, dtype, n, values.data(), bytes.data());
  }
  std::vector<double> values() const {
    std::vector<double> v(static_cast<size_t>(n));
    cpu::convert(dtype, DType::F64, n, bytes.data(), v.data());
    return v;
  }
};

double tolerance(DType dtype) {
  switch (dtype) {
    case DType::F16:
      return 0x1p-9;
    case DType::BF16:
      return 0x1p-6;
    case DType::F32:
      return 1e-5;
    case DType::F64:
      return 1e-12;
    default:
      return 0;
  }
}

struct Run {
  const char* name;
  Formula formula;
  const void* functor = nullptr;
  DType compute, result;
  Sizes sizes;
  DType out = result;
  Sizes out_strides{};  // dense where empty
  DType first = compute;
};
struct Input {
  const Memory* memory;
  Sizes strides{};
  int64_t offset = 0;
  bool on_host = false;
};

Sizes dense(const Sizes& sizes) {
  Sizes strides(sizes.size());
  int64_t step = 1;
  for (size_t d = sizes.size(); d-- > 0; step *= sizes[d]) strides[d] = step;
  return strides;
}
int64_t reach(const Sizes& sizes, const Sizes& strides) {
  int64_t last = 0;
  for (size_t d = 0; d < sizes.size(); ++d) {
    if (sizes[d] == 0) return 0;
    last += (sizes[d] - 1) * strides[d];
  }
  return last + 1;
}

void check(const Run& run, const std::vector<Input>& inputs) {
  const Sizes dense_strides = dense(run.sizes),
              &out_strides = run.out_strides.empty() ? dense_strides : run.out_strides;
  const int64_t n = reach(run.sizes, out_strides);
  const Memory expected(run.out, n, {3, 4}), actual(run.out, n, {3, 4});
  std::memcpy(actual.bytes.data(), expected.bytes.data(), expected.bytes.size());
  std::vector<ElementwiseArg> in;
  for (const Input& x : inputs) {
    const DType compute = in.empty() ? run.first : run.compute;
    in.push_back({x.memory->bytes.data() + x.offset * item_size(x.memory->dtype), x.memory->dtype, compute,
                  x.strides.empty() ? dense_strides.data() : x.strides.data(), x.on_host});
  }
  const Loop loop = find_loop(run.formula, run.compute);
  ASSERT_TRUE(loop) << run.name;
  const auto job = [&](const Memory& out) {
    const ElementwiseArg target{out.bytes.data(), run.out, run.result, out_strides.data()};
    return ElementwiseJob{run.formula,      loop,   run.functor, int(run.sizes.size()),
                          run.sizes.data(), target, in.data(),   int(in.size())};
  };
  kernel::elementwise(Stream{}, job(expected));
  cuda::elementwise(Stream{}, job(actual));
  const auto want = expected.values(), got = actual.values();
  for (size_t i = 0; i < want.size(); ++i) {
    const double bound = std::max(tolerance(run.out), tolerance(run.compute)) * std::max(1., std::abs(want[i]));
    const bool same =
        std::isnan(want[i]) ? std::isnan(got[i]) : want[i] == got[i] || std::abs(want[i] - got[i]) <= bound;
    ASSERT_TRUE(same) << run.name << " of " << run.compute << " -> " << run.out << ", n = " << n << ", element " << i
                      << ": " << got[i] << ", need " << want[i];
  }
}

constexpr DType kFloats[] = {DType::F32, DType::F64, DType::F16, DType::BF16};
constexpr DType kIntegers[] = {DType::Bool, DType::U8, DType::I8, DType::I16, DType::I32, DType::I64};
constexpr int64_t kLengths[] = {0, 1, 7, 5003};
const std::vector<double> kSpecial = {0., -0., INFINITY, -INFINITY, NAN, 1, -1, 1e30, -1e30, 1e-30, 20, -20, 0.5};

DType result_of(bool predicate, DType compute) { return predicate ? DType::Bool : compute; }
bool is_predicate(UnaryId id) {
  switch (id) {
#define UNARY(name, Functor, ...) \
  case UnaryId::name:             \
    return math::Functor::kPredicate;
#define UNARY_ATTRS UNARY
#include "ops.def"
  }
  return false;
}
bool is_predicate(BinaryId id) {
  switch (id) {
#define BINARY(name, Functor, ...) \
  case BinaryId::name:             \
    return math::Functor::kPredicate;
#include "ops.def"
  }
  return false;
}

TEST(Elementwise, UnaryFloat) {
  for (const UnaryCase& row : kUnary)
    for (DType dtype : kFloats) {
      const DType compute = compute_type(dtype);
      const Formula formula{Formula::Unary, int(row.id)}, gradient{Formula::UnaryGrad, int(row.id)};
      if (!find_loop(formula, compute)) continue;
      const bool predicate = is_predicate(row.id);
      for (int64_t n : kLengths) {
        const Memory x(dtype, n, row.x, n == 7 || is_half(dtype) ? std::vector<double>{} : kSpecial),
            g(dtype, n, {-2, 2});
        check({row.name,
               formula,
               row.attributes.data(),
               compute,
               result_of(predicate, compute),
               {n},
               predicate ? DType::Bool : dtype},
              {{&x}});
        if (!find_loop(gradient, compute)) continue;
        const Memory s(dtype, n, row.x);
        check({row.name, gradient, row.attributes.data(), compute, compute, {n}, dtype}, {{&g}, {&s}});
      }
    }
}

TEST(Elementwise, UnaryInteger) {
  for (const UnaryCase& row : kUnary)
    for (DType dtype : kIntegers) {
      const Formula formula{Formula::Unary, int(row.id)};
      if (!find_loop(formula, dtype) || (dtype == DType::Bool && !is_predicate(row.id))) continue;
      for (int64_t n : kLengths) {
        const Memory x(dtype, n, {-100, 100});
        check({row.name, formula, row.attributes.data(), dtype, result_of(is_predicate(row.id), dtype), {n}}, {{&x}});
      }
    }
}

TEST(Elementwise, BinaryFloat) {
  for (const BinaryCase& row : kBinary)
    for (DType dtype : kFloats) {
      const DType compute = compute_type(dtype);
      const Formula formula{Formula::Binary, int(row.id)};
      if (!find_loop(formula, compute)) continue;
      const bool predicate = is_predicate(row.id);
      for (int64_t n : kLengths) {
        std::vector<double> shuffled(kSpecial.rbegin(), kSpecial.rend());
        const bool plain = n == 7 || is_half(dtype);
        const Memory a(dtype, n, row.a, plain ? std::vector<double>{} : kSpecial),
            b(dtype, n, row.b, plain ? std::vector<double>{} : shuffled), g(dtype, n, {-2, 2});
        check(
            {row.name, formula, nullptr, compute, result_of(predicate, compute), {n}, predicate ? DType::Bool : dtype},
            {{&a}, {&b}});
        const Memory c(dtype, n, row.a), d(dtype, n, row.b);
        for (auto kind : {Formula::BinaryGradA, Formula::BinaryGradB})
          if (find_loop({kind, int(row.id)}, compute))
            check({row.name, {kind, int(row.id)}, nullptr, compute, compute, {n}, dtype}, {{&g}, {&c}, {&d}});
      }
    }
}

TEST(Elementwise, BinaryInteger) {
  for (const BinaryCase& row : kBinary)
    for (DType dtype : kIntegers) {
      const Formula formula{Formula::Binary, int(row.id)};
      if (!find_loop(formula, dtype) || (dtype == DType::Bool && !is_predicate(row.id))) continue;
      for (int64_t n : kLengths) {
        const Memory a(dtype, n, {-100, 100}), b(dtype, n, {-9, 9});
        check({row.name, formula, nullptr, dtype, result_of(is_predicate(row.id), dtype), {n}}, {{&a}, {&b}});
      }
    }
}

const Formula kAdd{Formula::Binary, int(BinaryId::add)}, kSub{Formula::Binary, int(BinaryId::sub)},
    kExp{Formula::Unary, int(UnaryId::exp)}, kSelect{Formula::Select, 0};

TEST(Elementwise, Layouts) {
  struct Layout {
    Sizes sizes, out, a, b;
    int64_t offset = 0;
  };
  const Sizes sixteen(16, 2);
  Sizes every_other = dense(sixteen);
  for (int64_t& s : every_other) s *= 2;
  const Layout layouts[] = {
      {{37, 64}, {64, 1}, {64, 1}, {0, 1}},                      // a row for every row
      {{37, 64}, {64, 1}, {64, 1}, {1, 0}},                      // a number for every row
      {{37, 64}, {64, 1}, {1, 37}, {64, 1}},                     // transposed
      {{64, 37}, {1, 64}, {1, 64}, {1, 64}},                     // column-major everywhere
      {{33, 3}, {3, 1}, {3, 1}, {0, 1}},                         // short rows
      {{5, 6, 8}, {48, 8, 1}, {48, 8, 1}, {8, 0, 1}},            // the middle repeats
      {{5, 6, 8}, {48, 8, 1}, {96, 16, 2}, {1, 5, 30}},          // steps
      {{129}, {1}, {1}, {0}},                                    // a number on the device
      {{129}, {1}, {1}, {1}, 1},                                 // not aligned
      {{129}, {3}, {2}, {-1}, 128},                              // backwards
      {{7, 1, 9}, {9, 9, 1}, {9, 0, 1}, {1, 5, 7}},              // a dimension of one
      {sixteen, dense(sixteen), every_other, Sizes(16, 0)},      // as many dimensions as there are
      {{2, 0, 3}, {3, 3, 1}, {3, 3, 1}, {0, 0, 1}},              // empty
      {{}, {}, {}, {}},                                          // a number
      {{3, 40, 16}, {640, 16, 1}, {0, 16, 1}, {640, 0, 0}, 16},  // aligned at an offset
  };
  for (const Layout& layout : layouts)
    for (DType dtype : {DType::F32, DType::BF16, DType::F64, DType::U8, DType::I64}) {
      const DType compute = compute_type(dtype);
      const Memory a(dtype, 140000, {0, 50}), b(dtype, 140000, {0, 50});
      for (Formula f : {kAdd, kSub})
        check({"layout", f, nullptr, compute, compute, layout.sizes, dtype, layout.out},
              {{&a, layout.a, layout.offset}, {&b, layout.b, layout.offset}});
      const Memory c(DType::Bool, 140000, {0, 1.5}), d(DType::U8, 140000, {0, 1.5});
      for (const Memory* condition : {&c, &d})
        check({"select", kSelect, nullptr, dtype, dtype, layout.sizes, dtype, layout.out, DType::Bool},
              {{condition, layout.b, layout.offset}, {&a, layout.a, layout.offset}, {&b, layout.b, layout.offset}});
    }
}

TEST(Elementwise, MixedTypesAndNumbers) {
  const DType all[] = {DType::Bool, DType::U8,  DType::I8,   DType::I16, DType::I32,
                       DType::I64,  DType::F16, DType::BF16, DType::F32, DType::F64};
  for (int64_t n : {1, 1029})
    for (DType of_a : all)
      for (DType of_b : all) {
        const DType compute = compute_type(promote(of_a, of_b));
        if (compute == DType::Bool) continue;
        const Memory a(of_a, n, {0, 50}), b(of_b, n, {0, 50});
        check({"mixed", kAdd, nullptr, compute, compute, {n}}, {{&a}, {&b}});
        check({"number", kAdd, nullptr, compute, compute, {n}}, {{&a}, {&b, {0}, 0, true}});
        check({"into another", kAdd, nullptr, compute, compute, {n}, of_a}, {{&a}, {&b}});
        const Memory condition(DType::Bool, n, {0, 1.5});
        check({"where", kSelect, nullptr, compute, compute, {n}, compute, {}, DType::Bool},
              {{&condition}, {&a}, {&b, {0}, 0, true}});
      }
  const Memory number(DType::F64, 1, {2, 3});
  check({"only a number", kExp, nullptr, DType::F32, DType::F32, {300}}, {{&number, {0}, 0, true}});
}

// Jobs are cut until offsets fit, and the parts cover everything once.
TEST(Elementwise, Parts) {
  Plan plan;
  plan.ndim = 2;
  plan.sizes[0] = 100, plan.sizes[1] = 70;
  const int64_t strides[2][2] = {{1, 100}, {2, 0}};
  for (int a = 0; a < 2; ++a) std::copy_n(strides[a], 2, plan.strides[a]);
  std::vector<int> seen(7000);
  std::vector<uint8_t> from(200);
  const ElementwiseArg args[] = {{seen.data(), DType::I32, DType::I32, nullptr},
                                 {from.data(), DType::U8, DType::U8, nullptr}};
  cuda::for_parts(
      plan, args, 2,
      [&](const Plan& part, const ElementwiseArg* at) {
        EXPECT_LT(part.sizes[0] * part.sizes[1], 500);
        int* first = static_cast<int*>(const_cast<void*>(at[0].data));
        EXPECT_EQ(static_cast<const uint8_t*>(at[1].data) - from.data(), (first - seen.data()) % 100 * 2);
        for (int64_t i = 0; i < part.sizes[1]; ++i)
          for (int64_t j = 0; j < part.sizes[0]; ++j) ++first[i * 100 + j];
      },
      500);
  EXPECT_EQ(seen, std::vector<int>(7000, 1));
}

}  // namespace
}  // namespace lamina
