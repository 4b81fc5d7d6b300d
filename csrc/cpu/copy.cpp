// The loops behind copy_strided. See copy.h.
#include "cpu/copy.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/pool.h"
#include "core/shape.h"

namespace lamina::cpu {

void convert(DType from, DType to, int64_t n, const void* src, void* dst) {
  kernel::convert(Stream{}, from, to, n, src, dst);
}

namespace {

constexpr int64_t kGrain = 32768;          // elements of one chunk
constexpr int64_t kParallel = 2 * kGrain;  // below this a copy stays on the caller's thread

// Calls f with an unsigned integer of `itemsize` bytes: moving elements needs no more than their size.
template <class F>
void dispatch_size(int64_t itemsize, F&& f) {
  switch (itemsize) {
    case 1:
      return f(uint8_t{});
    case 2:
      return f(uint16_t{});
    case 4:
      return f(uint32_t{});
    default:
      return f(uint64_t{});
  }
}

// The iteration space of one copy, outermost dimension first; strides in elements.
struct Plan {
  int n = 0;
  int64_t sizes[kMaxDims], dst[kMaxDims], src[kMaxDims];
  int64_t numel = 1;

  Plan(int ndim, const int64_t* in_sizes, const int64_t* dst_strides, const int64_t* src_strides) {
    for (int i = 0; i < ndim; ++i) {
      numel *= in_sizes[i];
      if (in_sizes[i] != 1) insert(in_sizes[i], dst_strides[i], src_strides[i]);
    }
    merge();
    if (n == 0) insert(1, 1, 1);
  }

 private:
  static bool outer(int64_t dst_a, int64_t src_a, int64_t dst_b, int64_t src_b) {
    dst_a = std::abs(dst_a), dst_b = std::abs(dst_b);
    return dst_a != dst_b ? dst_a > dst_b : std::abs(src_a) > std::abs(src_b);
  }
  void insert(int64_t size, int64_t d, int64_t s) {  // keeps the order: largest destination stride first
    int at = n++;
    for (; at > 0 && outer(d, s, dst[at - 1], src[at - 1]); --at) set(at, sizes[at - 1], dst[at - 1], src[at - 1]);
    set(at, size, d, s);
  }
  void set(int at, int64_t size, int64_t d, int64_t s) {
    sizes[at] = size;
    dst[at] = d;
    src[at] = s;
  }
  void merge() {  // neighbours that both sides walk as one dimension become one
    int last = 0;
    for (int i = 1; i < n; ++i) {
      if (dst[last] == dst[i] * sizes[i] && src[last] == src[i] * sizes[i])
        set(last, sizes[last] * sizes[i], dst[i], src[i]);
      else
        set(++last, sizes[i], dst[i], src[i]);
    }
    n = std::min(n, last + 1);
  }
};

// A position in a plan's first `n` dimensions, as offsets of both sides.
struct Cursor {
  const Plan& plan;
  int n;
  int64_t dst = 0, src = 0, index[kMaxDims];

  Cursor(const Plan& plan, int n, int64_t position) : plan(plan), n(n) {
    for (int i = n - 1; i >= 0; --i) {
      index[i] = position % plan.sizes[i];
      position /= plan.sizes[i];
      dst += index[i] * plan.dst[i];
      src += index[i] * plan.src[i];
    }
  }
  void next() {
    for (int i = n - 1; i >= 0; --i) {
      dst += plan.dst[i];
      src += plan.src[i];
      if (++index[i] < plan.sizes[i]) return;
      dst -= plan.dst[i] * plan.sizes[i];
      src -= plan.src[i] * plan.sizes[i];
      index[i] = 0;
    }
  }
};

// One row: both sides are walked with one stride each.
void copy_row(int64_t n, char* dst, int64_t dst_stride, DType to, const char* src, int64_t src_stride, DType from) {
  int64_t from_size = item_size(from), to_size = item_size(to);
  if (src_stride == 0) {
    alignas(8) char value[8];
    convert(from, to, 1, src, value);
    return fill(to_size, n, value, dst, dst_stride);
  }
  if (src_stride == 1 && dst_stride == 1) return convert(from, to, n, src, dst);
  if (from == to) {
    if (dst_stride == 1) return gather(to_size, n, src, src_stride, dst);
    if (src_stride == 1) return scatter(to_size, n, src, dst, dst_stride);
    return dispatch_size(to_size, [&](auto unit) {
      using U = decltype(unit);
      auto* out = reinterpret_cast<U*>(dst);
      auto* in = reinterpret_cast<const U*>(src);
      for (int64_t i = 0; i < n; ++i) out[i * dst_stride] = in[i * src_stride];
    });
  }
  constexpr int64_t kBlock = 256;
  alignas(64) char raw[kBlock * 8], converted[kBlock * 8];
  for (int64_t i = 0; i < n; i += kBlock) {
    int64_t m = std::min(kBlock, n - i);
    const char* in = src + i * src_stride * from_size;
    char* out = dst + i * dst_stride * to_size;
    if (src_stride != 1) gather(from_size, m, in, src_stride, raw);
    convert(from, to, m, src_stride != 1 ? raw : in, dst_stride != 1 ? converted : out);
    if (dst_stride != 1) scatter(to_size, m, converted, out, dst_stride);
  }
}

void copy_rows(const Plan& plan, char* dst, DType to, const char* src, DType from) {
  int inner = plan.n - 1;
  int64_t width = plan.sizes[inner], chunk = plan.numel > kParallel ? kGrain : plan.numel;
  parallel_for(chunk_count(plan.numel, chunk), [&](int64_t c) {
    int64_t i = c * chunk, end = std::min(i + chunk, plan.numel), column = i % width;
    for (Cursor at(plan, inner, i / width); i < end; at.next(), column = 0) {
      int64_t m = std::min(width - column, end - i);
      copy_row(m, dst + (at.dst + column * plan.dst[inner]) * item_size(to), plan.dst[inner], to,
               src + (at.src + column * plan.src[inner]) * item_size(from), plan.src[inner], from);
      i += m;
    }
  });
}

// Rows too short to pay for a call each: elements go through a buffer in iteration order, whatever the rows are.
constexpr int64_t kShortRow = 16;

// f(side's offset, position in the block) for `m` elements from `position` on.
template <int64_t Cursor::* kSide, class F>
void walk(const Plan& plan, const int64_t* strides, int64_t position, int64_t m, F&& f) {
  int inner = plan.n - 1;
  int64_t width = plan.sizes[inner], step = strides[inner], column = position % width, i = 0;
  for (Cursor at(plan, inner, position / width); i < m; at.next(), column = 0)
    for (int64_t end = std::min(m, i + width - column); i < end; ++i, ++column) f(at.*kSide + column * step, i);
}

void copy_short_rows(const Plan& plan, char* dst, DType to, const char* src, DType from) {
  constexpr int64_t kBlock = 512;
  int64_t chunk = plan.numel > kParallel ? kGrain : plan.numel;
  parallel_for(chunk_count(plan.numel, chunk), [&](int64_t c) {
    alignas(64) char raw[kBlock * 8], converted[kBlock * 8];
    for (int64_t i = c * chunk, end = std::min(i + chunk, plan.numel); i < end; i += kBlock) {
      int64_t m = std::min(kBlock, end - i);
      dispatch_size(item_size(from), [&](auto unit) {
        using U = decltype(unit);
        walk<&Cursor::src>(plan, plan.src, i, m, [&](int64_t at, int64_t k) {
          reinterpret_cast<U*>(raw)[k] = reinterpret_cast<const U*>(src)[at];
        });
      });
      if (from != to) convert(from, to, m, raw, converted);
      const char* values = from != to ? converted : raw;
      dispatch_size(item_size(to), [&](auto unit) {
        using U = decltype(unit);
        walk<&Cursor::dst>(plan, plan.dst, i, m, [&](int64_t at, int64_t k) {
          reinterpret_cast<U*>(dst)[at] = reinterpret_cast<const U*>(values)[k];
        });
      });
    }
  });
}

// --- transposes: the source is contiguous along one dimension, the destination along another ---

// Transposes a square of 16-byte rows in registers: log2(rows) rounds of interleaving row i with row i + rows / 2
// rotate the bits of (row, column) until the two have changed places.
template <class U>
struct Square {
  static constexpr int kRows = 16 / sizeof(U);
  typedef U Row __attribute__((vector_size(16)));

  template <int kStart, int... I>
  static Row interleave(Row a, Row b, std::integer_sequence<int, I...>) {
    return __builtin_shufflevector(a, b, (kStart + I / 2 + (I % 2 ? kRows : 0))...);
  }
  // dst[j][i] = src[i][j]; strides in elements
  [[gnu::always_inline]] static void transpose(const U* src, int64_t src_stride, U* dst, int64_t dst_stride) {
    constexpr auto kLanes = std::make_integer_sequence<int, kRows>{};
    Row rows[kRows], next[kRows];
    for (int i = 0; i < kRows; ++i) std::memcpy(&rows[i], src + i * src_stride, 16);
    for (int round = 1; round < kRows; round *= 2) {
      for (int i = 0; i < kRows / 2; ++i) {
        next[2 * i] = interleave<0>(rows[i], rows[i + kRows / 2], kLanes);
        next[2 * i + 1] = interleave<kRows / 2>(rows[i], rows[i + kRows / 2], kLanes);
      }
      for (int i = 0; i < kRows; ++i) rows[i] = next[i];
    }
    for (int i = 0; i < kRows; ++i) std::memcpy(dst + i * dst_stride, &rows[i], 16);
  }
};

constexpr int64_t kTileColumns = 64;  // along the destination's contiguous dimension

// One tile of a transpose, through a buffer on the stack: every cache line of either side is then used up at once, also
// when the strides are powers of two and all lines of a column compete for the same cache set.
template <class U>
void copy_tile(int64_t rows, int64_t columns, const U* src, int64_t src_stride, DType from, char* dst,
               int64_t dst_stride, DType to) {
  constexpr int kStep = Square<U>::kRows;
  alignas(64) U tile[64 / sizeof(U)][kTileColumns];
  int64_t whole_rows = rows / kStep * kStep, whole_columns = columns / kStep * kStep;
  for (int64_t j = 0; j < whole_columns; j += kStep)
    for (int64_t i = 0; i < whole_rows; i += kStep)
      Square<U>::transpose(src + j * src_stride + i, src_stride, &tile[i][j], kTileColumns);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = i < whole_rows ? whole_columns : 0; j < columns; ++j) tile[i][j] = src[j * src_stride + i];
  for (int64_t i = 0; i < rows; ++i) {
    char* out = dst + i * dst_stride * item_size(to);
    if (from == to && columns == kTileColumns)
      std::memcpy(out, tile[i], kTileColumns * sizeof(U));
    else
      convert(from, to, columns, tile[i], out);
  }
}

void copy_transposed(const Plan& plan, int row_dim, char* dst, DType to, const char* src, DType from) {
  int column_dim = plan.n - 1;
  Plan outer = plan;  // one index per tile; the tiles along the source's contiguous dimension are neighbours
  int64_t tile_rows = 64 / item_size(from), total_rows = plan.sizes[row_dim], total_columns = plan.sizes[column_dim];
  int64_t row_tiles = chunk_count(total_rows, tile_rows), column_tiles = chunk_count(total_columns, kTileColumns);
  outer.sizes[row_dim] = outer.sizes[column_dim] = 1;
  int64_t planes = plan.numel / (total_rows * total_columns), tiles = planes * row_tiles * column_tiles;
  int64_t chunk = plan.numel > kParallel ? kGrain / (tile_rows * kTileColumns) : tiles;
  dispatch_size(item_size(from), [&](auto unit) {
    using U = decltype(unit);
    parallel_for(chunk_count(tiles, chunk), [&](int64_t c) {
      for (int64_t t = c * chunk, end = std::min(t + chunk, tiles); t < end; ++t) {
        int64_t row = t % row_tiles * tile_rows, column = t / row_tiles % column_tiles * kTileColumns;
        Cursor at(outer, plan.n, t / (row_tiles * column_tiles));
        const char* in = src + (at.src + row + column * plan.src[column_dim]) * item_size(from);
        char* out = dst + (at.dst + row * plan.dst[row_dim] + column) * item_size(to);
        copy_tile(std::min(tile_rows, total_rows - row), std::min(kTileColumns, total_columns - column),
                  reinterpret_cast<const U*>(in), plan.src[column_dim], from, out, plan.dst[row_dim], to);
      }
    });
  });
}

// The dimension along which the source is contiguous, if the copy is a transpose worth tiling; -1 otherwise.
int transposed_dim(const Plan& plan) {
  constexpr int64_t kWorth = 8;
  int inner = plan.n - 1;
  if (plan.dst[inner] != 1 || plan.src[inner] <= 1 || plan.sizes[inner] < kWorth) return -1;
  for (int i = inner - 1; i >= 0; --i)
    if (plan.src[i] == 1 && plan.sizes[i] >= kWorth) return i;
  return -1;
}

}  // namespace

void gather(int64_t itemsize, int64_t n, const void* src, int64_t stride, void* dst) {
  dispatch_size(itemsize, [&](auto unit) {
    using U = decltype(unit);
    for (int64_t i = 0; i < n; ++i) static_cast<U*>(dst)[i] = static_cast<const U*>(src)[i * stride];
  });
}

void scatter(int64_t itemsize, int64_t n, const void* src, void* dst, int64_t stride) {
  dispatch_size(itemsize, [&](auto unit) {
    using U = decltype(unit);
    for (int64_t i = 0; i < n; ++i) static_cast<U*>(dst)[i * stride] = static_cast<const U*>(src)[i];
  });
}

void fill(int64_t itemsize, int64_t n, const void* value, void* dst, int64_t stride) {
  dispatch_size(itemsize, [&](auto unit) {
    using U = decltype(unit);
    U one;
    std::memcpy(&one, value, sizeof(U));
    if (stride == 1)
      std::fill_n(static_cast<U*>(dst), n, one);
    else
      for (int64_t i = 0; i < n; ++i) static_cast<U*>(dst)[i * stride] = one;
  });
}

void copy_strided(int ndim, const int64_t* sizes, void* dst, const int64_t* dst_strides, DType dst_dtype,
                  const void* src, const int64_t* src_strides, DType src_dtype) {
  Plan plan(ndim, sizes, dst_strides, src_strides);
  if (plan.numel == 0) return;
  auto* out = static_cast<char*>(dst);
  auto* in = static_cast<const char*>(src);
  if (int row_dim = transposed_dim(plan); row_dim >= 0)
    copy_transposed(plan, row_dim, out, dst_dtype, in, src_dtype);
  else if (plan.n > 1 && plan.sizes[plan.n - 1] < kShortRow)
    copy_short_rows(plan, out, dst_dtype, in, src_dtype);
  else
    copy_rows(plan, out, dst_dtype, in, src_dtype);
}

void copy_bands(int64_t itemsize, int64_t count, int64_t rows, int64_t n, const void* src, void* dst, bool upper,
                int64_t diagonal) {
  if (count == 0 || n == 0) return;
  int64_t rows_per_chunk = count * n > kParallel ? std::max<int64_t>(1, kGrain / n) : count;
  parallel_for(chunk_count(count, rows_per_chunk), [&](int64_t c) {
    for (int64_t r = c * rows_per_chunk, end = std::min(r + rows_per_chunk, count); r < end; ++r) {
      int64_t edge = r % rows + diagonal;  // the column on the diagonal
      int64_t first = upper ? std::clamp<int64_t>(edge, 0, n) : 0,
              last = upper ? n : std::clamp<int64_t>(edge + 1, 0, n);
      char* out = static_cast<char*>(dst) + r * n * itemsize;
      std::memset(out, 0, size_t(first * itemsize));
      std::memcpy(out + first * itemsize, static_cast<const char*>(src) + (r * n + first) * itemsize,
                  size_t((last - first) * itemsize));
      std::memset(out + last * itemsize, 0, size_t((n - last) * itemsize));
    }
  });
}

template <class T>
void add_strided(int ndim, const int64_t* sizes, T* dst, const int64_t* dst_strides, const T* src,
                 const int64_t* src_strides) {
  Plan plan(ndim, sizes, dst_strides, src_strides);
  int inner = plan.n - 1;
  Cursor at(plan, inner, 0);
  for (int64_t left = plan.numel; left > 0; left -= plan.sizes[inner], at.next())
    for (int64_t i = 0; i < plan.sizes[inner]; ++i)
      dst[at.dst + i * plan.dst[inner]] += src[at.src + i * plan.src[inner]];
}
template void add_strided(int, const int64_t*, float*, const int64_t*, const float*, const int64_t*);
template void add_strided(int, const int64_t*, double*, const int64_t*, const double*, const int64_t*);

}  // namespace lamina::cpu
