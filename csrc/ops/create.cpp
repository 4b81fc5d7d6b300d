// Making tensors from sizes and numbers: zeros, arange, linspace, eye and their relatives. Nothing here is
// differentiable. The one idea: values are computed by index, never by repeated addition, so any element is exact to
// one rounding.
#include <algorithm>
#include <cmath>

#include "kernel/create.h"
#include "ops/ops.h"

namespace lamina {
namespace {

DType dtype_or_default(std::optional<DType> dtype) { return dtype.value_or(default_dtype()); }

void check_size(const Shape& size, DType dtype, const char* op) {
  int64_t n = checked_numel(size, op), bytes;
  LM_CHECK(!__builtin_mul_overflow(n, item_size(dtype), &bytes), ValueError, op, ": the bytes of ", size, " ", dtype,
           " do not fit in 64 bits");
}

Tensor checked_empty(const Shape& size, DType dtype, std::optional<Device> device, const char* op) {
  check_size(size, dtype, op);
  return empty_tensor(size, dtype, device.value_or(default_device()));
}

Tensor checked_full(const Shape& size, const Scalar& value, DType dtype, std::optional<Device> device, const char* op) {
  check_size(size, dtype, op);
  return full_tensor(size, value, dtype, device.value_or(default_device()));
}

// The memory order of x where it is dense, as PyTorch's *_like keeps it.
Tensor empty_in_order_of(const Tensor& x, DType dtype, Device device) {
  if (!is_dense(x.sizes(), x.strides())) return empty_tensor(x.sizes(), dtype, device);
  return empty_strided_tensor(x.sizes(), x.strides(), dtype, device);
}

Tensor full_in_order_of(const Tensor& x, const Scalar& value, std::optional<DType> dtype,
                        std::optional<Device> device) {
  Tensor out = empty_in_order_of(x, dtype.value_or(x.dtype()), device.value_or(x.device()));
  copy_into(out, full_tensor({}, value, out.dtype(), out.device()));
  return out;
}

Tensor from_range(const Range& range, int64_t n, DType dtype, std::optional<Device> device, const char* op) {
  Tensor out = checked_empty({n}, dtype, device, op);
  kernel::fill_range(stream_of(out.device()), range, dtype, out.data(), n);
  return out;
}

// (row, column) of every element of a triangle, row by row.
Tensor triangle_indices(int64_t rows, int64_t columns, int64_t offset, bool upper, std::optional<DType> dtype,
                        std::optional<Device> device, const char* op) {
  LM_CHECK(rows >= 0 && columns >= 0, ValueError, op, ": row is ", rows, ", col is ", columns, "; need both >= 0");
  const Triangle triangle{rows, columns, std::clamp(offset, -rows, columns), upper};  // beyond, nothing changes
  const __int128 n = triangle.before<__int128>(rows);
  LM_CHECK(n < INT64_MAX / 16, ValueError, op, ": the indices of ", rows, " rows and ", columns,
           " columns do not fit in 64 bits");
  Tensor out = checked_empty({2, int64_t(n)}, DType::I64, device, op);
  kernel::fill_triangle(stream_of(out.device()), triangle, out.data<int64_t>(), int64_t(n));
  return cast(out, dtype.value_or(DType::I64));
}

}  // namespace

Tensor empty(const Sizes& size, std::optional<DType> dtype, std::optional<Device> device) {
  return checked_empty(size, dtype_or_default(dtype), device, "empty");
}
Tensor scalar_tensor(const Scalar& s, std::optional<DType> dtype, std::optional<Device> device) {
  return full_tensor({}, s, dtype_or_default(dtype), device.value_or(Device()));
}

Tensor zeros(const Sizes& size, std::optional<DType> dtype, std::optional<Device> device) {
  return checked_full(size, 0, dtype_or_default(dtype), device, "zeros");
}
Tensor ones(const Sizes& size, std::optional<DType> dtype, std::optional<Device> device) {
  return checked_full(size, 1, dtype_or_default(dtype), device, "ones");
}
Tensor full(const Shape& size, const Scalar& fill_value, std::optional<DType> dtype, std::optional<Device> device) {
  DType natural = fill_value.kind == Scalar::kBool  ? DType::Bool
                  : fill_value.kind == Scalar::kInt ? DType::I64
                                                    : default_dtype();
  return checked_full(size, fill_value, dtype.value_or(natural), device, "full");
}

Tensor empty_like(const Tensor& input, std::optional<DType> dtype, std::optional<Device> device) {
  return empty_in_order_of(input, dtype.value_or(input.dtype()), device.value_or(input.device()));
}
Tensor zeros_like(const Tensor& input, std::optional<DType> dtype, std::optional<Device> device) {
  return full_in_order_of(input, 0, dtype, device);
}
Tensor ones_like(const Tensor& input, std::optional<DType> dtype, std::optional<Device> device) {
  return full_in_order_of(input, 1, dtype, device);
}
Tensor full_like(const Tensor& input, const Scalar& fill_value, std::optional<DType> dtype,
                 std::optional<Device> device) {
  return full_in_order_of(input, fill_value, dtype, device);
}

Tensor new_empty(const Tensor& input, const Sizes& size, std::optional<DType> dtype, std::optional<Device> device) {
  return checked_empty(size, dtype.value_or(input.dtype()), device.value_or(input.device()), "new_empty");
}
Tensor new_zeros(const Tensor& input, const Sizes& size, std::optional<DType> dtype, std::optional<Device> device) {
  return checked_full(size, 0, dtype.value_or(input.dtype()), device.value_or(input.device()), "new_zeros");
}
Tensor new_ones(const Tensor& input, const Sizes& size, std::optional<DType> dtype, std::optional<Device> device) {
  return checked_full(size, 1, dtype.value_or(input.dtype()), device.value_or(input.device()), "new_ones");
}
Tensor new_full(const Tensor& input, const Shape& size, const Scalar& fill_value, std::optional<DType> dtype,
                std::optional<Device> device) {
  return checked_full(size, fill_value, dtype.value_or(input.dtype()), device.value_or(input.device()), "new_full");
}

Tensor empty_strided(const Shape& size, const Shape& stride, std::optional<DType> dtype, std::optional<Device> device) {
  LM_CHECK(size.size() == stride.size(), ValueError, "empty_strided: size ", size, " and stride ", stride, " have ",
           size.size(), " and ", stride.size(), " entries; need equal numbers");
  checked_numel(size, "empty_strided");
  __int128 last = 1;
  for (int i = 0; i < size.size(); ++i) {
    LM_CHECK(stride[i] >= 0, ValueError, "empty_strided: negative stride in ", stride, "; need strides >= 0");
    last += __int128(size[i]) * stride[i];
  }
  LM_CHECK(last < (int64_t(1) << 59), ValueError, "empty_strided: size ", size, " with stride ", stride,
           " does not fit in 64 bits");
  return empty_strided_tensor(size, stride, dtype_or_default(dtype), device.value_or(default_device()));
}

Tensor arange(const Scalar& start, const Scalar& end, const Scalar& step, std::optional<DType> dtype,
              std::optional<Device> device) {
  bool integers = start.kind != Scalar::kFloat && end.kind != Scalar::kFloat && step.kind != Scalar::kFloat;
  DType out = dtype.value_or(integers ? DType::I64 : default_dtype());
  double from = start.to_double(), to = end.to_double(), by = step.to_double();
  LM_CHECK(out != DType::Bool, TypeError, "arange: not defined for bool; need a number dtype");
  LM_CHECK(by != 0, ValueError, "arange: step is 0; need a step other than 0");
  LM_CHECK(std::isfinite(from) && std::isfinite(to) && std::isfinite(by), ValueError, "arange: start ", from, ", end ",
           to, ", step ", by, "; need finite numbers");
  LM_CHECK((to - from) * by >= 0, ValueError, "arange: step ", by, " does not lead from start ", from, " to end ", to,
           "; need a step of the other sign");
  if (integers) {
    int64_t first = start.to_int(), last = end.to_int(), stride = step.to_int();
    __int128 span = __int128(last) - first, n = (span + stride + (stride > 0 ? -1 : 1)) / stride;
    LM_CHECK(n < INT64_MAX, ValueError, "arange: ", first, " to ", last, " has too many elements");
    return from_range({.integers = true, .first = first, .stride = stride}, int64_t(n), out, device, "arange");
  }
  double n = std::ceil((to - from) / by);
  LM_CHECK(n < 0x1p62, ValueError, "arange: ", from, " to ", to, " by ", by, " has too many elements");
  return from_range({.start = from, .step = by, .turn = int64_t(n)}, int64_t(n), out, device, "arange");
}
Tensor arange(const Scalar& end, std::optional<DType> dtype, std::optional<Device> device) {
  return arange(Scalar(0), end, Scalar(1), dtype, device);
}

// Counted from the nearer end, so that both ends are exact.
static Tensor linear(double start, double end, int64_t steps, DType dtype, std::optional<Device> device,
                     const char* op) {
  LM_CHECK(steps >= 0, ValueError, op, ": steps is ", steps, "; need steps >= 0");
  const double step = steps > 1 ? (end - start) / double(steps - 1) : 0;
  return from_range({.start = start, .step = step, .end = end, .turn = std::max<int64_t>(steps / 2, steps == 1)}, steps,
                    dtype, device, op);
}
Tensor linspace(double start, double end, int64_t steps, std::optional<DType> dtype, std::optional<Device> device) {
  return linear(start, end, steps, dtype_or_default(dtype), device, "linspace");
}

Tensor logspace(double start, double end, int64_t steps, double base, std::optional<DType> dtype,
                std::optional<Device> device) {
  const Tensor exponents = linear(start, end, steps, DType::F64, device, "logspace");
  return cast(pow(Tensor(base), exponents), dtype_or_default(dtype));
}

Tensor eye(int64_t n, std::optional<int64_t> m, std::optional<DType> dtype, std::optional<Device> device) {
  int64_t columns = m.value_or(n);
  LM_CHECK(n >= 0 && columns >= 0, ValueError, "eye: n is ", n, ", m is ", columns, "; need both >= 0");
  Tensor out = checked_full({n, columns}, 0, dtype_or_default(dtype), device, "eye");
  int64_t length = std::min(n, columns);
  copy_into(out.with_layout({length}, {columns + 1}, 0), full_tensor({}, 1, out.dtype(), out.device()));
  return out;
}

Tensor tril_indices(int64_t row, int64_t col, int64_t offset, std::optional<DType> dtype,
                    std::optional<Device> device) {
  return triangle_indices(row, col, offset, false, dtype, device, "tril_indices");
}
Tensor triu_indices(int64_t row, int64_t col, int64_t offset, std::optional<DType> dtype,
                    std::optional<Device> device) {
  return triangle_indices(row, col, offset, true, dtype, device, "triu_indices");
}

}  // namespace lamina
