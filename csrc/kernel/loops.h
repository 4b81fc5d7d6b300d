// Loops: the dimensions a kernel steps through, with strides. Neighbours that one loop can cover are merged, so most
// tensors need one or two.
#pragma once
#include <cstdint>

namespace lamina {

// From the outermost to the innermost; strides in elements.
struct Loops {
  int n = 0;
  int64_t total = 1;
  int64_t size[16], stride[16];

  void add(int64_t extent, int64_t step) {
    total *= extent;
    if (extent == 1) return;
    if (n > 0 && stride[n - 1] == extent * step) {
      size[n - 1] *= extent;
      stride[n - 1] = step;
    } else {
      size[n] = extent;
      stride[n++] = step;
    }
  }
  bool adjacent() const { return n > 0 && stride[n - 1] == 1; }
  int64_t offset(int64_t at) const {  // of a position counted row-major
    if (n == 1) return at * stride[0];
    int64_t sum = 0;
    for (int d = n - 1; d >= 0; --d) {
      sum += at % size[d] * stride[d];
      at /= size[d];
    }
    return sum;
  }
};

}  // namespace lamina
