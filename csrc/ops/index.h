// x[...] and x[...] = v: integers, slices, None, Ellipsis, bools, integer tensors and masks, as NumPy and PyTorch read
// them. The one idea: the basic part (all but tensors) is a view; the tensors become one list of positions, taken or
// put by one kernel. Python's parser fills a list of Index. Next: index.cpp (parsing), index_ops.cpp (the operators).
#pragma once
#include <optional>
#include <span>

#include "ops/check.h"
#include "ops/ops.h"

namespace lamina {

struct Index {
  enum Kind : uint8_t { kInteger, kSlice, kNone, kEllipsis, kBool, kTensor };
  Kind kind = kEllipsis;
  bool value = false;                  // kBool
  int64_t at = 0;                      // kInteger
  std::optional<int64_t> start, stop;  // kSlice
  int64_t step = 1;
  Tensor tensor;  // kTensor: integers, or a bool mask

  Index() = default;
  static Index integer(int64_t at);
  static Index slice(std::optional<int64_t> start, std::optional<int64_t> stop, int64_t step = 1);
  static Index none();
  static Index ellipsis() { return {}; }
  static Index boolean(bool value);
  static Index of(Tensor tensor);
};

// x[index]: a view where no tensor takes part, else a new tensor. Differentiable.
Tensor index_get(const Tensor& x, std::span<const Index> index);
// self[index] = value, or += with `accumulate` (positions that appear twice add up, in order). Value broadcasts and is
// converted; the tape sees the change as PyTorch's would.
void index_put(Tensor& self, std::span<const Index> index, const Tensor& value, bool accumulate = false);

// --- what indexing operators share ---
// Which elements of which dimensions: `positions` (int64, row-major) count row-major over the dimensions
// [dim, dim + n) of a tensor.
struct Places {
  int dim = 0, n = 1;
  Shape shape;  // of the index: stands in the result where the n dimensions stood

  Shape result(const Shape& sizes) const;
};
// The elements of x there; and x with values put there (a copy). Differentiable in x and values. Values have the shape
// places.result(x.sizes()), or one element.
Tensor take_places(const Tensor& x, const Places& places, const Tensor& positions);
Tensor put_places(const Tensor& x, const Places& places, const Tensor& positions, const Tensor& values,
                  bool accumulate);
// Writes into x's own memory, outside the tape.
void put_places_into(const Tensor& x, const Places& places, const Tensor& positions, const Tensor& values,
                     bool accumulate);

// RuntimeError unless `other` (called `name`) is where x is.
void check_same_device(const Tensor& x, const Tensor& other, const char* name, const char* op);
// Row-major positions of the elements that are not zero, int64.
Tensor flat_nonzero(const Tensor& x);
}  // namespace lamina
