// The loops of sorting. See sort.h.
#include "kernel/sort.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "core/pool.h"

namespace lamina {
namespace {

constexpr int64_t kGrain = 16384;   // elements in a chunk
constexpr int64_t kRadixRow = 512;  // rows at least this long are sorted by digits

// An unsigned integer in the order of x: -0 equals 0, every NaN comes last.
template <class T>
auto ordered(T x) {
  if constexpr (std::is_same_v<T, f16> || std::is_same_v<T, bf16>) {
    return ordered(float(x));
  } else if constexpr (std::is_floating_point_v<T>) {
    using U = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
    constexpr U kSign = U(1) << (8 * sizeof(T) - 1);
    if (x != x) return ~U(0);
    const U u = std::bit_cast<U>(T(x + T(0)));  // -0 + 0 = 0
    return u & kSign ? U(~u) : U(u | kSign);
  } else if constexpr (sizeof(T) == 8) {
    return uint64_t(x) ^ (uint64_t(1) << 63);
  } else {
    return uint32_t(int64_t(x) - int64_t(std::numeric_limits<T>::min()));
  }
}

// Key and position in one integer where both have 32 bits, else side by side.
struct Narrow {
  using Key = uint32_t;
  uint64_t packed;
  static Narrow make(uint32_t key, int64_t at) { return {uint64_t(key) << 32 | uint64_t(at)}; }
  uint32_t key() const { return uint32_t(packed >> 32); }
  int64_t at() const { return int64_t(packed & 0xffffffffu); }
  bool operator<(const Narrow& o) const { return packed < o.packed; }
};
struct Broad {
  using Key = uint64_t;
  uint64_t bits;
  int64_t position;
  static Broad make(uint64_t key, int64_t at) { return {key, at}; }
  uint64_t key() const { return bits; }
  int64_t at() const { return position; }
  bool operator<(const Broad& o) const { return bits != o.bits ? bits < o.bits : position < o.position; }
};

// By digits of eight bits, from the lowest; digits that all items share cost no pass. `other` is scratch of n items;
// returns where the result is.
template <class Item>
Item* radix_sort(Item* items, Item* other, int64_t n) {
  constexpr int kDigits = sizeof(typename Item::Key);
  std::vector<int64_t> counts(kDigits * 256);
  for (int64_t i = 0; i < n; ++i)
    for (int d = 0; d < kDigits; ++d) ++counts[size_t(d * 256) + (items[i].key() >> (8 * d) & 255)];
  for (int d = 0; d < kDigits; ++d) {
    int64_t* count = counts.data() + d * 256;
    if (count[items[0].key() >> (8 * d) & 255] == n) continue;
    int64_t sum = 0;
    for (int b = 0; b < 256; ++b) sum += std::exchange(count[b], sum);
    for (int64_t i = 0; i < n; ++i) other[count[items[i].key() >> (8 * d) & 255]++] = items[i];
    std::swap(items, other);
  }
  return items;
}

template <class T>
using ItemOf = std::conditional_t<sizeof(ordered(T())) == 4, Narrow, Broad>;

// Runs f(row, items, scratch) on every row, its items made from x.
template <class T, class F>
void over_rows(const SortJob& job, F f) {
  using Item = ItemOf<T>;
  const T* x = static_cast<const T*>(job.x);
  const int64_t n = job.n, grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, n));
  if (job.rows * n == 0) return;
  LM_CHECK(sizeof(Item) == 16 || n <= int64_t(UINT32_MAX), ValueError, "sort: a row has ", n,
           " elements; need fewer than ", UINT32_MAX);
  parallel_for(chunk_count(job.rows, grain), [&](int64_t chunk) {
    std::unique_ptr<Item[]> items(new Item[size_t(2 * n)]);
    for (int64_t r = chunk * grain; r < std::min(job.rows, (chunk + 1) * grain); ++r) {
      const T* row = x + r * n;
      for (int64_t i = 0; i < n; ++i) {
        const auto key = ordered(row[i]);
        items[size_t(i)] = Item::make(job.descending ? decltype(key)(~key) : key, i);
      }
      f(r, items.get(), items.get() + n);
    }
  });
}

template <class F>
void by_type(DType dtype, F f) {
  dispatch_all(dtype,
               [&]<class T>() { f.template operator()<std::conditional_t<std::is_same_v<T, bool>, uint8_t, T>>(); });
}

}  // namespace

void cpu::sort(const SortJob& job) {
  by_type(job.dtype, [&]<class T>() {
    over_rows<T>(job, [&](int64_t r, auto* items, auto* scratch) {
      const int64_t n = job.n, k = job.k;
      if (k * 16 <= n) {
        std::partial_sort(items, items + k, items + n);
      } else if (n >= kRadixRow) {
        items = radix_sort(items, scratch, n);
      } else {
        if (k < n) std::nth_element(items, items + k, items + n);
        std::sort(items, items + k);
      }
      const T* row = static_cast<const T*>(job.x) + r * n;
      for (int64_t i = 0; i < k; ++i) {
        static_cast<T*>(job.values)[r * k + i] = row[items[i].at()];
        job.positions[r * k + i] = items[i].at();
      }
    });
  });
}

void cpu::select_kth(const SortJob& job, int64_t k, bool nan_first) {
  by_type(job.dtype, [&]<class T>() {
    over_rows<T>(job, [&](int64_t r, auto* items, auto*) {
      const T* row = static_cast<const T*>(job.x) + r * job.n;
      int64_t at = -1;
      if constexpr (std::is_floating_point_v<T> || std::is_same_v<T, f16> || std::is_same_v<T, bf16>)
        for (int64_t i = 0; nan_first && i < job.n && at < 0; ++i)
          if (float(row[i]) != float(row[i])) at = i;
      if (at < 0) {
        std::nth_element(items, items + k, items + job.n);
        at = items[k].at();
      }
      static_cast<T*>(job.values)[r] = row[at];
      job.positions[r] = at;
    });
  });
}

// After sorting it is the longest run.
void cpu::find_modes(const SortJob& job) {
  const int64_t size = item_size(job.dtype), n = job.n;
  std::unique_ptr<char[]> sorted(new char[size_t(job.rows * n * size)]);
  std::unique_ptr<int64_t[]> order(new int64_t[size_t(job.rows * n)]), start(new int64_t[size_t(n + 1)]);
  cpu::sort({job.dtype, job.x, sorted.get(), order.get(), job.rows, n, n});
  for (int64_t r = 0; r < job.rows; ++r) {
    const char* row = sorted.get() + r * n * size;
    const int64_t runs = cpu::find_runs(job.dtype, row, n, start.get());
    start[size_t(runs)] = n;
    size_t best = 0;
    for (size_t i = 1; i < size_t(runs); ++i)
      if (start[i + 1] - start[i] > start[best + 1] - start[best]) best = i;
    const int64_t at = start[best + 1] - 1;
    std::memcpy(static_cast<char*>(job.values) + r * size, row + at * size, size_t(size));
    job.positions[r] = order[size_t(r * n + at)];
  }
}

void cpu::search_sorted(const SearchJob& job) {
  by_type(job.dtype, [&]<class T>() {
    const int64_t total = job.rows * job.m;
    parallel_for(chunk_count(total, 1024), [&](int64_t chunk) {
      for (int64_t i = chunk * 1024; i < std::min(total, (chunk + 1) * 1024); ++i) {
        const int64_t row = job.shared ? 0 : i / job.m;
        const T* sorted = static_cast<const T*>(job.sorted) + row * job.n;
        const int64_t* order = job.order ? job.order + row * job.n : nullptr;
        const auto value = ordered(static_cast<const T*>(job.values)[i]);
        int64_t low = 0, high = job.n;
        while (low < high) {
          const int64_t middle = (low + high) / 2;
          const auto here = ordered(sorted[order ? order[middle] : middle]);
          if (here < value || (job.right && here == value))
            low = middle + 1;
          else
            high = middle;
        }
        job.positions[i] = low;
      }
    });
  });
}

int64_t cpu::find_runs(DType dtype, const void* sorted, int64_t n, int64_t* starts) {
  int64_t runs = 0;
  by_type(dtype, [&]<class T>() {
    const T* x = static_cast<const T*>(sorted);
    for (int64_t i = 0; i < n; ++i) {
      bool begins = i == 0;
      if constexpr (std::is_same_v<T, f16> || std::is_same_v<T, bf16>)
        begins = begins || float(x[i]) != float(x[i - 1]);
      else
        begins = begins || x[i] != x[i - 1];
      if (begins) starts[runs++] = i;
    }
  });
  return runs;
}

void cpu::find_nonzero(const bool* mask, int64_t n, int64_t* positions) {
  const int64_t count = std::count(mask, mask + n, true);
  // Without a branch on the element: every position is written, and kept if it counts.
  for (int64_t i = 0, found = 0; found < count && i < n; found += mask[i++]) positions[found] = i;
}

void cpu::count_bins(const int64_t* x, int64_t n, const double* weights, double* weighted, int64_t* counts) {
  for (int64_t i = 0; i < n; ++i) {
    if (weights)
      weighted[x[i]] += weights[i];
    else
      ++counts[x[i]];
  }
}

void cpu::histogram(const double* x, int64_t n, double low, double high, int64_t bins, int64_t* counts) {
  for (int64_t i = 0; i < n; ++i)
    if (x[i] >= low && x[i] <= high) ++counts[std::min(bins - 1, int64_t((x[i] - low) / (high - low) * double(bins)))];
}

}  // namespace lamina
