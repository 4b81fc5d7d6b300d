// How a product is cut: blocks of k, packed panels of B, tiles of C for the pool. Next: gemm_loops.h.
// Note [Fixed tiles]: every choice below looks at the problem only, never at the number of threads, and no two chunks
// write the same element, so one thread and five give the same bits.
#include "kernel/gemm.h"

#include <algorithm>

#include "core/pool.h"
#include "cpu/gemm_loops.h"
#include "cpu/scratch.h"

namespace lamina::cpu {
namespace {

constexpr int64_t kTileBytes = 192 << 10;  // of A in one chunk: stays in L2
constexpr int64_t kMinRows = 48;           // of A in one chunk: B is read once per chunk
constexpr int64_t kBlockBytes = 2048;      // of a row of A in one pass over k
constexpr int64_t kBlockColumns = 1024;    // of B packed at a time
constexpr int64_t kChunkWork = 1 << 20;    // multiply-adds worth a thread's wake-up (about 4 us)
constexpr int64_t kMaxChunks = 64;
constexpr int64_t kSmallWork = 64 * 64 * 64;  // up to here nothing is cut
constexpr int64_t kDirectRows = 16;           // up to here packing B costs more than it gains
constexpr int64_t kSlabK = 2048;              // depth of a slab when the work is all in k

const char* offset(const void* p, int64_t elements, int64_t item) {
  return static_cast<const char*>(p) + elements * item;
}
char* offset(void* p, int64_t elements, int64_t item) { return static_cast<char*>(p) + elements * item; }
int64_t round_up(int64_t x, int64_t step) { return (x + step - 1) / step * step; }

template <class F>
void by_float(DType dtype, F f) {
  if (dtype == DType::F32)
    f(float());
  else
    f(double());
}

// C = beta * C + bias. Returns false, doing nothing, when the kernels do it themselves.
bool prepare(const GemmProblem& p, const GemmEpilogue& e) {
  if (p.beta == 0 && !(e.bias && e.bias_per_row)) return false;
  if (p.beta == 1 && !e.bias) return true;
  by_float(p.dtype, [&]<class T>(T) {
    const T* bias = static_cast<const T*>(e.bias);
    const T beta = T(p.beta);
    for (int64_t i = 0; i < p.m; ++i) {
      T* row = static_cast<T*>(p.c) + i * p.c_row;
      for (int64_t j = 0; j < p.n; ++j) {
        T& x = row[j * p.c_col];
        const T start = bias ? bias[e.bias_per_row ? i : j] : T(0);
        x = beta == 0 ? start : beta * x + start;
      }
    }
  });
  return true;
}

// One matrix, C row-major, of few operations: one tile.
void multiply_small(const GemmProblem& p, GemmTile& tile, bool direct) {
  const int64_t item = item_size(p.dtype), lanes = gemm_lanes(p.dtype);
  const int64_t whole = direct ? p.n / lanes * lanes : 0, rest = p.n - whole;
  tile.k = p.k;
  tile.m = p.m;
  if (whole) {
    tile.n = whole;
    tile.b = p.b;
    tile.b_row = p.b_row;
    loop::gemm_tile(p.dtype, tile);
  }
  if (!rest) return;
  alignas(64) char small[16 << 10];
  const int64_t bytes = p.k * round_up(rest, lanes) * item;
  Scratch large;
  if (bytes > int64_t(sizeof(small))) large.reserve(bytes);
  tile.b = bytes > int64_t(sizeof(small)) ? large.data() : small;
  tile.b_row = 0;
  tile.n = rest;
  tile.c = offset(p.c, whole, item);
  if (tile.bias) tile.bias = offset(tile.bias, whole, item);
  loop::gemm_pack(p.dtype, offset(p.b, whole * p.b_col, item), p.b_row, p.b_col, p.k, rest, const_cast<void*>(tile.b),
                  0, p.k);
  loop::gemm_tile(p.dtype, tile);
}

// One row times a matrix whose columns are dense (W x): each row of W is read once, nothing is packed.
void multiply_dot(const GemmProblem& p, const GemmTile& tile) {
  const int64_t item = item_size(p.dtype);
  const int64_t rows = std::max<int64_t>(gemm_lanes(p.dtype), kChunkWork / 4 / p.k / 64 * 64);
  const void* start = tile.accumulate ? p.c : tile.bias;
  parallel_for(chunk_count(p.n, rows), [&](int64_t chunk) {
    const int64_t j = chunk * rows;
    loop::gemm_dot(p.dtype, std::min(rows, p.n - j), p.k, p.a, offset(p.b, j * p.b_col, item), p.b_col,
                   offset(p.c, j, item), p.alpha, start ? offset(start, j, item) : nullptr, tile.relu);
  });
}

// One matrix, C row-major, cut for the pool.
void multiply(const GemmProblem& p, const GemmEpilogue& e) {
  const int64_t item = item_size(p.dtype), lanes = gemm_lanes(p.dtype), panel = gemm_panel(p.dtype);
  GemmTile base;
  base.a = p.a;
  base.a_row = p.a_row;
  base.a_col = p.a_col;
  base.c = p.c;
  base.c_row = p.c_row;
  base.alpha = p.alpha;
  base.accumulate = prepare(p, e);
  base.bias = base.accumulate ? nullptr : e.bias;
  base.relu = e.relu;
  if (p.m == 1 && p.b_row == 1 && p.a_col == 1 && p.n > 1) return multiply_dot(p, base);

  // B as it lies: few rows of A, or a matrix that is one panel anyway. A ragged last vector is always packed, since
  // loading it would run over the end.
  const bool direct = p.b_col == 1 && (p.m <= kDirectRows || p.b_row <= panel);
  const int64_t block_k = kBlockBytes / item;
  if (p.m * p.n * p.k <= kSmallWork && p.k <= block_k) return multiply_small(p, base, direct);

  Scratch packed;
  for (int64_t j0 = 0; j0 < p.n; j0 += kBlockColumns) {
    const int64_t n = std::min(kBlockColumns, p.n - j0);
    const int64_t whole = direct ? n / lanes * lanes : 0, rest = n - whole;  // columns read in place, and packed
    for (int64_t k0 = 0; k0 < p.k; k0 += block_k) {
      const int64_t k = std::min(block_k, p.k - k0);
      const char* b = offset(p.b, k0 * p.b_row + j0 * p.b_col, item);
      if (rest) {
        packed.reserve(round_up(rest, lanes) * k * item);
        const int64_t step = std::max<int64_t>(1, kChunkWork / 16 / (k * panel)) * panel;
        parallel_for(chunk_count(rest, step), [&](int64_t chunk) {
          const int64_t j = chunk * step;
          loop::gemm_pack(p.dtype, offset(b, (whole + j) * p.b_col, item), p.b_row, p.b_col, k,
                          std::min(step, rest - j), offset(packed.data(), j * k, item), 0, k);
        });
      }
      // Rows first, as tall as L2 allows; then columns, when the rows alone are too few chunks.
      const int64_t worth = p.m < 8 ? kChunkWork / 8 : kChunkWork;  // few rows: the time goes into reading B
      const int64_t chunks = std::clamp<int64_t>(p.m * n * k / worth, 1, kMaxChunks);
      const int64_t most = std::max(kMinRows, kTileBytes / (k * item));
      const int64_t rows = round_up(std::clamp(chunk_count(p.m, chunks), kMinRows, most), 12);
      const int64_t down = chunk_count(p.m, rows);
      const int64_t columns = round_up(chunk_count(n, chunk_count(chunks, down)), panel);
      parallel_for(down * chunk_count(n, columns), [&](int64_t chunk) {
        const int64_t i = chunk % down * rows, j = chunk / down * columns, end = std::min(n, j + columns);
        GemmTile tile = base;
        tile.m = std::min(rows, p.m - i);
        tile.k = k;
        tile.a = offset(p.a, i * p.a_row + k0 * p.a_col, item);
        tile.accumulate = base.accumulate || k0 > 0;
        tile.relu = e.relu && k0 + k == p.k;
        auto columns_of = [&](int64_t from, int64_t to, const void* at, int64_t b_row) {
          tile.n = to - from;
          tile.b = at;
          tile.b_row = b_row;
          tile.c = offset(p.c, i * p.c_row + j0 + from, item);
          tile.bias = base.bias && k0 == 0 ? offset(base.bias, j0 + from, item) : nullptr;
          loop::gemm_tile(p.dtype, tile);
        };
        const int64_t middle = std::clamp(whole, j, end);
        if (j < middle) columns_of(j, middle, offset(b, j, item), p.b_row);
        if (middle < end) columns_of(middle, end, offset(packed.data(), (middle - whole) * k, item), 0);
      });
    }
  }
}

// A small C with a long k (a weight gradient): slabs of k in parallel, each into its own C, added in order.
void multiply_slabs(const GemmProblem& p, const GemmEpilogue& e, int64_t slabs) {
  const int64_t item = item_size(p.dtype), depth = chunk_count(p.k, slabs), size = p.m * p.n;
  slabs = chunk_count(p.k, depth);
  Scratch sums(slabs * size * item);
  parallel_for(slabs, [&](int64_t slab) {
    GemmProblem part = p;
    part.k = std::min(depth, p.k - slab * depth);
    part.a = offset(p.a, slab * depth * p.a_col, item);
    part.b = offset(p.b, slab * depth * p.b_row, item);
    part.c = offset(sums.data(), slab * size, item);
    part.c_row = p.n;
    part.beta = 0;
    multiply(part, {});
  });
  const bool accumulate = prepare(p, e);
  by_float(p.dtype, [&]<class T>(T) {
    const T* bias = accumulate ? nullptr : static_cast<const T*>(e.bias);
    for (int64_t i = 0; i < p.m; ++i) {
      T* out = static_cast<T*>(p.c) + i * p.c_row;
      const T* in = sums.data<T>() + i * p.n;
      for (int64_t j = 0; j < p.n; ++j) {
        T sum = accumulate ? out[j] : bias ? bias[j] : T(0);
        for (int64_t slab = 0; slab < slabs; ++slab) sum += in[slab * size + j];
        out[j] = e.relu && sum < 0 ? T(0) : sum;
      }
    }
  });
}

// C^T = B^T A^T
void transpose(GemmProblem& p, GemmEpilogue& e) {
  std::swap(p.a, p.b);
  std::swap(p.m, p.n);
  std::swap(p.a_row, p.b_col);
  std::swap(p.a_col, p.b_row);
  std::swap(p.c_row, p.c_col);
  e.bias_per_row = !e.bias_per_row;
}

void multiply_any(GemmProblem p, GemmEpilogue e) {
  // The kernels write rows; and they like one row (W x) better than one column.
  if (p.c_col != 1 || (p.n == 1 && p.c_row == 1)) {
    if (p.m == 1) p.c_row = 1;  // of a single row any stride will do
    transpose(p, e);
  }
  const int64_t slabs = std::min<int64_t>(16, p.k / kSlabK);
  if (slabs >= 2 && p.m * p.n <= 256 * 256 && p.m * p.n * p.k >= 2 * kChunkWork) return multiply_slabs(p, e, slabs);
  multiply(p, e);
}

// An empty k: C is beta * C plus the bias.
void multiply_nothing(const GemmProblem& p, const GemmEpilogue& e) {
  const bool ready = prepare(p, e);
  by_float(p.dtype, [&]<class T>(T) {
    for (int64_t i = 0; i < p.m; ++i)
      for (int64_t j = 0; j < p.n; ++j) {
        T& x = static_cast<T*>(p.c)[i * p.c_row + j * p.c_col];
        if (!ready) x = e.bias ? static_cast<const T*>(e.bias)[j] : T(0);
        if (e.relu && x < 0) x = 0;
      }
  });
}

}  // namespace

void gemm(const GemmProblem& p, const GemmEpilogue& e) {
  if (p.m == 0 || p.n == 0 || p.batch == 0) return;
  if (p.batch == 1 && p.k > 0 && !p.a_offsets && !p.b_offsets) return multiply_any(p, e);
  const int64_t item = item_size(p.dtype);
  auto one = [&](int64_t i) {
    GemmProblem q = p;
    q.a = offset(p.a, p.a_offsets ? p.a_offsets[i] : i * p.a_batch, item);
    q.b = offset(p.b, p.b_offsets ? p.b_offsets[i] : i * p.b_batch, item);
    q.c = offset(p.c, i * p.c_batch, item);
    if (p.k > 0)
      multiply_any(q, e);
    else
      multiply_nothing(q, e);
  };
  // Many small matrices: several to a chunk, each multiplied by one thread. A few large ones are cut themselves.
  const int64_t work = std::max<int64_t>(1, p.m * p.n * p.k);
  if (work > 4 * kChunkWork && p.batch < 8) {
    for (int64_t i = 0; i < p.batch; ++i) one(i);
    return;
  }
  const int64_t group = std::max<int64_t>(1, kChunkWork / 4 / work);
  parallel_for(chunk_count(p.batch, group), [&](int64_t chunk) {
    for (int64_t i = chunk * group; i < std::min(p.batch, (chunk + 1) * group); ++i) one(i);
  });
}

}  // namespace lamina::cpu
