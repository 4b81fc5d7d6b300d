// Shape: sizes or strides, up to 16 numbers stored inline, so that no operator call allocates for them.
// Helpers: row-major strides, broadcasting, wrapping of negative dimensions.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <span>

#include "core/errors.h"

namespace lamina {

inline constexpr int kMaxDims = 16;

class Shape {
 public:
  Shape() : n_(0) {}
  Shape(std::initializer_list<int64_t> list) : Shape(std::span<const int64_t>(list.begin(), list.size())) {}
  explicit Shape(std::span<const int64_t> values) {
    LM_CHECK(values.size() <= size_t(kMaxDims), ValueError, "a tensor has at most ", kMaxDims, " dimensions, got ",
             values.size());
    n_ = int(values.size());
    for (int i = 0; i < n_; ++i) d_[i] = values[i];
  }
  Shape(int n, int64_t value) : n_(n) {
    LM_CHECK(n <= kMaxDims, ValueError, "a tensor has at most ", kMaxDims, " dimensions, got ", n);
    for (int i = 0; i < n; ++i) d_[i] = value;
  }
  Shape(const Shape& other) { *this = other; }
  Shape& operator=(const Shape& other) {  // copies only the numbers in use
    n_ = other.n_;
    for (int i = 0; i < n_; ++i) d_[i] = other.d_[i];
    return *this;
  }

  int size() const { return n_; }
  bool empty() const { return n_ == 0; }
  int64_t& operator[](int i) { return d_[i]; }
  int64_t operator[](int i) const { return d_[i]; }
  int64_t* begin() { return d_; }
  int64_t* end() { return d_ + n_; }
  const int64_t* begin() const { return d_; }
  const int64_t* end() const { return d_ + n_; }
  int64_t* data() { return d_; }
  const int64_t* data() const { return d_; }
  int64_t& back() { return d_[n_ - 1]; }
  int64_t back() const { return d_[n_ - 1]; }
  operator std::span<const int64_t>() const { return {d_, size_t(n_)}; }

  void push_back(int64_t value) { insert(n_, value); }
  void insert(int at, int64_t value) {
    LM_CHECK(n_ < kMaxDims, ValueError, "a tensor has at most ", kMaxDims, " dimensions");
    for (int i = n_++; i > at; --i) d_[i] = d_[i - 1];
    d_[at] = value;
  }
  void erase(int at) {
    for (int i = at + 1; i < n_; ++i) d_[i - 1] = d_[i];
    --n_;
  }
  bool operator==(const Shape& other) const {
    if (n_ != other.n_) return false;
    for (int i = 0; i < n_; ++i)
      if (d_[i] != other.d_[i]) return false;
    return true;
  }
  int64_t numel() const {
    int64_t product = 1;
    for (int i = 0; i < n_; ++i) product *= d_[i];
    return product;
  }

 private:
  int n_;
  int64_t d_[kMaxDims];
};

std::ostream& operator<<(std::ostream& out, const Shape& shape);  // (2, 3), (4,), ()

Shape row_major(const Shape& sizes);
bool is_row_major(const Shape& sizes, const Shape& strides);
// Strides of (N, C, ...) stored as (N, ..., C): what convolutions and pools read fastest.
Shape channels_last(const Shape& sizes);
// NumPy's broadcasting of two shapes; ValueError names `op` and both shapes.
Shape broadcast(const Shape& a, const Shape& b, const char* op);
// Strides that read a tensor of `sizes` as the larger shape `to` (0 where it repeats). `to` must be a valid target.
Shape broadcast_strides(const Shape& sizes, const Shape& strides, const Shape& to);
// dim in [-n, n) to [0, n); a 0-d tensor counts as 1-d, as in PyTorch. IndexError otherwise.
int wrap_dim(int64_t dim, int n, const char* op);
// Number of elements with overflow check, and no negative sizes. ValueError.
int64_t checked_numel(const Shape& sizes, const char* op);

}  // namespace lamina
