// Running sums and the like along one dimension of (outer, n, inner), and linear recurrences. The one idea (Blelloch,
// "Prefix sums and their applications", 1990): each is an associative join of states, so lines can be cut into pieces:
// first the totals of all pieces, then every piece starts from the totals before it. A Scan has
//   State identity();  State load(at, k);  State join(left, right);  void store(at, state);
// with `at` the offset of an element and k its step in the direction of the scan. Next: scan.cu.
#pragma once
#include "cuda/kernels/block_scan.cuh"
#include "cuda/kernels/nest.cuh"

namespace lamina::cuda {

constexpr int kScanBlock = 256, kScanEach = 4, kScanTile = kScanBlock * kScanEach;

// Step k of a line is the element k, or n - 1 - k in reverse.
struct ScanLines {
  int64_t outer, n, inner;
  bool reverse;
  LM_DEVICE int64_t at(int64_t line, int64_t k) const {
    int64_t column;
    const int64_t o = divide(line, inner, column);
    return (o * n + (reverse ? n - 1 - k : k)) * inner + column;
  }
};

// totals[line * pieces + piece] of pieces of `step`; without `totals_only` the results, each piece starting from the
// totals of the pieces before. Adjacent elements: a block takes a piece, tile by tile, four elements a thread.
template <class Scan>
__global__ void __launch_bounds__(kScanBlock)
    scan_rows_kernel(const Scan scan, const ScanLines lines, int64_t pieces, int64_t step, typename Scan::State* totals,
                     bool totals_only) {
  using State = typename Scan::State;
  LM_SHARED(State, scratch, [32]);
  int64_t piece;
  const int64_t line = divide(int64_t(blockIdx.x), pieces, piece);
  const auto join = [&](const State& a, const State& b) { return scan.join(a, b); };
  State carry = scan.identity();
  if (!totals_only)
    for (int64_t p = 0; p < piece; ++p) carry = scan.join(carry, totals[line * pieces + p]);
  const int64_t end = (piece + 1) * step < lines.n ? (piece + 1) * step : lines.n;
  for (int64_t base = piece * step; base < end; base += kScanTile) {
    const int64_t first = base + int64_t(threadIdx.x) * kScanEach;
    State part[kScanEach];
    State sum = scan.identity();
#pragma unroll
    for (int i = 0; i < kScanEach; ++i) {
      if (first + i < end) sum = scan.join(sum, scan.load(lines.at(line, first + i), first + i));
      part[i] = sum;
    }
    State total;
    const State before = scan.join(carry, block_scan(sum, scan.identity(), join, Shared<State>(scratch), total));
    carry = scan.join(carry, total);
    if (totals_only) continue;
#pragma unroll
    for (int i = 0; i < kScanEach; ++i)
      if (first + i < end) scan.store(lines.at(line, first + i), scan.join(before, part[i]));
  }
  if (totals_only && threadIdx.x == 0) totals[line * pieces + piece] = carry;
}

// Lines side by side: a thread takes a piece of a line.
template <class Scan>
__global__ void __launch_bounds__(kScanBlock)
    scan_columns_kernel(const Scan scan, const ScanLines lines, int64_t pieces, int64_t step,
                        typename Scan::State* totals, bool totals_only) {
  using State = typename Scan::State;
  const int64_t count = lines.outer * lines.inner, i = int64_t(blockIdx.x) * kScanBlock + threadIdx.x;
  if (i >= count * pieces) return;
  int64_t line;
  const int64_t piece = divide(i, count, line);
  State sum = scan.identity();
  if (!totals_only)
    for (int64_t p = 0; p < piece; ++p) sum = scan.join(sum, totals[line * pieces + p]);
  const int64_t end = (piece + 1) * step < lines.n ? (piece + 1) * step : lines.n;
  int64_t at = lines.at(line, piece * step);
  for (int64_t k = piece * step; k < end; ++k, at += lines.reverse ? -lines.inner : lines.inner) {
    sum = scan.join(sum, scan.load(at, k));
    if (!totals_only) scan.store(at, sum);
  }
  if (totals_only) totals[line * pieces + piece] = sum;
}

template <class T>
struct ScanWide {
  using Type = T;
};
template <>
struct ScanWide<float> {
  using Type = double;
};

// Sums or products; float32 carries double.
template <class T>
struct SumScan {
  using Wide = typename ScanWide<T>::Type;
  struct State {
    union {
      Wide v;
      uint32_t word;  // a state is shuffled in whole words
    };
  };
  const T* x;
  T* out;
  bool product;

  LM_DEVICE static State of(Wide v) {
    State s;
    s.word = 0;
    s.v = v;
    return s;
  }
  LM_DEVICE State identity() const { return of(Wide(product ? 1 : 0)); }
  LM_DEVICE State load(int64_t at, int64_t) const { return of(Wide(x[at])); }
  LM_DEVICE State join(const State& a, const State& b) const { return of(Wide(product ? a.v * b.v : a.v + b.v)); }
  LM_DEVICE void store(int64_t at, const State& s) const { out[at] = T(s.v); }
};

// The extreme so far and where it is: ties move on to the later position, and so does NaN.
template <class T>
struct ExtremeScan {
  struct State {
    int64_t at;
    T v;
  };
  const T* x;
  T* out;
  int64_t* positions;
  int64_t n;
  bool largest, reverse;

  LM_DEVICE State identity() const { return {-1, T(0)}; }
  LM_DEVICE State load(int64_t at, int64_t k) const { return {reverse ? n - 1 - k : k, x[at]}; }
  LM_DEVICE State join(const State& a, const State& b) const {
    if (a.at < 0) return b;
    if (b.at < 0) return a;
    return b.v != b.v || (largest ? b.v >= a.v : b.v <= a.v) ? b : a;
  }
  LM_DEVICE void store(int64_t at, const State& s) const {
    out[at] = s.v;
    positions[at] = s.at;
  }
};

template <class T>
struct LogSumScan {
  struct State {
    double v;
  };
  const T* x;
  T* out;

  LM_DEVICE State identity() const { return {-__builtin_huge_val()}; }
  LM_DEVICE State load(int64_t at, int64_t) const { return {double(x[at])}; }
  LM_DEVICE State join(const State& a, const State& b) const {
    if (a.v != a.v || b.v != b.v) return {a.v + b.v};
    const double high = a.v > b.v ? a.v : b.v, low = a.v > b.v ? b.v : a.v;
    return {high - high != 0 ? high : high + log1p(exp(low - high))};  // infinite: stands for itself
  }
  LM_DEVICE void store(int64_t at, const State& s) const { out[at] = T(s.v); }
};

// h[k] = a h[k - 1] + b: the maps h -> factor h + offset, one after the other.
template <class T>
struct RecurrenceScan {
  struct State {
    double factor, offset;
  };
  const T *a, *b;
  T* h;
  int64_t shift;  // from h[k] to its factor in a

  LM_DEVICE State identity() const { return {1, 0}; }
  LM_DEVICE State load(int64_t at, int64_t k) const {
    // The first step has nothing before it, and with a shift no factor either.
    return {k == 0 ? 0 : double(a[at + shift]), double(b[at])};
  }
  // A product of many factors may overflow on its way; it must not turn a 0 into NaN.
  LM_DEVICE static double times(double factor, double h) { return h == 0 && factor == factor ? 0 : factor * h; }
  LM_DEVICE State join(const State& l, const State& r) const {
    return {times(r.factor, l.factor), times(r.factor, l.offset) + r.offset};
  }
  LM_DEVICE void store(int64_t at, const State& s) const { h[at] = T(s.offset); }
};

}  // namespace lamina::cuda
