// embedding and one_hot. embedding copies rows of a table; its gradient adds rows into a table, in the order of the
// indices, and the gradient of that is embedding again. Next: kernel/embedding.h.
#include "kernel/embedding.h"

#include "autograd/apply.h"
#include "kernel/sort.h"
#include "ops/index.h"

namespace lamina {
namespace {

// Row-major int64 indices in [0, rows).
Tensor check_indices(const Tensor& input, int64_t rows, const char* op) {
  LM_CHECK(is_integral(input.dtype()), TypeError, op, ": input is ", input.dtype(), "; need integer indices");
  return checked_index(input, rows, false,
                       {Complaint::Index, op, "index #@ is out of range; need 0 <= index < %", {rows}}, at_element);
}

// weight (V, D), index (...) -> (..., D). padding: the row whose gradient is dropped, or -1.
struct Embedding {
  static constexpr const char* kName = "embedding";
  int64_t rows, padding;
  bool by_frequency = false;   // divide a row's gradient by how often the row occurs
  bool blank_padding = false;  // read the padding row as zeros: the adjoint of EmbeddingGrad

  Tensor forward(Ctx& ctx, const Tensor& weight, const Tensor& index) const {
    ctx.save(index);
    const Tensor table = contiguous(weight);
    Shape sizes = index.sizes();
    sizes.push_back(weight.size(1));
    Tensor y = empty_tensor(sizes, weight.dtype(), weight.device());
    // Any dtype: rows are moved as bytes.
    const int64_t count = index.numel(), row_bytes = weight.size(1) * weight.itemsize();
    kernel::embedding_rows(stream_of(weight.device()), table.data(), index.data<int64_t>(), y.data(), count, row_bytes);
    if (!blank_padding || padding < 0) return y;
    return where(unsqueeze(eq(index, Tensor(padding)), -1), full_tensor({}, 0, y.dtype(), y.device()), y);
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const;
};

// How often the class of each index occurs: (...) -> (..., 1)
Tensor frequencies(const Tensor& index, int64_t rows, DType dtype) {
  const Tensor counts = full_tensor({rows}, 0, DType::I64, index.device());
  kernel::count_bins(stream_of(index.device()), index.data<int64_t>(), index.numel(), nullptr, nullptr,
                     counts.data<int64_t>());
  return cast(unsqueeze(take_places(counts, {0, 1, index.sizes()}, index), -1), dtype);
}

// grad (..., D), index (...) -> (V, D)
struct EmbeddingGrad {
  static constexpr const char* kName = "embedding_backward";
  int64_t rows, padding;

  Tensor forward(Ctx& ctx, const Tensor& grad, const Tensor& index) const {
    ctx.save(index);
    // Half precision adds up in float: a frequent word sums thousands of rows.
    const Tensor g = contiguous(cast(grad, compute_type(grad.dtype())));
    Tensor table = empty_tensor({rows, grad.size(-1)}, g.dtype(), g.device());
    kernel::embedding_gradient(stream_of(g.device()), g.itemsize(), g.data(), index.data<int64_t>(), table.data(),
                               index.numel(), rows, grad.size(-1), padding);
    return cast(table, grad.dtype());
  }
  Grads backward(Ctx& ctx, const Tensor& v) const {
    return {apply(Embedding{rows, padding, false, true}, v, ctx.saved(0)), Tensor()};
  }
};
Grads Embedding::backward(Ctx& ctx, const Tensor& grad) const {
  const Tensor index = ctx.saved(0);
  const Tensor g = by_frequency ? div(grad, frequencies(index, rows, grad.dtype())) : grad;
  return {apply(EmbeddingGrad{rows, padding}, g, index), Tensor()};
}

// Rows whose p-norm is above max_norm are scaled down to it, in place, outside the tape.
void renormalize(const Tensor& weight, const Tensor& index, double max_norm, double p) {
  NoGrad guard;
  const Places places{0, 1, {index.numel()}};
  const Tensor rows = cast(take_places(weight.alias(), places, index), compute_type(weight.dtype()));
  const Tensor norms = norm(rows, p, Shape{1}, true, std::nullopt), above = gt(norms, Tensor(max_norm));
  if (weight.device().is_cpu() && !any(above, std::nullopt, false).item_int()) return;
  const Tensor scale = where(above, div(Tensor(max_norm), add(norms, Tensor(1e-7))), Tensor(1.0));
  put_places_into(weight, places, index, cast(mul(rows, scale), weight.dtype()), false);
  weight.bump_version();
}

}  // namespace

Tensor embedding(const Tensor& input, const Tensor& weight, std::optional<int64_t> padding_idx,
                 std::optional<double> max_norm, double norm_type, bool scale_grad_by_freq, bool sparse) {
  LM_CHECK(!sparse, NotImplementedError, "embedding: sparse is True; gradients are dense here");
  LM_CHECK(weight.dim() == 2, ValueError, "embedding: weight has shape ", weight.sizes(),
           "; need (num_embeddings, embedding_dim)");
  const int64_t rows = weight.size(0), given = padding_idx.value_or(-1);
  LM_CHECK(!padding_idx || (given >= -rows && given < rows), IndexError, "embedding: padding_idx is ", given,
           ", weight has ", rows, " rows; need ", -rows, " <= padding_idx < ", rows);
  const int64_t padding = padding_idx && given < 0 ? given + rows : given;
  check_same_device(weight, input, "index", "embedding");
  const Tensor index = check_indices(input, rows, "embedding");
  if (max_norm) renormalize(weight, index, *max_norm, norm_type);
  return apply(Embedding{rows, padding, scale_grad_by_freq}, weight, index);
}

Tensor one_hot(const Tensor& tensor, int64_t num_classes) {
  LM_CHECK(is_integral(tensor.dtype()), TypeError, "one_hot: tensor is ", tensor.dtype(), "; need integer classes");
  const int64_t n = tensor.numel();
  LM_CHECK(num_classes > 0 || (num_classes == -1 && n > 0), ValueError, "one_hot: num_classes is ", num_classes,
           ", tensor has ", n, " elements; need num_classes >= 1, or -1 and at least one element");
  // The largest class decides when the caller does not.
  const int64_t classes = num_classes > 0 ? num_classes : max(tensor).item_int() + 1;
  const Tensor index = check_indices(tensor, classes, "one_hot");
  Shape sizes = tensor.sizes();
  sizes.push_back(classes);
  Tensor y = full_tensor(sizes, 0, DType::I64, tensor.device());
  return n ? scatter(y, -1, unsqueeze(index, -1), Scalar(1)) : y;
}

}  // namespace lamina
