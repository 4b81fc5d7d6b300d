// copy_strided and its relatives. The one idea: dimensions are sorted by the destination's strides and merged, after
// which a copy is one of three loops: rows, fills, or tiles of a transpose. Next: copy_loops.h.
#include "kernel/copy.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/pool.h"
#include "core/shape.h"
#include "cpu/copy_loops.h"

namespace lamina::cpu {

void convert(DType from, DType to, int64_t n, const void* src, void* dst) { loop::convert(from, to, n, src, dst); }

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

void copy_elements(int64_t itemsize, int64_t n, const void* src, int64_t src_stride, void* dst, int64_t dst_stride) {
  loop::copy_elements(itemsize, n, src, src_stride, dst, dst_stride);
}

// One row: both sides are walked with one stride each.
void copy_row(int64_t n, char* dst, int64_t dst_stride, DType to, const char* src, int64_t src_stride, DType from) {
  int64_t from_size = item_size(from), to_size = item_size(to);
  if (from == to) return copy_elements(to_size, n, src, src_stride, dst, dst_stride);
  if (src_stride == 0) {
    alignas(8) char value[8];
    convert(from, to, 1, src, value);
    return copy_elements(to_size, n, value, 0, dst, dst_stride);
  }
  if (src_stride == 1 && dst_stride == 1) return convert(from, to, n, src, dst);
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
  bool plain = from == to && plan.dst[inner] == 1 && plan.src[inner] == 1;
  parallel_for(chunk_count(plan.numel, chunk), [&](int64_t c) {
    int64_t i = c * chunk, end = std::min(i + chunk, plan.numel), column = i % width;
    for (Cursor at(plan, inner, i / width); i < end; at.next(), column = 0) {
      int64_t m = std::min(width - column, end - i);
      char* out = dst + (at.dst + column * plan.dst[inner]) * item_size(to);
      const char* in = src + (at.src + column * plan.src[inner]) * item_size(from);
      if (plain)
        std::memcpy(out, in, size_t(m * item_size(to)));
      else
        copy_row(m, out, plan.dst[inner], to, in, plan.src[inner], from);
      i += m;
    }
  });
}

// Rows too short to pay for a call each (3 colours, say). Where the next dimension is long, a block of it is copied
// once for every position in the row: the block stays in the first-level cache meanwhile.
constexpr int64_t kShortRow = 16;

void copy_columns(const Plan& plan, char* dst, DType to, const char* src, DType from) {
  constexpr int64_t kBlock = 512;
  int inner = plan.n - 1, along = plan.n - 2;
  int64_t width = plan.sizes[inner], length = plan.sizes[along], blocks = chunk_count(length, kBlock);
  int64_t units = plan.numel / (width * length) * blocks,
          chunk = plan.numel > kParallel ? kGrain / (kBlock * width) : units;
  parallel_for(chunk_count(units, chunk), [&](int64_t c) {
    for (int64_t unit = c * chunk, end = std::min(unit + chunk, units); unit < end; ++unit) {
      Cursor at(plan, along, unit / blocks);
      int64_t first = unit % blocks * kBlock, m = std::min(kBlock, length - first);
      for (int64_t i = 0; i < width; ++i)
        copy_row(m, dst + (at.dst + first * plan.dst[along] + i * plan.dst[inner]) * item_size(to), plan.dst[along], to,
                 src + (at.src + first * plan.src[along] + i * plan.src[inner]) * item_size(from), plan.src[along],
                 from);
    }
  });
}

// Otherwise elements go through a buffer in iteration order, whatever the rows are.

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

constexpr int64_t kTileColumns = 64;    // along the destination's contiguous dimension
constexpr int64_t kTileRowBytes = 256;  // along the source's: a few cache lines of each source row at a time

// One tile of a transpose, through a buffer on the stack: every cache line of either side is then used up at once, also
// when the strides are powers of two and all lines of a column compete for the same cache set.
void copy_tile(int64_t rows, int64_t columns, const char* src, int64_t src_stride, DType from, char* dst,
               int64_t dst_stride, DType to) {
  alignas(64) char tile[kTileRowBytes * kTileColumns];
  int64_t row_bytes = kTileColumns * item_size(from);
  loop::transpose_tile(item_size(from), rows, columns, src, src_stride, tile, kTileColumns);
  for (int64_t i = 0; i < rows; ++i) {
    char* out = dst + i * dst_stride * item_size(to);
    if (from == to && columns == kTileColumns)
      std::memcpy(out, tile + i * row_bytes, size_t(row_bytes));
    else
      convert(from, to, columns, tile + i * row_bytes, out);
  }
}

void copy_transposed(const Plan& plan, int row_dim, char* dst, DType to, const char* src, DType from) {
  int column_dim = plan.n - 1;
  Plan outer = plan;  // one index per tile; the tiles along the source's contiguous dimension are neighbours
  int64_t tile_rows = kTileRowBytes / item_size(from), total_rows = plan.sizes[row_dim],
          total_columns = plan.sizes[column_dim];
  int64_t row_tiles = chunk_count(total_rows, tile_rows), column_tiles = chunk_count(total_columns, kTileColumns);
  outer.sizes[row_dim] = outer.sizes[column_dim] = 1;
  int64_t planes = plan.numel / (total_rows * total_columns), tiles = planes * row_tiles * column_tiles;
  int64_t chunk = plan.numel > kParallel ? std::max<int64_t>(1, kGrain / (tile_rows * kTileColumns)) : tiles;
  parallel_for(chunk_count(tiles, chunk), [&](int64_t c) {
    for (int64_t t = c * chunk, end = std::min(t + chunk, tiles); t < end; ++t) {
      int64_t row = t % row_tiles * tile_rows, column = t / row_tiles % column_tiles * kTileColumns;
      Cursor at(outer, plan.n, t / (row_tiles * column_tiles));
      copy_tile(std::min(tile_rows, total_rows - row), std::min(kTileColumns, total_columns - column),
                src + (at.src + row + column * plan.src[column_dim]) * item_size(from), plan.src[column_dim], from,
                dst + (at.dst + row * plan.dst[row_dim] + column) * item_size(to), plan.dst[row_dim], to);
    }
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

void copy_strided(int ndim, const int64_t* sizes, void* dst, const int64_t* dst_strides, DType dst_dtype,
                  const void* src, const int64_t* src_strides, DType src_dtype) {
  Plan plan(ndim, sizes, dst_strides, src_strides);
  if (plan.numel == 0) return;
  auto* out = static_cast<char*>(dst);
  auto* in = static_cast<const char*>(src);
  if (int row_dim = transposed_dim(plan); row_dim >= 0)
    copy_transposed(plan, row_dim, out, dst_dtype, in, src_dtype);
  else if (plan.n == 1 || plan.sizes[plan.n - 1] >= kShortRow)
    copy_rows(plan, out, dst_dtype, in, src_dtype);
  else if (plan.sizes[plan.n - 2] >= kShortRow)
    copy_columns(plan, out, dst_dtype, in, src_dtype);
  else
    copy_short_rows(plan, out, dst_dtype, in, src_dtype);
}

void fill_strided(int ndim, const int64_t* sizes, void* dst, const int64_t* dst_strides, DType dtype,
                  const void* value) {
  const int64_t zeros[kMaxDims] = {};
  copy_strided(ndim, sizes, dst, dst_strides, dtype, value, zeros, dtype);
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

void add_strided(DType dtype, int ndim, const int64_t* sizes, void* dst, const int64_t* dst_strides, const void* src,
                 const int64_t* src_strides) {
  dispatch_float(dtype, "add_strided", [&]<class T>() {
    Plan plan(ndim, sizes, dst_strides, src_strides);
    int inner = plan.n - 1;
    Cursor at(plan, inner, 0);
    for (int64_t left = plan.numel; left > 0; left -= plan.sizes[inner], at.next())
      for (int64_t i = 0; i < plan.sizes[inner]; ++i)
        static_cast<T*>(dst)[at.dst + i * plan.dst[inner]] += static_cast<const T*>(src)[at.src + i * plan.src[inner]];
  });
}

}  // namespace lamina::cpu
