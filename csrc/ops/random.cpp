// Random tensors and fills. The one idea: every value is a function of (seed, position) (core/rng.h), so the stream
// does not depend on the number of threads; halves are drawn in float. Nothing here is differentiable.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/mode.h"
#include "core/pool.h"
#include "kernel/random.h"
#include "ops/check.h"
#include "ops/ops.h"

namespace lamina {
namespace {

Generator& generator_or_default(Generator* generator) { return generator ? *generator : default_generator(); }

// Fill a contiguous float or double tensor.
void fill_uniform(const Tensor& out, Generator* generator, double low = 0, double high = 1) {
  Philox philox = generator_or_default(generator).take(random_blocks(out.numel(), out.itemsize()), out.device());
  kernel::random_uniform(stream_of(out.device()), philox, out.dtype(), out.data(), out.numel(), low, high);
}
void fill_normal(const Tensor& out, Generator* generator, double mean, double std) {
  Philox philox = generator_or_default(generator).take(random_blocks(out.numel(), out.itemsize()), out.device());
  kernel::random_normal(stream_of(out.device()), philox, out.dtype(), out.data(), out.numel(), mean, std);
}

// out = f(out) for such a tensor, of operators on the same device; `compute` is the dtype that f sees.
template <class F>
void transform(const Tensor& out, DType compute, F&& f) {
  NoGrad guard;
  copy_into(out, f(cast(out.alias(), compute)));
}

// A tensor whose elements f(out) draws into contiguous floats or doubles; halves are rounded from float.
template <class F>
Tensor draw(const Shape& size, DType dtype, std::optional<Device> device, const char* op, F&& f) {
  checked_numel(size, op);
  LM_CHECK(is_floating(dtype), TypeError, op, ": not defined for ", dtype, "; need a floating-point dtype");
  Tensor out = empty_tensor(size, compute_type(dtype), device.value_or(default_device()));
  f(out);
  return cast(out, dtype);
}

// In place: self takes the elements of `values`, which do not depend on it.
Tensor replace(const Tensor& self, const Tensor& values, const char* op) {
  Tensor target = self;
  inplace(target, [&](const Tensor& x) { return cast(values, x.dtype()); }, op);
  return target;
}

// In place: draws values as above, straight into self where its memory allows it.
template <class F>
Tensor draw_into(const Tensor& self, const char* op, F&& f) {
  if (!self.is_contiguous() || compute_type(self.dtype()) != self.dtype() || !self.is_floating() ||
      (self.requires_grad() && grad_enabled()))
    return replace(self, draw(self.sizes(), self.dtype(), self.device(), op, f), op);
  before_inplace(self, op);
  f(self);
  self.bump_version();
  return self;
}

void fill_integers(const Tensor& out, Generator* generator, int64_t low, int64_t high) {
  Philox philox = generator_or_default(generator).take(random_blocks(out.numel(), 8), out.device());
  kernel::random_integers(stream_of(out.device()), philox, out.data<int64_t>(), out.numel(), low, high);
}

Tensor draw_integers(const Shape& size, int64_t low, int64_t high, Generator* generator, DType dtype,
                     std::optional<Device> device, const char* op) {
  checked_numel(size, op);
  LM_CHECK(low < high, ValueError, op, ": low is ", low, ", high is ", high, "; need low < high");
  if (is_integral(dtype) && dtype != DType::I64) {
    int bits = int(8 * item_size(dtype)) - (dtype == DType::U8 ? 0 : 1);
    int64_t most = (int64_t(1) << bits) - 1, least = dtype == DType::U8 ? 0 : -most - 1;
    LM_CHECK(low >= least && high - 1 <= most, ValueError, op, ": [", low, ", ", high, ") does not fit in ", dtype,
             "; need ", least, " <= low and high <= ", most + 1);
  }
  Tensor out = empty_tensor(size, DType::I64, device.value_or(default_device()));
  fill_integers(out, generator, low, high);
  return cast(out, dtype);
}

// A tensor of probabilities as contiguous doubles, outside the tape.
Tensor probabilities(const Tensor& p, const char* op) {
  LM_CHECK(p.is_floating(), TypeError, op, ": the probabilities are ", p.dtype(), "; need a floating-point dtype");
  return contiguous(cast(p.alias(), DType::F64));
}

Tensor uniforms(const Shape& size, Generator* generator, Device device) {
  Tensor out = empty_tensor(size, DType::F64, device);
  fill_uniform(out, generator);
  return out;
}

constexpr double kLargest = std::numeric_limits<double>::max(), kLeast = std::numeric_limits<double>::denorm_min();

// weights (rows, n), all >= 0 with a sum > 0 -> (rows, count). A search in the running sums.
Tensor draw_with_replacement(const Tensor& weights, int64_t count, Generator* generator) {
  const Device device = weights.device();
  const Tensor u = uniforms({weights.size(0), count}, generator, device);
  const Tensor sums = cumsum(weights, 1, std::nullopt), total = slice(sums, 1, weights.size(1) - 1, weights.size(1));
  // The last index of positive probability: where rounding may not lead beyond.
  const Tensor index = arange(Scalar(weights.size(1)), DType::I64, device);
  const Tensor last = amax(where(gt(weights, Tensor(0)), index, Tensor(0)), Shape{1}, true);
  return minimum(searchsorted(sums, mul(u, total), false, true, "", std::nullopt), last);
}

// Efraimidis, Spirakis, "Weighted random sampling with a reservoir", 2006: in the order of -log(u_i) / p_i, the first k
// are k draws without replacement.
Tensor draw_without_replacement(const Tensor& weights, int64_t count, Generator* generator) {
  const Tensor possible = gt(weights, Tensor(0));
  const char* text = "num_samples is % without replacement, but only # categories have a probability > 0";
  check_values(sum(possible, Shape{1}, false, DType::I64), double(count), kLargest, NaN::Refused,
               {Complaint::Value, "multinomial", text, {count}}, nullptr);
  const Tensor u = uniforms(weights.sizes(), generator, weights.device());
  const Tensor keys = where(possible, div(neg(log1p(neg(u))), weights), Tensor(HUGE_VAL));
  return topk(keys, count, 1, false, true)[1];
}

}  // namespace

// --- new tensors ---

Tensor rand(const Sizes& size, Generator* generator, std::optional<DType> dtype, std::optional<Device> device) {
  return uniform_(empty(size, dtype, device), 0, 1, generator);
}
Tensor randn(const Sizes& size, Generator* generator, std::optional<DType> dtype, std::optional<Device> device) {
  return draw(size, dtype.value_or(default_dtype()), device, "randn",
              [&](const Tensor& out) { fill_normal(out, generator, 0, 1); });
}
Tensor rand_like(const Tensor& input, Generator* generator, std::optional<DType> dtype, std::optional<Device> device) {
  return uniform_(empty_like(input, dtype, device), 0, 1, generator);
}
Tensor randn_like(const Tensor& input, Generator* generator, std::optional<DType> dtype, std::optional<Device> device) {
  return normal_(empty_like(input, dtype, device), 0, 1, generator);
}

Tensor randint(int64_t low, int64_t high, const Shape& size, Generator* generator, std::optional<DType> dtype,
               std::optional<Device> device) {
  return draw_integers(size, low, high, generator, dtype.value_or(DType::I64), device, "randint");
}
Tensor randint(int64_t high, const Shape& size, Generator* generator, std::optional<DType> dtype,
               std::optional<Device> device) {
  return randint(0, high, size, generator, dtype, device);
}
Tensor randint_like(const Tensor& input, int64_t low, int64_t high, std::optional<DType> dtype,
                    std::optional<Device> device) {
  return draw_integers(input.sizes(), low, high, nullptr, dtype.value_or(input.dtype()), device, "randint_like");
}
Tensor randint_like(const Tensor& input, int64_t high, std::optional<DType> dtype, std::optional<Device> device) {
  return randint_like(input, 0, high, dtype, device);
}

// Fisher, Yates: position i changes places with one of the positions up to i.
Tensor randperm(int64_t n, Generator* generator, std::optional<DType> dtype, std::optional<Device> device) {
  LM_CHECK(n >= 0, ValueError, "randperm: n is ", n, "; need n >= 0");
  Tensor out = arange(Scalar(n), DType::I64, Device()), draws = empty_tensor({n}, DType::I64);
  fill_integers(draws, generator, 0, int64_t(1) << 62);
  int64_t *p = out.data<int64_t>(), *u = draws.data<int64_t>();
  for (int64_t i = n - 1; i > 0; --i)
    std::swap(p[i], p[int64_t(static_cast<unsigned __int128>(u[i]) * uint64_t(i + 1) >> 62)]);
  return to_device(cast(out, dtype.value_or(DType::I64)), device.value_or(default_device()));
}

Tensor bernoulli(const Tensor& input, Generator* generator) {
  return bernoulli_(empty_like(input, std::nullopt, std::nullopt), input, generator);
}
Tensor bernoulli(const Tensor& input, double p, Generator* generator) {
  return bernoulli_(empty_like(input, std::nullopt, std::nullopt), p, generator);
}

Tensor multinomial(const Tensor& input, int64_t num_samples, bool replacement, Generator* generator) {
  LM_CHECK(input.dim() == 1 || input.dim() == 2, ValueError, "multinomial: the probabilities have shape ",
           input.sizes(), "; need 1 or 2 dimensions");
  int64_t n = input.size(-1), rows = input.dim() == 2 ? input.size(0) : 1;
  LM_CHECK(num_samples > 0, ValueError, "multinomial: num_samples is ", num_samples, "; need num_samples > 0");
  LM_CHECK(n > 0, ValueError, "multinomial: the probabilities have shape ", input.sizes(),
           "; need at least one category");
  LM_CHECK(replacement || num_samples <= n, ValueError, "multinomial: num_samples is ", num_samples,
           " without replacement, but there are ", n, " categories");
  NoGrad guard;
  const Tensor weights = reshape(probabilities(input, "multinomial"), Shape{rows, n});
  const auto complaint = [](const char* text) { return Complaint{Complaint::Value, "multinomial", text, {}}; };
  check_values(weights, 0, kLargest, NaN::Refused, complaint("probability@ is #; need finite numbers >= 0"),
               [](const Tensor& x, int64_t i) { return str(" ", i % x.size(1), " of row ", i / x.size(1)); });
  check_values(sum(weights, Shape{1}, false, std::nullopt), kLeast, HUGE_VAL, NaN::Refused,
               complaint("the probabilities@ add up to #; need a sum > 0"),
               [](const Tensor&, int64_t i) { return str(" of row ", i); });
  const Tensor out = (replacement ? draw_with_replacement : draw_without_replacement)(weights, num_samples, generator);
  Shape size = input.sizes();
  size.back() = num_samples;
  return reshape(out, Sizes(size));
}

Tensor normal(const Operand& mean, const Operand& std, Generator* generator) {
  LM_CHECK(!(mean->wrapped && std->wrapped), ValueError,
           "normal: mean and std are both numbers, which gives no shape; need a tensor, or size=");
  for (const Tensor* x : {static_cast<const Tensor*>(&mean), static_cast<const Tensor*>(&std)})
    LM_CHECK((*x)->wrapped || x->is_floating(), TypeError, "normal: got a tensor of ", x->dtype(),
             "; need a floating-point dtype");
  check_values(std, 0, HUGE_VAL, NaN::Refused, {Complaint::Value, "normal", "std is #; need std >= 0", {}}, nullptr);
  NoGrad guard;
  Tensor z = randn(Sizes(broadcast(mean.sizes(), std.sizes(), "normal")), generator, result_type({&mean, &std}),
                   mean->wrapped ? std.device() : mean.device());
  return add(mul(z, std), mean);
}
Tensor normal(double mean, double std, const Shape& size, Generator* generator, std::optional<DType> dtype,
              std::optional<Device> device) {
  return normal_(empty(Sizes(size), dtype, device), mean, std, generator);
}

// --- in place ---

Tensor uniform_(const Tensor& self, double from, double to, Generator* generator) {
  LM_CHECK(from <= to && std::isfinite(to - from), ValueError, "uniform_: from is ", from, ", to is ", to,
           "; need finite numbers, from <= to");
  DType dtype = self.dtype();
  return draw_into(self, "uniform_", [&](const Tensor& out) {
    fill_uniform(out, generator, from, to);
    if (!is_half(dtype) || from == to) return;
    // Rounding to a half may reach `to`, which does not belong to the interval.
    transform(out, dtype, [&](const Tensor& x) { return where(lt(x, Tensor(to)), x, Tensor(from)); });
  });
}

Tensor normal_(const Tensor& self, double mean, double std, Generator* generator) {
  LM_CHECK(std >= 0, ValueError, "normal_: std is ", std, "; need std >= 0");
  return draw_into(self, "normal_", [&](const Tensor& out) { fill_normal(out, generator, mean, std); });
}

Tensor log_normal_(const Tensor& self, double mean, double std, Generator* generator) {
  LM_CHECK(std > 0, ValueError, "log_normal_: std is ", std, "; need std > 0");
  return draw_into(self, "log_normal_", [&](const Tensor& out) {
    fill_normal(out, generator, mean, std);
    transform(out, out.dtype(), [](const Tensor& x) { return exp(x); });
  });
}

// The following invert a distribution function at u, uniform in [0, 1).
Tensor exponential_(const Tensor& self, double lambd, Generator* generator) {
  LM_CHECK(lambd > 0, ValueError, "exponential_: lambd is ", lambd, "; need lambd > 0");
  return draw_into(self, "exponential_", [&](const Tensor& out) {
    fill_uniform(out, generator);
    transform(out, out.dtype(), [=](const Tensor& u) { return div(log1p(neg(u)), Tensor(-lambd)); });
  });
}

Tensor cauchy_(const Tensor& self, double median, double sigma, Generator* generator) {
  LM_CHECK(sigma > 0, ValueError, "cauchy_: sigma is ", sigma, "; need sigma > 0");
  return draw_into(self, "cauchy_", [&](const Tensor& out) {
    fill_uniform(out, generator);
    transform(out, DType::F64, [=](const Tensor& u) {
      return add(mul(tan(mul(sub(u, Tensor(0.5)), Tensor(std::numbers::pi))), Tensor(sigma)), Tensor(median));
    });
  });
}

Tensor geometric_(const Tensor& self, double p, Generator* generator) {
  LM_CHECK(p > 0 && p < 1, ValueError, "geometric_: p is ", p, "; need 0 < p < 1");
  return draw_into(self, "geometric_", [&](const Tensor& out) {
    fill_uniform(out, generator);
    transform(out, DType::F64,
              [=](const Tensor& u) { return add(floor(div(log1p(neg(u)), Tensor(std::log1p(-p)))), Tensor(1)); });
  });
}

Tensor bernoulli_(const Tensor& self, double p, Generator* generator) {
  LM_CHECK(p >= 0 && p <= 1, ValueError, "bernoulli_: p is ", p, "; need 0 <= p <= 1");
  Tensor values = empty_tensor(self.sizes(), DType::Bool, self.device());
  Philox philox = generator_or_default(generator).take(random_blocks(values.numel(), 4), self.device());
  kernel::random_bernoulli(stream_of(self.device()), philox, values.data<uint8_t>(), values.numel(), p);
  return replace(self, values, "bernoulli_");
}

Tensor bernoulli_(const Tensor& self, const Tensor& p, Generator* generator) {
  LM_CHECK(broadcast(self.sizes(), p.sizes(), "bernoulli_") == self.sizes(), ValueError, "bernoulli_: p has shape ",
           p.sizes(), ", the tensor ", self.sizes(), "; need a shape that broadcasts to it");
  const Tensor chances = probabilities(p, "bernoulli_");
  check_values(chances, 0, 1, NaN::Refused, {Complaint::Value, "bernoulli_", "p@ is #; need 0 <= p <= 1", {}},
               [](const Tensor&, int64_t i) { return str("[", i, "]"); });
  return replace(self, lt(uniforms(self.sizes(), generator, self.device()), chances), "bernoulli_");
}

Tensor random_(const Tensor& self, int64_t from, int64_t to, Generator* generator) {
  return replace(self, draw_integers(self.sizes(), from, to, generator, self.dtype(), self.device(), "random_"),
                 "random_");
}
Tensor random_(const Tensor& self, int64_t to, Generator* generator) { return random_(self, 0, to, generator); }
Tensor random_(const Tensor& self, Generator* generator) {
  // All of [0, maximum] for integers, and the integers a floating-point type counts without gaps.
  int64_t bits = 63;
  switch (self.dtype()) {
    case DType::Bool:
      bits = 1;
      break;
    case DType::U8:
    case DType::BF16:
      bits = 8;
      break;
    case DType::I8:
      bits = 7;
      break;
    case DType::I16:
      bits = 15;
      break;
    case DType::F16:
      bits = 11;
      break;
    case DType::F32:
      bits = 24;
      break;
    case DType::I32:
      bits = 31;
      break;
    case DType::F64:
      bits = 53;
      break;
    case DType::I64:
      break;
  }
  return random_(self, 0, bits == 63 ? INT64_MAX : int64_t(1) << bits, generator);
}

}  // namespace lamina
