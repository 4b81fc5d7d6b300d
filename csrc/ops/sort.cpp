// sort, topk, median, mode, nonzero, searchsorted and friends. The one idea: everything runs on rows, so the
// dimension is moved last first; the gradient of chosen values goes back to where they were found. Next: kernel/sort.h,
// sets.cpp.
#include <algorithm>

#include "autograd/apply.h"
#include "kernel/index.h"
#include "kernel/sort.h"
#include "ops/index.h"
#include "ops/reduce.h"

namespace lamina {
namespace {

// The dimension last, row-major.
Tensor as_rows(const Tensor& x, int dim) {
  if (x.dim() == 0) return x;
  Shape sizes = x.sizes(), strides = x.strides();
  std::swap(sizes[dim], sizes[x.dim() - 1]);
  std::swap(strides[dim], strides[x.dim() - 1]);
  const Tensor view = x.with_layout(sizes, strides, x->offset);
  if (view.is_contiguous()) return view;
  Tensor rows = empty_tensor(sizes, x.dtype(), x.device());
  copy_into(rows, view);
  return rows;
}
// And back where it was.
Tensor from_rows(const Tensor& rows, int dim) { return rows.dim() == 0 ? rows : as_rows(rows, dim); }

// The first k of each row in order: sort (k = n) and topk.
struct SortOp {
  static constexpr const char* kName = "sort";
  int dim;
  int64_t k;
  bool descending;
  Shape sizes;  // of x

  TensorPair forward(Ctx& ctx, const Tensor& x) const {
    const Tensor rows = as_rows(x, dim);
    const int64_t n = x.dim() ? rows.size(-1) : 1;
    Shape kept = rows.sizes();
    if (x.dim()) kept.back() = k;
    Tensor values = empty_tensor(kept, x.dtype(), x.device()), at = empty_tensor(kept, DType::I64, x.device());
    if (n > 0)
      kernel::sort(stream_of(x.device()),
                   {x.dtype(), rows.data(), values.data(), at.data<int64_t>(), rows.numel() / n, n, k, descending});
    at = from_rows(at, dim);
    ctx.save(at);
    return {from_rows(values, dim), at};
  }
  Grads backward(Ctx& ctx, const Tensor* grads) const {
    if (sizes.empty()) return {grads[0]};
    return {scatter_add(full_tensor(sizes, 0, grads[0].dtype(), grads[0].device()), dim, ctx.saved(0), grads[0])};
  }
};

// One element of each row: the k-th smallest, the same unless there is NaN, which wins (median), or the most frequent.
enum class Choice { Kth, Median, Mode };
struct ChooseOp {
  static constexpr const char* kName = "kthvalue";
  Choice choice;
  int dim;
  int64_t k;
  bool keepdim;
  Shape sizes;  // of x

  TensorPair forward(Ctx& ctx, const Tensor& x) const {
    const Tensor rows = as_rows(x, dim);
    const int64_t n = x.dim() ? rows.size(-1) : 1;
    Shape kept = rows.sizes(), out = x.sizes();
    if (x.dim()) kept.back() = 1, out[dim] = 1;
    Tensor values = empty_tensor(kept, x.dtype(), x.device()), at = empty_tensor(kept, DType::I64, x.device());
    const SortJob job{x.dtype(), rows.data(), values.data(), at.data<int64_t>(), values.numel(), n, 1};
    if (choice == Choice::Mode)
      kernel::find_modes(stream_of(x.device()), job);
    else
      kernel::select_kth(stream_of(x.device()), job, k, choice == Choice::Median);
    at = from_rows(at, dim);
    values = from_rows(values, dim);
    ctx.save(at);
    if (keepdim || x.dim() == 0) return {values, at};
    out.erase(dim);
    auto squeezed = [&](const Tensor& t) { return from_storage(t->storage, out, row_major(out), t.dtype()); };
    return {squeezed(values), squeezed(at)};
  }
  Grads backward(Ctx& ctx, const Tensor* grads) const {
    if (sizes.empty()) return {grads[0]};
    const Tensor grad = keepdim ? grads[0] : unsqueeze(grads[0], dim);
    return {scatter_add(full_tensor(sizes, 0, grad.dtype(), grad.device()), dim, ctx.saved(0), grad)};
  }
};

TensorPair choose(Choice choice, const Tensor& x, int64_t k, int dim, bool keepdim) {
  return apply(ChooseOp{choice, dim, k, keepdim, x.sizes()}, x);
}

int64_t extent(const Tensor& x, int dim) { return x.dim() ? x.size(dim) : 1; }

}  // namespace

TensorPair sort(const Tensor& input, int64_t dim, bool descending, bool) {
  const int d = wrap_dim(dim, input.dim(), "sort");
  return apply(SortOp{d, extent(input, d), descending, input.sizes()}, input);
}
Tensor argsort(const Tensor& input, int64_t dim, bool descending, bool stable) {
  return sort(input, dim, descending, stable)[1];
}
Tensor msort(const Tensor& input) { return sort(input, 0, false, true)[0]; }

TensorPair topk(const Tensor& input, int64_t k, int64_t dim, bool largest, bool) {
  const int d = wrap_dim(dim, input.dim(), "topk");
  LM_CHECK(0 <= k && k <= extent(input, d), ValueError, "topk: k is ", k, ", dimension ", d, " has size ",
           extent(input, d), "; need 0 <= k <= size");
  return apply(SortOp{d, k, largest, input.sizes()}, input);
}

TensorPair kthvalue(const Tensor& input, int64_t k, int64_t dim, bool keepdim) {
  const int d = wrap_dim(dim, input.dim(), "kthvalue");
  LM_CHECK(1 <= k && k <= extent(input, d), ValueError, "kthvalue: k is ", k, ", dimension ", d, " has size ",
           extent(input, d), "; need 1 <= k <= size");
  return choose(Choice::Kth, input, k - 1, d, keepdim);
}

Tensor median(const Tensor& input) {
  LM_CHECK(input.numel() > 0, ValueError, "median: a tensor of shape ", input.sizes(),
           " has 0 elements; need at least 1");
  return choose(Choice::Median, reshape(input, Shape{-1}), (input.numel() - 1) / 2, 0, false)[0];
}
TensorPair median(const Tensor& input, int64_t dim, bool keepdim) {
  const int d = wrap_dim(dim, input.dim(), "median");
  LM_CHECK(extent(input, d) > 0, ValueError, "median: dimension ", d, " of a tensor of shape ", input.sizes(),
           " has 0 elements; need at least 1");
  return choose(Choice::Median, input, (extent(input, d) - 1) / 2, d, keepdim);
}

TensorPair mode(const Tensor& input, int64_t dim, bool keepdim) {
  const int d = wrap_dim(dim, input.dim(), "mode");
  LM_CHECK(extent(input, d) > 0, ValueError, "mode: dimension ", d, " of a tensor of shape ", input.sizes(),
           " has 0 elements; need at least 1");
  return choose(Choice::Mode, input, 0, d, keepdim);
}

// Between the two sorted neighbours of q (n - 1).
Tensor quantile(const Tensor& input, const Operand& q, std::optional<int64_t> dim, bool keepdim,
                const std::string& interpolation) {
  check_floating(input, "quantile");
  LM_CHECK(q.dim() <= 1, ValueError, "quantile: q has shape ", q.sizes(), "; need a number or a 1-d tensor");
  const Tensor fractions = reshape(cast(q, DType::F64), Shape{-1});
  std::vector<double> levels;
  for (int64_t i = 0; i < q.numel(); ++i) {
    const double at = select(fractions, 0, i).item_double();
    levels.push_back(at);
    LM_CHECK(0 <= at && at <= 1, ValueError, "quantile: q is ", at, "; need 0 <= q <= 1");
  }
  const Tensor x = dim ? input : reshape(input, Shape{-1});
  const int d = dim ? wrap_dim(*dim, x.dim(), "quantile") : 0;
  LM_CHECK(extent(x, d) > 0, ValueError, "quantile: a tensor of shape ", input.sizes(),
           " has 0 elements to choose from; need at least 1");
  // Sorted with the dimension first: (n, ...)
  const Tensor sorted = x.dim() ? movedim(sort(x, d, false, true)[0], Shape{d}, Shape{0}) : reshape(x, Shape{1});
  const double last = double(extent(x, d) - 1);
  TensorList parts;
  for (const double level : levels) {
    double at = level * last;
    if (interpolation == "nearest")
      at = std::nearbyint(at);
    else if (interpolation == "lower")
      at = std::floor(at);
    else if (interpolation == "higher")
      at = std::ceil(at);
    else if (interpolation == "midpoint")
      at = (std::floor(at) + std::ceil(at)) / 2;
    else
      LM_CHECK(interpolation == "linear", ValueError, "quantile: interpolation is '", interpolation,
               "'; need 'linear', 'lower', 'higher', 'midpoint' or 'nearest'");
    const double low = std::floor(at);
    const Tensor a = select(sorted, 0, int64_t(low)), b = select(sorted, 0, int64_t(std::ceil(at)));
    Tensor y = at == low ? add(a, mul(a, Tensor(0.0))) : add(a, mul(sub(b, a), Tensor(at - low)));
    // A row with NaN has no quantiles: its NaNs are sorted to the end.
    const Tensor end = select(sorted, 0, int64_t(last));
    y = where(ne(end, end), end, y);
    if (keepdim) y = dim ? unsqueeze(y, d) : reshape(y, Shape(input.dim(), 1));
    parts.push_back(y);
  }
  return q.dim() ? stack(parts, 0) : parts[0];
}

// --- positions and counts: not differentiable ---
Tensor flat_nonzero(const Tensor& x) {
  Tensor mask = x;
  if (x.dtype() != DType::Bool || !x.is_contiguous()) {
    mask = empty_tensor(x.sizes(), DType::Bool, x.device());
    copy_into(mask, x);
  }
  ReduceJob job;
  job.kind = Reduce::CountNonzero;
  const int64_t n = mask.numel(), count = reduced(job, mask, {(1u << mask.dim()) - 1, 0}, DType::I64).item_int();
  Tensor out = empty_tensor({count}, DType::I64, x.device());
  if (count > 0) kernel::find_nonzero(stream_of(x.device()), mask.data<bool>(), n, out.data<int64_t>());
  return out;
}

// Column d of the result: the positions' index along dimension d.
Tensor nonzero(const Tensor& input) {
  const Tensor flat = flat_nonzero(input);
  const int dims = input.dim();
  Tensor out = empty_tensor({flat.numel(), dims}, DType::I64, input.device());
  UnravelJob job{flat.data<int64_t>(), flat.numel(), dims, {}, out.data<int64_t>(), dims, 1};
  std::copy(input.sizes().begin(), input.sizes().end(), job.sizes);
  if (out.numel() > 0) kernel::unravel(stream_of(input.device()), job);
  return out;
}

TensorOrList nonzero(const Tensor& input, bool as_tuple) {
  if (!as_tuple) return nonzero(input);
  return unbind(nonzero(input.dim() ? input : reshape(input, Shape{1})), 1);
}

Tensor argwhere(const Tensor& input) { return nonzero(input); }

Tensor searchsorted(const Tensor& sorted_sequence, const Operand& input, bool out_int32, bool right,
                    const std::string& side, const OptTensor& sorter) {
  LM_CHECK(side.empty() || side == "left" || side == "right", ValueError, "searchsorted: side is '", side,
           "'; need 'left' or 'right'");
  const Tensor& sequence = sorted_sequence;
  LM_CHECK(sequence.dim() > 0, ValueError, "searchsorted: the sorted sequence is 0-d; need at least one dimension");
  const bool shared = sequence.dim() == 1;
  bool match = shared || sequence.dim() == input.dim();
  for (int d = 0; match && !shared && d + 1 < sequence.dim(); ++d) match = sequence.size(d) == input.size(d);
  LM_CHECK(match, ValueError, "searchsorted: the sorted sequence has shape ", sequence.sizes(), ", the values ",
           input.sizes(), "; need equal sizes before the last dimension, or a 1-d sequence");
  LM_CHECK(!sorter || sorter->sizes() == sequence.sizes(), ValueError, "searchsorted: the sorter has shape ",
           sorter ? sorter->sizes() : Shape(), ", the sequence ", sequence.sizes(), "; need equal shapes");
  const DType dtype = result_type({&sequence, &input});
  LM_CHECK(input.dim() == 0 || input.device() == sequence.device(), RuntimeError, "searchsorted: the values are on ",
           input.device(), ", the sorted sequence on ", sequence.device(), "; need the same device");
  auto laid_out = [&](const Tensor& x) {
    Tensor y = empty_tensor(x.sizes(), dtype, sequence.device());
    copy_into(y, x);
    return y;
  };
  const Tensor rows = laid_out(sequence), values = laid_out(input);
  const int64_t m = shared || input.dim() == 0 ? input.numel() : input.size(-1), n = sequence.size(-1);
  Tensor out = empty_tensor(input.sizes(), DType::I64, sequence.device());
  Tensor order;
  if (sorter) order = checked_index(*sorter, n, false, sequence.dim() - 1, "searchsorted");
  if (m > 0)
    kernel::search_sorted(stream_of(sequence.device()), {dtype, rows.data(), values.data(), out.data<int64_t>(),
                                                         sorter ? order.data<int64_t>() : nullptr, input.numel() / m, n,
                                                         m, shared, right || side == "right"});
  return out_int32 ? cast(out, DType::I32) : out;
}
Tensor bucketize(const Operand& input, const Tensor& boundaries, bool out_int32, bool right) {
  LM_CHECK(boundaries.dim() == 1, ValueError, "bucketize: the boundaries have shape ", boundaries.sizes(),
           "; need a 1-d tensor");
  return searchsorted(boundaries, input, out_int32, right, "", std::nullopt);
}

Tensor bincount(const Tensor& input, const OptTensor& weights, int64_t minlength) {
  LM_CHECK(input.dim() == 1 && is_integral(input.dtype()), ValueError, "bincount: got shape ", input.sizes(), " of ",
           input.dtype(), "; need a 1-d tensor of integers");
  LM_CHECK(minlength >= 0, ValueError, "bincount: minlength is ", minlength, "; need minlength >= 0");
  LM_CHECK(!weights || weights->sizes() == input.sizes(), ValueError, "bincount: the weights have shape ",
           weights ? weights->sizes() : Shape(), ", the input ", input.sizes(), "; need equal shapes");
  const Tensor x = contiguous(cast(input, DType::I64));
  check_values(x, 0, 0x1p63, NaN::Refused, {Complaint::Value, "bincount", "element@ is #; need integers >= 0", {}},
               [](const Tensor&, int64_t i) { return str(" ", i); });
  const int64_t largest = x.numel() ? max(x).item_int() : -1;
  constexpr int64_t kMostBins = int64_t(1) << 40;
  LM_CHECK(largest < kMostBins && minlength <= kMostBins, ValueError, "bincount: the largest number is ", largest,
           ", minlength is ", minlength, "; need at most ", kMostBins, " counts");
  const int64_t bins = std::max(minlength, largest + 1);
  const Stream stream = stream_of(input.device());
  if (!weights) {
    Tensor counts = full_tensor({bins}, 0, DType::I64, input.device());
    kernel::count_bins(stream, x.data<int64_t>(), x.numel(), nullptr, nullptr, counts.data<int64_t>());
    return counts;
  }
  Tensor w = empty_tensor(input.sizes(), DType::F64, input.device());
  copy_into(w, *weights);
  Tensor sums = full_tensor({bins}, 0.0, DType::F64, input.device());
  kernel::count_bins(stream, x.data<int64_t>(), x.numel(), w.data<double>(), sums.data<double>(), nullptr);
  return weights->is_floating() ? cast(sums, weights->dtype()) : sums;
}

Tensor histc(const Tensor& input, int64_t bins, double min, double max) {
  check_floating(input, "histc");
  LM_CHECK(0 < bins && bins <= int64_t(1) << 40, ValueError, "histc: bins is ", bins, "; need 0 < bins <= 2^40");
  LM_CHECK(min <= max, ValueError, "histc: min is ", min, " and max is ", max, "; need min <= max");
  Tensor x = empty_tensor(input.sizes(), DType::F64, input.device());
  copy_into(x, input);
  if (min == max && x.numel() > 0) min = lamina::min(x).item_double(), max = lamina::max(x).item_double();
  if (min == max) min -= 1, max += 1;
  LM_CHECK(std::isfinite(min) && std::isfinite(max), ValueError, "histc: the range is ", min, " to ", max,
           "; need finite bounds");
  Tensor counts = full_tensor({bins}, 0, DType::I64, input.device());
  kernel::histogram(stream_of(input.device()), x.data<double>(), x.numel(), min, max, bins, counts.data<int64_t>());
  return cast(counts, input.dtype());
}

}  // namespace lamina
