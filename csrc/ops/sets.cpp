// unique, unique_consecutive, isin: tensors as sets of elements, or of slices. The one idea: in order, equal ones stand
// next to each other, so that a set is where runs begin. Nothing here is differentiable. Next: sort.cpp.
#include <algorithm>
#include <numeric>

#include "autograd/apply.h"
#include "kernel/sort.h"
#include "ops/index.h"

namespace lamina {
namespace {

// n items in order: which item stands at each place (undefined: they stand as they are), and where each run of equal
// ones begins.
struct Runs {
  Tensor order, starts;
  int64_t n;
  int64_t count() const { return starts.numel(); }
};

Runs runs_of_elements(const Tensor& input, bool sort_first) {
  const Tensor flat = contiguous(input);
  const int64_t n = input.numel();
  Runs runs{{}, {}, n};
  Tensor sorted = flat;
  if (sort_first) {
    sorted = empty_tensor({n}, input.dtype(), input.device());
    runs.order = empty_tensor({n}, DType::I64, input.device());
    kernel::sort(stream_of(input.device()),
                 {input.dtype(), flat.data(), sorted.data(), runs.order.data<int64_t>(), 1, n, n});
  }
  const Tensor starts = empty_tensor({n}, DType::I64, input.device());
  const int64_t count =
      kernel::find_runs(stream_of(input.device()), input.dtype(), sorted.data(), n, starts.data<int64_t>());
  runs.starts = starts.with_layout({count}, {1}, 0);
  return runs;
}

// Slices are rows here, compared from their first element on; NaN is largest and differs from itself, as in sort.
// Always on the CPU.
Runs runs_of_rows(const Tensor& matrix, bool sort_first) {
  const int64_t n = matrix.size(0), m = matrix.size(1);
  Runs runs{empty_tensor({n}, DType::I64), {}, n};
  int64_t* order = runs.order.data<int64_t>();
  std::iota(order, order + n, 0);
  std::vector<int64_t> starts;
  const Tensor values = to_device(contiguous(cast(matrix, compute_type(matrix.dtype()))), Device());
  dispatch_all(values.dtype(), [&]<class T>() {
    if constexpr (!std::is_same_v<T, f16> && !std::is_same_v<T, bf16>) {
      const T* x = values.data<T>();
      const auto below = [](T a, T b) { return a < b || (b != b && a == a); };
      const auto row_below = [&](int64_t a, int64_t b) {
        return std::lexicographical_compare(x + a * m, x + a * m + m, x + b * m, x + b * m + m, below);
      };
      if (sort_first) std::stable_sort(order, order + n, row_below);
      for (int64_t i = 0; i < n; ++i) {
        const T* row = x + order[i] * m;
        if (i == 0 || !std::equal(row, row + m, x + order[i - 1] * m)) starts.push_back(i);
      }
    }
  });
  runs.starts = empty_tensor({int64_t(starts.size())}, DType::I64);
  std::copy(starts.begin(), starts.end(), runs.starts.data<int64_t>());
  runs.starts = to_device(runs.starts, matrix.device());
  runs.order = to_device(runs.order, matrix.device());
  return runs;
}

TensorOrList unique_of(const Tensor& input, bool sort_first, bool return_inverse, bool return_counts,
                       std::optional<int64_t> dim, const char* op) {
  NoGrad guard;
  LM_CHECK(!dim || input.dim() > 0, ValueError, op, ": a 0-d tensor has no slices along dim ", dim.value_or(0),
           "; need dim=None");
  const int d = dim ? wrap_dim(*dim, input.dim(), op) : 0;
  // Items first: (n), or (n, ...) along dim.
  const Tensor items = dim ? movedim(input, Shape{d}, Shape{0}) : reshape(input, Shape{-1});
  const int64_t n = items.size(0);
  const Runs runs = dim ? runs_of_rows(reshape(items, Shape{n, n ? items.numel() / n : 0}), sort_first)
                        : runs_of_elements(input, sort_first);

  const Tensor kept = runs.order.defined() ? index_select(runs.order, 0, runs.starts) : runs.starts;
  const Tensor values = movedim(index_select(items, 0, kept), Shape{0}, Shape{d});
  if (!return_inverse && !return_counts) return values;
  TensorList out{values};
  if (return_inverse) {
    // The run of each place, brought to the item that stands there.
    const Tensor zeros = full_tensor({n}, 0, DType::I64, input.device());
    Tensor inverse = sub(cumsum(index_fill(zeros, 0, runs.starts, Operand(Tensor(1))), 0, std::nullopt), Tensor(1));
    if (runs.order.defined()) inverse = scatter(zeros, 0, runs.order, inverse);
    out.push_back(dim ? inverse : reshape(inverse, input.sizes()));
  }
  if (return_counts) {
    const Tensor end = full_tensor({1}, n, DType::I64, input.device());
    const Tensor ends = runs.count() ? concat({slice(runs.starts, 0, 1, runs.count()), end}, 0) : runs.starts;
    out.push_back(sub(ends, runs.starts));
  }
  return out;
}

}  // namespace

TensorOrList unique(const Tensor& input, bool, bool return_inverse, bool return_counts, std::optional<int64_t> dim) {
  return unique_of(input, true, return_inverse, return_counts, dim, "unique");
}
TensorOrList unique_consecutive(const Tensor& input, bool return_inverse, bool return_counts,
                                std::optional<int64_t> dim) {
  return unique_of(input, false, return_inverse, return_counts, dim, "unique_consecutive");
}

Tensor isin(const Operand& elements, const Operand& test_elements, bool, bool invert) {
  LM_CHECK(!elements->wrapped || !test_elements->wrapped, TypeError,
           "isin: need a Tensor as elements or test_elements, got two numbers");
  NoGrad guard;
  const DType dtype = result_type({&elements, &test_elements});
  // A number goes where the tensor is.
  const Device device = elements.dim() ? elements.device() : test_elements.device();
  const auto placed = [&](const Tensor& t) { return cast(t.dim() ? t : to_device(t, device), dtype); };
  const Tensor x = placed(elements), set = msort(reshape(placed(test_elements), Shape{-1}));
  if (set.numel() == 0) return full_tensor(x.sizes(), invert, DType::Bool, x.device());
  // Where it would stand is where it stands.
  const Tensor place = minimum(searchsorted(set, x, false, false, "", std::nullopt), Tensor(set.numel() - 1));
  const Tensor found = take_places(set, {0, 1, place.sizes()}, contiguous(place));
  return invert ? ne(found, x) : eq(found, x);
}

}  // namespace lamina
