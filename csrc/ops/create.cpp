// Making tensors from sizes and numbers: zeros, arange, linspace, eye and their relatives. Nothing here is
// differentiable. The one idea: values are computed by index, never by repeated addition, so any element is exact to
// one rounding.
#include <algorithm>
#include <cmath>

#include "core/pool.h"
#include "cpu/copy_loops.h"
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

// A 1-d tensor with f(i) at i, computed in Value (double or int64) and stored as dtype, a block at a time; on the host,
// from where it is brought to the device.
template <class Value, class F>
Tensor from_index(int64_t n, DType dtype, std::optional<Device> device, const char* op, F&& f) {
  constexpr int64_t kGrain = 16384, kBlock = 256;
  Tensor out = checked_empty({n}, dtype, Device(), op);
  char* data = static_cast<char*>(out.data());
  parallel_for(chunk_count(n, kGrain), [&](int64_t c) {
    Value block[kBlock];
    for (int64_t i = c * kGrain, end = std::min(i + kGrain, n); i < end; i += kBlock) {
      int64_t m = std::min(kBlock, end - i);
      for (int64_t k = 0; k < m; ++k) block[k] = f(i + k);
      cpu::convert(dtype_of<Value>, dtype, m, block, data + i * item_size(dtype));
    }
  });
  return to_device(out, device.value_or(default_device()));
}

void check_steps(int64_t steps, const char* op) {
  LM_CHECK(steps >= 0, ValueError, op, ": steps is ", steps, "; need steps >= 0");
}

// The i-th of n numbers from start to end: counted from the nearer end, so that both ends are exact.
double linear(double start, double end, int64_t n, int64_t i) {
  if (n == 1) return start;
  double step = (end - start) / double(n - 1);
  return i < n / 2 ? start + step * double(i) : end - step * double(n - 1 - i);
}

// How many (r, c) of a rows x columns matrix have c - r >= offset: `full` whole rows, then rows of falling length.
__int128 count_upper(__int128 rows, __int128 columns, __int128 offset) {
  __int128 full = std::clamp<__int128>(-offset, 0, rows), end = std::clamp<__int128>(columns - offset, full, rows);
  return full * columns + (end - full) * (2 * (columns - offset) - full - end + 1) / 2;
}

// (row, column) of every element of a triangle, row by row.
Tensor triangle_indices(int64_t rows, int64_t columns, int64_t offset, bool upper, std::optional<DType> dtype,
                        std::optional<Device> device, const char* op) {
  LM_CHECK(rows >= 0 && columns >= 0, ValueError, op, ": row is ", rows, ", col is ", columns, "; need both >= 0");
  offset = std::clamp(offset, -rows, columns);  // beyond the corners nothing changes
  __int128 n = upper ? count_upper(rows, columns, offset)
                     : __int128(rows) * columns - count_upper(rows, columns, __int128(offset) + 1);
  LM_CHECK(n < INT64_MAX / 16, ValueError, op, ": the indices of ", rows, " rows and ", columns,
           " columns do not fit in 64 bits");
  Tensor out = checked_empty({2, int64_t(n)}, DType::I64, Device(), op);
  int64_t *row = out.data<int64_t>(), *column = row + n, *end = column;
  for (int64_t r = upper ? 0 : std::max<int64_t>(0, -offset); row < end; ++r) {
    int64_t first = upper ? std::max<int64_t>(0, r + offset) : 0;
    int64_t last = upper ? columns : std::min(r + offset, columns - 1) + 1;
    for (int64_t c = first; c < last; ++c) {
      *row++ = r;
      *column++ = c;
    }
  }
  return to_device(cast(out, dtype.value_or(DType::I64)), device.value_or(default_device()));
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
    return from_index<int64_t>(int64_t(n), out, device, "arange",
                               [=](int64_t i) { return int64_t(uint64_t(first) + uint64_t(i) * uint64_t(stride)); });
  }
  double n = std::ceil((to - from) / by);
  LM_CHECK(n < 0x1p62, ValueError, "arange: ", from, " to ", to, " by ", by, " has too many elements");
  return from_index<double>(int64_t(n), out, device, "arange", [=](int64_t i) { return from + double(i) * by; });
}
Tensor arange(const Scalar& end, std::optional<DType> dtype, std::optional<Device> device) {
  return arange(Scalar(0), end, Scalar(1), dtype, device);
}

Tensor linspace(double start, double end, int64_t steps, std::optional<DType> dtype, std::optional<Device> device) {
  check_steps(steps, "linspace");
  return from_index<double>(steps, dtype_or_default(dtype), device, "linspace",
                            [=](int64_t i) { return linear(start, end, steps, i); });
}

Tensor logspace(double start, double end, int64_t steps, double base, std::optional<DType> dtype,
                std::optional<Device> device) {
  check_steps(steps, "logspace");
  return from_index<double>(steps, dtype_or_default(dtype), device, "logspace",
                            [=](int64_t i) { return std::pow(base, linear(start, end, steps, i)); });
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
