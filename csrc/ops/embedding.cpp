// embedding and one_hot. embedding copies rows of a table; its gradient adds rows into a table, in the order of the
// indices, and the gradient of that is embedding again. Next: cpu/embedding.h.
#include "cpu/embedding.h"

#include <algorithm>

#include "autograd/apply.h"
#include "ops/ops.h"

namespace lamina {
namespace {

// Row-major int64 indices in [0, rows).
Tensor check_indices(const Tensor& input, int64_t rows, const char* op) {
  LM_CHECK(is_integral(input.dtype()), TypeError, op, ": input is ", input.dtype(), "; need integer indices");
  const Tensor index = contiguous(cast(input, DType::I64));
  const int64_t* p = index.data<int64_t>();
  for (int64_t i = 0, n = index.numel(); i < n; ++i)
    LM_CHECK(p[i] >= 0 && p[i] < rows, IndexError, op, ": index ", p[i], " (element ", i,
             ") is out of range; need 0 <= index < ", rows);
  return index;
}

// weight (V, D), index (...) -> (..., D). padding: the row whose gradient is dropped, or -1.
struct Embedding {
  static constexpr const char* kName = "embedding";
  int64_t rows, padding;
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
    for (int64_t i = 0; blank_padding && i < count; ++i)
      if (index.data<int64_t>()[i] == padding) std::fill_n(y.data<char>() + i * row_bytes, row_bytes, char(0));
    return y;
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const;
};

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
    return {apply(Embedding{rows, padding, true}, v, ctx.saved(0)), Tensor()};
  }
};
Grads Embedding::backward(Ctx& ctx, const Tensor& grad) const {
  return {apply(EmbeddingGrad{rows, padding}, grad, ctx.saved(0)), Tensor()};
}

}  // namespace

Tensor embedding(const Tensor& input, const Tensor& weight, std::optional<int64_t> padding_idx) {
  LM_CHECK(weight.dim() == 2, ValueError, "embedding: weight has shape ", weight.sizes(),
           "; need (num_embeddings, embedding_dim)");
  const int64_t rows = weight.size(0), given = padding_idx.value_or(-1);
  LM_CHECK(!padding_idx || (given >= -rows && given < rows), IndexError, "embedding: padding_idx is ", given,
           ", weight has ", rows, " rows; need ", -rows, " <= padding_idx < ", rows);
  const int64_t padding = padding_idx && given < 0 ? given + rows : given;
  return apply(Embedding{rows, padding}, weight, check_indices(input, rows, "embedding"));
}

Tensor one_hot(const Tensor& tensor, int64_t num_classes) {
  LM_CHECK(is_integral(tensor.dtype()), TypeError, "one_hot: tensor is ", tensor.dtype(), "; need integer classes");
  const Tensor index = contiguous(cast(tensor, DType::I64));
  const int64_t* p = index.data<int64_t>();
  const int64_t n = index.numel();
  LM_CHECK(num_classes > 0 || (num_classes == -1 && n > 0), ValueError, "one_hot: num_classes is ", num_classes,
           ", tensor has ", n, " elements; need num_classes >= 1, or -1 and at least one element");
  // The largest class decides when the caller does not.
  const int64_t classes = num_classes > 0 ? num_classes : *std::max_element(p, p + n) + 1;
  check_indices(index, classes, "one_hot");
  Shape sizes = tensor.sizes();
  sizes.push_back(classes);
  Tensor y = full_tensor(sizes, 0, DType::I64, tensor.device());
  for (int64_t i = 0; i < n; ++i) y.data<int64_t>()[i * classes + p[i]] = 1;
  return y;
}

}  // namespace lamina
