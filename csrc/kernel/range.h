// What is computed from an index alone: numbers at even steps, the positions of a triangle. No other includes, so that
// kernels of every device use it. Next: create.h.
#pragma once
#include <cstdint>

namespace lamina {

// Element i is first + i * stride (integers, which wrap), or start + i * step, where from index `turn` on the n
// elements are counted from the other end: end - (n - 1 - i) * step.
struct Range {
  bool integers = false;
  int64_t first = 0, stride = 0;
  double start = 0, step = 0, end = 0;
  int64_t turn = 0;
};

// The elements (r, c) of a matrix with c - r >= offset (upper) or c - r <= offset, row by row. Row r has the columns
// [begin(r), end(r)).
struct Triangle {
  int64_t rows, columns, offset;
  bool upper;

  template <class I>
  static constexpr I clamp(I x, I low, I high) {
    return x < low ? low : x > high ? high : x;
  }
  constexpr int64_t begin(int64_t r) const { return upper ? clamp<int64_t>(r + offset, 0, columns) : 0; }
  constexpr int64_t end(int64_t r) const { return upper ? columns : clamp<int64_t>(r + offset + 1, 0, columns); }

  // How many elements the rows before r have: those of whole rows, and those of a run of rows whose lengths fall
  // (upper) or rise by one. I is wide enough for twice the result.
  template <class I>
  constexpr I before(I r) const {
    if (upper) {
      const I whole = clamp<I>(-I(offset), 0, r), last = clamp<I>(I(columns) - offset, whole, r);
      return whole * columns + (last - whole) * (2 * (I(columns) - offset) - whole - last + 1) / 2;
    }
    const I first = clamp<I>(-I(offset), 0, r), whole = clamp<I>(I(columns) - offset - 1, first, r);
    return (whole - first) * (first + whole + 2 * I(offset) + 1) / 2 + (r - whole) * columns;
  }
};

}  // namespace lamina
