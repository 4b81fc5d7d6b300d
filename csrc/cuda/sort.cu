// Launchers of sorting and searching, declared in kernel/sort.h. Next: kernels/sort.cuh.
#include "kernel/sort.h"

#include <bit>

#include "cuda/kernels/sort.cuh"
#include "cuda/launch.h"
#include "cuda/sort_items.h"
#include "kernel/index.h"

namespace lamina::cuda {

namespace {

template <class F>
void by_type(DType dtype, F f) {
  dispatch_types(dtype,
                 [&]<class T>() { f.template operator()<std::conditional_t<std::is_same_v<T, bool>, uint8_t, T>>(); });
}

// The items of x (rows, n), each row in order; they lie in a or b.
template <class T>
const ItemOf<T>* sort_rows(Stream stream, const T* x, int64_t rows, int64_t n, bool descending, ItemOf<T>* a,
                           ItemOf<T>* b) {
  LM_CHECK(sizeof(typename ItemOf<T>::Key) == 8 || n <= int64_t(UINT32_MAX), ValueError, "sort: a row has ", n,
           " elements; need fewer than ", UINT32_MAX);
  const int width = int(std::bit_ceil(uint64_t(std::min<int64_t>(n, kSortTile))));
  const int64_t tiles = (n + kSortTile - 1) / kSortTile;
  launch(sort_tiles_kernel<T>, blocks_for(rows * ((n + width - 1) / width), kSortTile / width), kSortBlock, 0, stream,
         x, rows, n, width, descending, a);
  for (int64_t run = kSortTile; run < n; run *= 2, std::swap(a, b))
    launch(merge_runs_kernel<ItemOf<T>>, blocks_for(rows * tiles, 1), kSortBlock, 0, stream, a, b, n, tiles, run);
  return a;
}

// Sorts the rows of the job and runs f<U>(items) with U as wide as an element.
template <class F>
void with_sorted(Stream stream, const SortJob& job, F f) {
  by_type(job.dtype, [&]<class T>() {
    const int64_t n = job.rows * job.n;
    const Workspace memory(stream, size_t(2 * n) * sizeof(ItemOf<T>));
    auto* a = memory.as<ItemOf<T>>();
    const auto* items = sort_rows(stream, static_cast<const T*>(job.x), job.rows, job.n, job.descending, a, a + n);
    dispatch_size(sizeof(T), [&]<class U>() {
      if constexpr (sizeof(U) == sizeof(T)) f.template operator()<U>(items);
    });
  });
}

template <class Condition>
void find_positions(Stream stream, Condition holds, int64_t n, int64_t* counts, int64_t* positions) {
  const unsigned tiles = blocks_for(n, kFindTile);
  launch(find_positions_kernel<Condition>, tiles, 256, 0, stream, holds, n, counts, nullptr);
  launch(sum_counts_kernel, 1, 256, 0, stream, counts, int64_t(tiles));
  launch(find_positions_kernel<Condition>, tiles, 256, 0, stream, holds, n, counts, positions);
}
size_t counts_bytes(int64_t n) { return (blocks_for(n, kFindTile) + 1) * sizeof(int64_t); }

}  // namespace

const BroadItem* sorted_keys(Stream stream, const int64_t* keys, int64_t n, BroadItem* a, BroadItem* b) {
  return sort_rows(stream, keys, 1, n, false, a, b);
}

void sort(Stream stream, const SortJob& job) {
  if (job.rows * job.n == 0) return;
  with_sorted(stream, job, [&]<class U, class Item>(const Item* items) {
    launch(sort_emit_kernel<U, Item>, blocks_for(job.rows * job.k, 256), 256, 0, stream, items,
           static_cast<const U*>(job.x), job.rows, job.n, job.k, static_cast<U*>(job.values), job.positions);
  });
}

void select_kth(Stream stream, const SortJob& job, int64_t k, bool nan_first) {
  if (job.rows * job.n == 0) return;
  with_sorted(stream, job, [&]<class U, class Item>(const Item* items) {
    launch(select_kth_kernel<U, Item>, blocks_for(job.rows, 256), 256, 0, stream, items, static_cast<const U*>(job.x),
           job.rows, job.n, k, nan_first && is_floating(job.dtype), static_cast<U*>(job.values), job.positions);
  });
}

void find_modes(Stream stream, const SortJob& job) {
  if (job.rows * job.n == 0) return;
  with_sorted(stream, job, [&]<class U, class Item>(const Item* items) {
    launch(find_modes_kernel<U, Item>, blocks_for(job.rows, 1), 256, 0, stream, items, static_cast<const U*>(job.x),
           job.n, is_floating(job.dtype), static_cast<U*>(job.values), job.positions);
  });
}

void search_sorted(Stream stream, const SearchJob& job) {
  by_type(job.dtype, [&]<class T>() {
    launch(search_sorted_kernel<T>, blocks_for(job.rows * job.m, 256), 256, 0, stream,
           static_cast<const T*>(job.sorted), static_cast<const T*>(job.values), job.positions, job.order, job.rows,
           job.n, job.m, job.shared, job.right);
  });
}

int64_t find_runs(Stream stream, DType dtype, const void* sorted, int64_t n, int64_t* starts) {
  if (n == 0) return 0;
  const Workspace counts(stream, counts_bytes(n));
  by_type(dtype, [&]<class T>() {
    find_positions(stream, BeginsRun<T>{static_cast<const T*>(sorted)}, n, counts.as<int64_t>(), starts);
  });
  int64_t runs;
  read_back(stream, &runs, counts.as<int64_t>() + blocks_for(n, kFindTile), sizeof runs);
  return runs;
}

void find_nonzero(Stream stream, const bool* mask, int64_t n, int64_t* positions) {
  if (n == 0) return;
  const Workspace counts(stream, counts_bytes(n));
  find_positions(stream, IsNonzero{reinterpret_cast<const uint8_t*>(mask)}, n, counts.as<int64_t>(), positions);
}

void count_bins(Stream stream, const int64_t* x, int64_t n, const double* weights, double* weighted, int64_t* counts) {
  if (!weights) return launch(count_bins_kernel, blocks_for(n, 256), 256, 0, stream, x, n, counts);
  SliceJob job{DType::F64, weighted, const_cast<double*>(weights), x, n, 1, false, {}, {}};
  put(stream, job, PutMode::Add);
}

void histogram(Stream stream, const double* x, int64_t n, double low, double high, int64_t bins, int64_t* counts) {
  launch(histogram_kernel, blocks_for(n, 256), 256, 0, stream, x, n, low, high, bins, counts);
}

}  // namespace lamina::cuda
