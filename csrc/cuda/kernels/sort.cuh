// Sorting rows: tiles in shared memory by a bitonic network, then passes that merge neighbouring runs, each block one
// tile of the result. The one idea (Odeh, Green, Mwassi, Shmueli, Birk, "Merge Path", 2012): where a tile of the merged
// run begins in both runs is one binary search, so all blocks work at once. Then what is read off sorted rows.
#pragma once
#include "cuda/kernels/block.cuh"
#include "cuda/kernels/block_scan.cuh"
#include "cuda/kernels/nest.cuh"
#include "cuda/kernels/sort_items.cuh"

namespace lamina::cuda {

constexpr int kSortBlock = 256, kSortTile = 1024;

// Items of x (rows, n) in sorted groups of `width` (a power of two): whole rows, several to a tile, or tiles of a row.
template <class T>
__global__ void __launch_bounds__(kSortBlock)
    sort_tiles_kernel(const T* __restrict__ x, int64_t rows, int64_t n, int width, bool descending, ItemOf<T>* out) {
  using Item = ItemOf<T>;
  using Key = typename Item::Key;
  LM_SHARED(Item, items, [kSortTile]);
  const int64_t groups = (n + width - 1) / width;  // of a row
  const int64_t first = int64_t(blockIdx.x) * (kSortTile / width);
  const auto place = [&](int slot) {  // in x, or -1
    int64_t group;
    const int64_t row = divide(first + slot / width, groups, group), at = group * width + slot % width;
    return row < rows && at < n ? row * n + at : -1;
  };
  for (int slot = int(threadIdx.x); slot < kSortTile; slot += kSortBlock) {
    const int64_t at = place(slot);
    Item item = Item::last();
    if (at >= 0) {
      const Key key = ordered(x[at]);
      item = Item::make(descending ? Key(~key) : key, at % n);
    }
    items[slot] = item;
  }
  for (int size = 2; size <= width; size *= 2)
    for (int step = size / 2; step > 0; step /= 2) {
      __syncthreads();
      for (int pair = int(threadIdx.x); pair < kSortTile / 2; pair += kSortBlock) {
        const int low = 2 * step * (pair / step) + pair % step, high = low + step;
        const bool rising = (low & (width - 1) & size) == 0;
        const Item a = items[low], b = items[high];
        if (rising ? b < a : a < b) {
          items[low] = b;
          items[high] = a;
        }
      }
    }
  __syncthreads();
  for (int slot = int(threadIdx.x); slot < kSortTile; slot += kSortBlock)
    if (const int64_t at = place(slot); at >= 0) out[at] = items[slot];
}

// How many of the first `diagonal` items of the merged a and b come from a.
template <class A>
LM_DEVICE int64_t merge_split(const A& a, int64_t n_a, const A& b, int64_t n_b, int64_t diagonal) {
  int64_t low = diagonal > n_b ? diagonal - n_b : 0, high = diagonal < n_a ? diagonal : n_a;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (a(middle) < b(diagonal - 1 - middle))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}
template <class Item>
struct GlobalRun {
  const Item* p;
  LM_DEVICE Item operator()(int64_t i) const { return p[i]; }
};
template <class Item>
struct SharedRun {
  Shared<Item> p;
  LM_DEVICE Item operator()(int64_t i) const { return p[int(i)]; }
};

// Merges pairs of runs of length `run` in rows of n; block b makes tile b % tiles of row b / tiles.
template <class Item>
__global__ void __launch_bounds__(kSortBlock)
    merge_runs_kernel(const Item* __restrict__ from, Item* __restrict__ to, int64_t n, int64_t tiles, int64_t run) {
  constexpr int kEach = kSortTile / kSortBlock;
  LM_SHARED(Item, items, [kSortTile]);
  int64_t tile;
  const int64_t row = divide(int64_t(blockIdx.x), tiles, tile), begin = tile * kSortTile;
  const int64_t base = begin / (2 * run) * (2 * run), middle = base + run < n ? base + run : n;
  const int64_t end = base + 2 * run < n ? base + 2 * run : n, n_a = middle - base, n_b = end - middle;
  const GlobalRun<Item> a{from + row * n + base}, b{from + row * n + middle};
  const int64_t first = begin - base, last = first + kSortTile < n_a + n_b ? first + kSortTile : n_a + n_b;
  const int64_t first_a = merge_split(a, n_a, b, n_b, first), last_a = merge_split(a, n_a, b, n_b, last);
  const int64_t first_b = first - first_a;
  const int count = int(last - first), count_a = int(last_a - first_a), count_b = count - count_a;
  for (int i = int(threadIdx.x); i < count; i += kSortBlock)
    items[i] = i < count_a ? a(first_a + i) : b(first_b + i - count_a);
  __syncthreads();
  const int start = int(threadIdx.x) * kEach;
  if (start >= count) return;
  const SharedRun<Item> near_a{Shared<Item>(items)}, near_b{Shared<Item>(items) + count_a};
  int at_a = int(merge_split(near_a, count_a, near_b, count_b, start)), at_b = start - at_a;
  Item* out = to + row * n + begin;
  for (int i = start; i < start + kEach && i < count; ++i) {
    bool take_a = at_b >= count_b;
    if (!take_a && at_a < count_a) take_a = near_a(at_a) < near_b(at_b);
    out[i] = take_a ? near_a(at_a++) : near_b(at_b++);
  }
}

// The first k of each sorted row: values and positions.
template <class T, class Item>
__global__ void __launch_bounds__(256)
    sort_emit_kernel(const Item* __restrict__ items, const T* __restrict__ x, int64_t rows, int64_t n, int64_t k,
                     T* __restrict__ values, int64_t* __restrict__ positions) {
  const int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x;
  if (i >= rows * k) return;
  int64_t column;
  const int64_t row = divide(i, k, column), at = items[row * n + column].at();
  values[i] = x[row * n + at];
  positions[i] = at;
}

// The first place of a sorted row whose key is at least `key`.
template <class Item>
LM_DEVICE int64_t lower_bound(const Item* row, int64_t n, typename Item::Key key) {
  int64_t low = 0, high = n;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (row[middle].key() < key)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

// Element k of each sorted row; with nan_first the first NaN, which has the largest key.
template <class T, class Item>
__global__ void __launch_bounds__(256)
    select_kth_kernel(const Item* __restrict__ items, const T* __restrict__ x, int64_t rows, int64_t n, int64_t k,
                      bool nan_first, T* __restrict__ values, int64_t* __restrict__ positions) {
  const int64_t row = int64_t(blockIdx.x) * 256 + threadIdx.x;
  if (row >= rows) return;
  const Item* sorted = items + row * n;
  const typename Item::Key nan = ~typename Item::Key(0);
  if (nan_first && sorted[n - 1].key() == nan) k = lower_bound(sorted, n, nan);
  const int64_t at = sorted[k].at();
  values[row] = x[row * n + at];
  positions[row] = at;
}

// The longest run of equal keys in each sorted row, the first of several, by its last item. NaN equals nothing.
template <class T, class Item>
__global__ void __launch_bounds__(256)
    find_modes_kernel(const Item* __restrict__ items, const T* __restrict__ x, int64_t n, bool has_nan,
                      T* __restrict__ values, int64_t* __restrict__ positions) {
  struct Run {
    int64_t length, last;
  };
  LM_SHARED(Run, scratch, [32]);
  const int64_t row = blockIdx.x;
  const Item* sorted = items + row * n;
  const auto longer = [](Run a, Run b) {
    return b.length > a.length || (b.length == a.length && b.last < a.last) ? b : a;
  };
  Run best{0, 0};
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
    const typename Item::Key key = sorted[i].key();
    const bool nan = has_nan && key == ~typename Item::Key(0);
    if (i + 1 < n && !nan && sorted[i + 1].key() == key) continue;
    best = longer(best, Run{nan ? 1 : i + 1 - lower_bound(sorted, n, key), i});
  }
  best = block_reduce(best, Run{0, 0}, longer, Shared<Run>(scratch));
  if (threadIdx.x != 0) return;
  const int64_t at = sorted[best.last].at();
  values[row] = x[row * n + at];
  positions[row] = at;
}

// cpu::search_sorted, a thread for each value.
template <class T>
__global__ void __launch_bounds__(256)
    search_sorted_kernel(const T* __restrict__ sorted, const T* __restrict__ values, int64_t* __restrict__ positions,
                         const int64_t* __restrict__ order, int64_t rows, int64_t n, int64_t m, bool shared,
                         bool right) {
  const int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x;
  if (i >= rows * m) return;
  int64_t rest;
  const int64_t start = shared ? 0 : divide(i, m, rest) * n;
  const auto value = ordered(values[i]);
  int64_t low = 0, high = n;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    const auto here = ordered(sorted[start + (order ? order[start + middle] : middle)]);
    if (here < value || (right && here == value))
      low = middle + 1;
    else
      high = middle;
  }
  positions[i] = low;
}

// --- positions where a condition holds, in order: count per tile, sum up, write ---
struct IsNonzero {
  const uint8_t* x;
  LM_DEVICE bool operator()(int64_t i) const { return x[i] != 0; }
};
template <class T>
struct BeginsRun {
  const T* x;
  LM_DEVICE bool operator()(int64_t i) const { return i == 0 || Compute<T>(x[i]) != Compute<T>(x[i - 1]); }
};

constexpr int kFindEach = 8, kFindTile = 256 * kFindEach;
struct AddCounts {
  LM_DEVICE int64_t operator()(int64_t a, int64_t b) const { return a + b; }
};

// counts[tile] = how many hold; or, with positions, writes them from counts[tile] on.
template <class Condition>
__global__ void __launch_bounds__(256)
    find_positions_kernel(Condition holds, int64_t n, int64_t* counts, int64_t* positions) {
  LM_SHARED(int64_t, scratch, [32]);
  const int64_t begin = int64_t(blockIdx.x) * kFindTile + int64_t(threadIdx.x) * kFindEach;
  unsigned found = 0;
  for (int i = 0; i < kFindEach; ++i)
    if (begin + i < n && holds(begin + i)) found |= 1u << i;
  int64_t total;
  const int64_t before = block_scan(int64_t(__popc(found)), int64_t(0), AddCounts(), Shared<int64_t>(scratch), total);
  if (!positions) {
    if (threadIdx.x == 0) counts[blockIdx.x] = total;
    return;
  }
  int64_t* out = positions + counts[blockIdx.x] + before;
  for (int i = 0; i < kFindEach; ++i)
    if (found >> i & 1) *out++ = begin + i;
}

// counts become the sums of those before; counts[n] the sum of all. One block.
__global__ void __launch_bounds__(256) sum_counts_kernel(int64_t* counts, int64_t n) {
  LM_SHARED(int64_t, scratch, [32]);
  int64_t sum = 0;
  for (int64_t base = 0; base < n; base += 256) {
    const int64_t i = base + threadIdx.x, value = i < n ? counts[i] : 0;
    int64_t total;
    const int64_t before = block_scan(value, int64_t(0), AddCounts(), Shared<int64_t>(scratch), total);
    if (i < n) counts[i] = sum + before;
    sum += total;
  }
  if (threadIdx.x == 0) counts[n] = sum;
}

// --- histograms: integer counts, whose sum does not depend on the order ---
__global__ void __launch_bounds__(256) count_bins_kernel(const int64_t* __restrict__ x, int64_t n, int64_t* counts) {
  const int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x;
  if (i < n) atomicAdd(reinterpret_cast<unsigned long long*>(counts + x[i]), 1ull);
}
__global__ void __launch_bounds__(256)
    histogram_kernel(const double* __restrict__ x, int64_t n, double low, double high, int64_t bins, int64_t* counts) {
  const int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x;
  if (i >= n || !(x[i] >= low && x[i] <= high)) return;
  const int64_t bin = int64_t((x[i] - low) / (high - low) * double(bins));
  atomicAdd(reinterpret_cast<unsigned long long*>(counts + (bin < bins ? bin : bins - 1)), 1ull);
}

}  // namespace lamina::cuda
