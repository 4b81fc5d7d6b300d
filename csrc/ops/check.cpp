// See check.h.
#include "ops/check.h"

#include "autograd/apply.h"
#include "kernel/check.h"
#include "ops/ops.h"

namespace lamina {
namespace {

[[noreturn]] void complain(const Complaint& complaint, const Tensor& x, int64_t i, Where where) {
  const Tensor element = x.with_layout({}, {}, x->offset + i);
  const std::string place = where ? where(x, i) : "";
  if (x.is_floating()) fail(complaint, element.item_double(), place.c_str());
  fail(complaint, element.item_int(), place.c_str());
}

}  // namespace

std::string at_position(const Tensor& x, int64_t i) {
  Shape position(x.dim(), 0);
  for (int d = x.dim() - 1; d >= 0; i /= x.size(d--)) position[d] = i % x.size(d);
  return str(" at position ", position);
}
std::string at_element(const Tensor&, int64_t i) { return str(" (element ", i, ")"); }

Tensor checked_index(const Tensor& index, int64_t size, bool wrap, const Complaint& complaint, Where where) {
  Tensor x = index;
  const bool own = index.dtype() != DType::I64 || !index.is_contiguous();
  if (own) {
    x = empty_tensor(index.sizes(), DType::I64, index.device());
    copy_into(x, index);
  }
  if (x.numel() == 0) return x;
  IndexCheck check{x.data<int64_t>(), nullptr, x.numel(), 0, size, complaint};
  const bool on_cpu = x.device().is_cpu();
  int64_t bad = 0;
  // On the CPU there is mostly nothing to change.
  if (on_cpu && (bad = kernel::check_index({}, check)) < 0) return x;
  // A size of 0 leaves a GPU no harmless index to go on with: its first one is refused here.
  if (size > 0 && (wrap || !on_cpu)) {
    Tensor out = own ? x : empty_tensor(x.sizes(), DType::I64, x.device());
    check.out = out.data<int64_t>();
    if (wrap) check.low = -size;
    if ((bad = kernel::check_index(stream_of(x.device()), check)) < 0) return out;
  }
  complain(complaint, x, bad, where);
}

Tensor checked_index(const Tensor& index, int64_t size, bool wrap, int dim, const char* op) {
  LM_CHECK(is_integral(index.dtype()), TypeError, op, ": the index has dtype ", index.dtype(), "; need int64");
  const char* text = "index #@ is out of range for dimension % of size %; need % <= index < %";
  return checked_index(index, size, wrap, {Complaint::Index, op, text, {dim, size, wrap ? -size : 0, size}},
                       at_position);
}

void check_values(const Tensor& values, double low, double high, NaN nan, const Complaint& complaint, Where where) {
  const DType dtype = is_integral(values.dtype()) ? DType::I64 : compute_type(values.dtype());
  const Tensor x = contiguous(cast(values.alias(), dtype));
  const ValueCheck check{x.dtype(), x.data(), x.numel(), low, high, nan == NaN::Allowed, complaint};
  const int64_t bad = kernel::check_values(stream_of(x.device()), check);
  if (bad >= 0) complain(complaint, x, bad, where);
}

}  // namespace lamina
