// Launchers of the products declared in kernel/gemm.h. Halves are taken as they are, summed in
// float.
#include "kernel/gemm.h"

#include <utility>

#include "cuda/kernels/gemm.cuh"
#include "cuda/product.h"
#include "cuda/provider_cublaslt.h"

namespace lamina::cuda {
namespace {

constexpr int kFewRows = 8;

bool multiple(int64_t x, int64_t of) { return x % of == 0; }

// Operands whose matrices lie anywhere: the table goes to the device.
const int64_t* upload_offsets(Stream stream, const int64_t* offsets, int64_t count, std::optional<Workspace>& memory) {
  auto* out = memory.emplace(stream, size_t(count) * sizeof(int64_t)).as<int64_t>();
  OffsetTable table;
  for (int64_t i = 0; i < count; i += OffsetTable::kCount) {
    const int64_t n = std::min<int64_t>(OffsetTable::kCount, count - i);
    std::copy_n(offsets + i, n, table.offset);
    launch(store_offsets_kernel, 1, 256, 0, stream, table, int(n), out + i);
  }
  return out;
}

// (rows, k) of a batch; the contiguous direction decides which way its tiles lie.
template <class T>
struct Operand {
  Strided<T> source;
  bool along_k;

  Operand(const void* data, int64_t rows, int64_t k, int64_t row_step, int64_t depth_step, int64_t batch_step,
          const int64_t* offsets, int64_t batch)
      : source{static_cast<const T*>(data), row_step, depth_step, batch_step, nullptr, int(rows), false},
        along_k(depth_step == 1 || (row_step != 1 && depth_step <= row_step)) {
    constexpr int V = kPack<T>;
    const int64_t inner = along_k ? depth_step : row_step, outer = along_k ? row_step : depth_step;
    source.wide = inner == 1 && multiple(along_k ? k : rows, V) && (outer == 0 || multiple(outer, V)) &&
                  multiple(int64_t(reinterpret_cast<uintptr_t>(data)), 16) && (offsets || multiple(batch_step, V));
    for (int64_t i = 0; offsets && i < batch; ++i) source.wide &= multiple(offsets[i], V);
  }
};

void transpose(GemmProblem& p, GemmEpilogue& e) {  // C^T = B^T A^T
  std::swap(p.a, p.b);
  std::swap(p.m, p.n);
  std::swap(p.a_row, p.b_col);
  std::swap(p.a_col, p.b_row);
  std::swap(p.a_batch, p.b_batch);
  std::swap(p.a_offsets, p.b_offsets);
  std::swap(p.c_row, p.c_col);
  e.bias_per_row = !e.bias_per_row;
}

// At most kFewRows rows.
template <class T, int kM, class Out>
void multiply_rows(Stream stream, ProductShape shape, const Operand<T>& a, const Operand<T>& b, const Out& out) {
  const int columns = b.along_k ? 8 : 32 * kPack<T>;
  const int64_t blocks = int64_t(tiles_of(shape.n, columns)) * shape.batch;
  cut_depth(shape, blocks, 1024, stream);
  Strided<T> rows = a.source;
  rows.wide &= a.along_k;  // they are read along k
  with_parts(stream, shape, out, [&](const Out& to) {
    launch(b.along_k ? dot_kernel<T, kM, Out> : rows_kernel<T, kM, Out>, unsigned(blocks * shape.parts), 256, 0, stream,
           shape, rows, b.source, to);
  });
}

template <class T>
void multiply(Stream stream, GemmProblem p, GemmEpilogue e) {
  // Columns of C are adjacent, and where one of m and n is small it is m.
  const bool few = std::min(p.m, p.n) <= kFewRows;
  if (few ? p.n < p.m : p.c_col != 1) transpose(p, e);
  ProductShape shape{checked_size(p.m, "gemm"),
                     checked_size(p.n, "gemm"),
                     checked_size(p.k, "gemm"),
                     checked_size(p.batch, "gemm"),
                     1,
                     1};
  Operand<T> a(p.a, p.m, p.k, p.a_row, p.a_col, p.a_batch, p.a_offsets, p.batch);
  Operand<T> b(p.b, p.n, p.k, p.b_col, p.b_row, p.b_batch, p.b_offsets, p.batch);
  std::optional<Workspace> a_table, b_table;
  if (p.a_offsets) a.source.offsets = upload_offsets(stream, p.a_offsets, p.batch, a_table);
  if (p.b_offsets) b.source.offsets = upload_offsets(stream, p.b_offsets, p.batch, b_table);
  constexpr int V = kPack<T>;
  const bool wide = p.c_col == 1 && multiple(p.c_row, V) && multiple(p.c_batch, V) &&
                    multiple(int64_t(reinterpret_cast<uintptr_t>(p.c)), 16);
  using Out = Output<T, MatrixLayout>;
  const Out out{static_cast<T*>(p.c),
                {p.c_row, p.c_col},
                p.c_batch,
                Compute<T>(p.alpha),
                Compute<T>(p.beta),
                static_cast<const T*>(e.bias),
                0,
                e.bias_per_row,
                e.relu,
                wide,
                nullptr};
  if (few) {
    if (p.m == 1) return multiply_rows<T, 1>(stream, shape, a, b, out);
    if (p.m <= 4) return multiply_rows<T, 4>(stream, shape, a, b, out);
    return multiply_rows<T, kFewRows>(stream, shape, a, b, out);
  }
  if (a.along_k && b.along_k)
    launch_product<T, true, true>(stream, shape, a.source, b.source, out);
  else if (a.along_k)
    launch_product<T, true, false>(stream, shape, a.source, b.source, out);
  else if (b.along_k)
    launch_product<T, false, true>(stream, shape, a.source, b.source, out);
  else
    launch_product<T, false, false>(stream, shape, a.source, b.source, out);
}

template <class T>
void multiply_integers(Stream stream, int64_t m, int64_t n, int64_t k, const void* a, int64_t a_row, int64_t a_col,
                       const void* b, int64_t b_row, int64_t b_col, void* c, int64_t c_row) {
  const int64_t tiles = int64_t(tiles_of(m, kIntTile)) * tiles_of(n, kIntTile);
  launch(integer_product_kernel<T>, unsigned(tiles), dim3(kIntTile, kIntTile), 0, stream, checked_size(m, "gemm"),
         checked_size(n, "gemm"), checked_size(k, "gemm"), static_cast<const T*>(a), a_row, a_col,
         static_cast<const T*>(b), b_row, b_col, static_cast<T*>(c), c_row);
}

}  // namespace

void gemm(Stream stream, const GemmProblem& p, const GemmEpilogue& e) {
  if (p.m == 0 || p.n == 0 || p.batch == 0) return;
  run_faster(stream, cublaslt_offer(stream, p, e), p.c, [&](void* c) {
    GemmProblem own = p;
    own.c = c;
    dispatch_floating(p.dtype, "gemm", [&]<class T>() { multiply<T>(stream, own, e); });
  });
}

void gemm_int(Stream stream, DType dtype, int64_t m, int64_t n, int64_t k, const void* a, int64_t a_row, int64_t a_col,
              const void* b, int64_t b_row, int64_t b_col, void* c, int64_t c_row) {
  if (m == 0 || n == 0) return;
  dispatch_size(item_size(dtype),
                [&]<class T>() { multiply_integers<T>(stream, m, n, k, a, a_row, a_col, b, b_row, b_col, c, c_row); });
}

}  // namespace lamina::cuda
