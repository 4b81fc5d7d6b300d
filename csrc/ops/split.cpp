// Taking apart: split, chunk, tensor_split and unbind give views; their gradients are joined. One node makes all the
// views, so that backward is one cat and not a sum of tensors that are mostly zero.
#include <algorithm>

#include "autograd/apply.h"
#include "ops/ops.h"

namespace lamina {
namespace {

// Every gradient that arrived, and zeros of the output's shape for those that did not.
template <class SizesOf>
TensorList complete(const Tensor* grads, size_t n, SizesOf&& sizes_of) {
  const Tensor& some = *std::find_if(grads, grads + n, [](const Tensor& grad) { return grad.defined(); });
  TensorList out;
  out.reserve(n);
  for (size_t i = 0; i < n; ++i)
    out.push_back(grads[i].defined() ? grads[i] : full_tensor(sizes_of(i), 0, some.dtype(), some.device()));
  return out;
}

struct Split {
  static constexpr const char* kName = "split";
  int dim;
  Shape sizes;
  std::vector<int64_t> lengths;
  TensorList forward(Ctx&, const Tensor& x) const {
    TensorList out;
    out.reserve(lengths.size());
    Shape part = sizes;
    int64_t at = 0;
    for (int64_t length : lengths) {
      part[dim] = length;
      out.push_back(x.with_layout(part, x.strides(), x->offset + at * x.stride(dim)));
      at += length;
    }
    return out;
  }
  Grads backward(Ctx&, const Tensor* grads) const {
    return {cat(complete(grads, lengths.size(),
                         [&](size_t i) {
                           Shape part = sizes;
                           part[dim] = lengths[i];
                           return part;
                         }),
                dim)};
  }
};

struct Unbind {
  static constexpr const char* kName = "unbind";
  int dim;
  Shape sizes;
  TensorList forward(Ctx&, const Tensor& x) const {
    TensorList out;
    out.reserve(size_t(sizes[dim]));
    Shape part = sizes, strides = x.strides();
    part.erase(dim);
    strides.erase(dim);
    for (int64_t i = 0; i < sizes[dim]; ++i) out.push_back(x.with_layout(part, strides, x->offset + i * x.stride(dim)));
    return out;
  }
  Grads backward(Ctx&, const Tensor* grads) const {
    Shape part = sizes;
    part.erase(dim);
    return {stack(complete(grads, size_t(sizes[dim]), [&](size_t) { return part; }), dim)};
  }
};

TensorList apart(const Tensor& x, int dim, std::vector<int64_t> lengths) {
  return apply(Split{dim, x.sizes(), std::move(lengths)}, x);
}

int splittable_dim(const Tensor& x, int64_t dim, const char* op) {
  LM_CHECK(x.dim() > 0, ValueError, op, ": a tensor of shape () cannot be split; need at least 1 dimension");
  return wrap_dim(dim, x.dim(), op);
}

}  // namespace

TensorList split(const Tensor& tensor, int64_t split_size, int64_t dim) {
  int d = splittable_dim(tensor, dim, "split");
  int64_t n = tensor.size(d);
  LM_CHECK(split_size > 0 || (split_size == 0 && n == 0), ValueError, "split: split_size is ", split_size, " for dim ",
           d, " of size ", n, "; need split_size > 0");
  std::vector<int64_t> lengths;
  for (int64_t at = 0; at < n; at += split_size) lengths.push_back(std::min(split_size, n - at));
  if (lengths.empty()) lengths.push_back(0);
  return apart(tensor, d, std::move(lengths));
}

TensorList split(const Tensor& tensor, const std::vector<int64_t>& split_sizes, int64_t dim) {
  int d = splittable_dim(tensor, dim, "split");
  int64_t total = 0;
  for (int64_t length : split_sizes) {
    LM_CHECK(0 <= length && length <= tensor.size(d), ValueError, "split: size ", length,
             " in the list of sizes for dim ", d, " of size ", tensor.size(d), "; need 0 <= size <= ", tensor.size(d));
    total += length;
  }
  LM_CHECK(total == tensor.size(d), ValueError, "split: the ", split_sizes.size(), " sizes add up to ", total, ", dim ",
           d, " of ", tensor.sizes(), " is ", tensor.size(d), "; need equal");
  return apart(tensor, d, split_sizes);
}

TensorList chunk(const Tensor& input, int64_t chunks, int64_t dim) {
  int d = splittable_dim(input, dim, "chunk");
  LM_CHECK(chunks > 0, ValueError, "chunk: chunks is ", chunks, "; need chunks > 0");
  int64_t n = input.size(d), length = (n + chunks - 1) / chunks;
  // An empty dimension still gives the number of chunks asked for.
  return n ? split(input, length, d) : apart(input, d, std::vector<int64_t>(size_t(chunks), 0));
}

TensorList tensor_split(const Tensor& input, int64_t sections, int64_t dim) {
  int d = splittable_dim(input, dim, "tensor_split");
  constexpr int64_t kMost = int64_t(1) << 24;  // sections beyond the size are empty tensors, each an object
  LM_CHECK(sections > 0 && sections <= kMost, ValueError, "tensor_split: sections is ", sections, "; need 1 to ",
           kMost);
  int64_t n = input.size(d), longer = n % sections;
  std::vector<int64_t> lengths(size_t(sections), n / sections);
  for (int64_t i = 0; i < longer; ++i) ++lengths[size_t(i)];
  return apart(input, d, std::move(lengths));
}

TensorList tensor_split(const Tensor& input, const std::vector<int64_t>& indices, int64_t dim) {
  int d = splittable_dim(input, dim, "tensor_split");
  TensorList out;
  int64_t start = 0;
  for (int64_t end : indices) {
    out.push_back(slice(input, d, start, end, 1));
    start = end;
  }
  out.push_back(slice(input, d, start, input.size(d), 1));
  return out;
}

TensorList unbind(const Tensor& input, int64_t dim) {
  return apply(Unbind{splittable_dim(input, dim, "unbind"), input.sizes()}, input);
}

}  // namespace lamina
