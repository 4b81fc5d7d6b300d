// The loops behind indexing. See index.h.
#include "kernel/index.h"

#include <algorithm>
#include <cstring>

#include "core/pool.h"
#include "cpu/index_loops.h"

namespace lamina {
namespace {

constexpr int64_t kGrain = 16384;  // elements in a chunk
constexpr int64_t kLongSlice = 16;

// Calls f(offset in x, position) for each element of the loops, row-major.
template <class F>
void each(const Loops& loops, F f) {
  if (loops.n <= 1) {
    const int64_t stride = loops.n ? loops.stride[0] : 0;
    for (int64_t i = 0; i < loops.total; ++i) f(i * stride, i);
    return;
  }
  int64_t at[16] = {}, offset = 0;
  for (int64_t i = 0; i < loops.total; ++i) {
    f(offset, i);
    for (int d = loops.n - 1; d >= 0; --d) {
      offset += loops.stride[d];
      if (++at[d] < loops.size[d]) break;
      offset -= at[d] * loops.stride[d];
      at[d] = 0;
    }
  }
}

template <PutMode kMode, class T>
void join(T& to, T value) {
  using C = std::conditional_t<std::is_same_v<T, f16> || std::is_same_v<T, bf16>, float, T>;
  const C a = C(to), b = C(value);
  if constexpr (kMode == PutMode::Assign)
    to = value;
  else if constexpr (kMode == PutMode::Add)
    to = T(C(a + b));
  else if constexpr (kMode == PutMode::Mul)
    to = T(C(a * b));
  else if constexpr (kMode == PutMode::Min)
    to = b < a || b != b ? value : to;
  else
    to = b > a || b != b ? value : to;
}

template <class F>
void with_mode(PutMode mode, F f) {
  switch (mode) {
    case PutMode::Assign:
      return f.template operator()<PutMode::Assign>();
    case PutMode::Add:
      return f.template operator()<PutMode::Add>();
    case PutMode::Mul:
      return f.template operator()<PutMode::Mul>();
    case PutMode::Min:
      return f.template operator()<PutMode::Min>();
    case PutMode::Max:
      return f.template operator()<PutMode::Max>();
  }
}

// Only the width matters when elements are moved.
template <class F>
void by_width(DType dtype, F f) {
  switch (item_size(dtype)) {
    case 1:
      return f.template operator()<uint8_t>();
    case 2:
      return f.template operator()<uint16_t>();
    case 4:
      return f.template operator()<uint32_t>();
    default:
      return f.template operator()<uint64_t>();
  }
}
template <PutMode kMode, class F>
void by_type(DType dtype, F f) {
  if constexpr (kMode == PutMode::Assign)
    by_width(dtype, f);
  else
    dispatch_all(dtype, f);
}

// Splits [0, n) into ranges that hold about kGrain elements of `each_size`, and runs f(begin, end) on them.
template <class F>
void over_ranges(int64_t n, int64_t each_size, F f) {
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, each_size));
  parallel_for(chunk_count(n, grain), [&](int64_t chunk) { f(chunk * grain, std::min(n, (chunk + 1) * grain)); });
}

template <class T>
void take_rows(const SliceJob& job, int64_t begin, int64_t end) {
  const T* x = static_cast<const T*>(job.x);
  T* out = static_cast<T*>(job.values) + begin * job.inner.total;
  const int64_t n = job.inner.total;
  const bool run = n == 1 || (job.inner.n == 1 && job.inner.stride[0] == 1);
  int64_t outer = begin / job.count, k = begin % job.count;
  for (int64_t row = begin; row < end; ++outer, k = 0) {
    const T* base = x + job.outer.offset(outer);
    const int64_t stop = std::min(job.count, k + end - row);
    row += stop - k;
    if (n == 1) {
      for (; k < stop; ++k) *out++ = base[job.offsets[k] * job.scale];
    } else if (run) {
      for (; k < stop; ++k, out += n) std::memcpy(out, base + job.offsets[k] * job.scale, size_t(n) * sizeof(T));
    } else {
      for (; k < stop; ++k, out += n) {
        const T* from = base + job.offsets[k] * job.scale;
        each(job.inner, [&](int64_t offset, int64_t i) { out[i] = from[offset]; });
      }
    }
  }
}

// All places of one outer position with offsets in [low, high), in the order of the index.
template <PutMode kMode, class T>
void put_rows(const SliceJob& job, int64_t outer, int64_t low, int64_t high) {
  T* base = static_cast<T*>(job.x) + job.outer.offset(outer);
  const T* values = static_cast<const T*>(job.values);
  const int64_t n = job.inner.total, stride = job.inner.n ? job.inner.stride[0] : 0;
  if (!job.one_value) values += outer * job.count * n;
  for (int64_t k = 0; k < job.count; ++k) {
    if (job.offsets[k] < low || job.offsets[k] >= high) continue;
    T* place = base + job.offsets[k] * job.scale;
    const T* row = job.one_value ? values : values + k * n;
    if (job.inner.n > 1) {
      each(job.inner, [&](int64_t offset, int64_t i) { join<kMode>(place[offset], row[job.one_value ? 0 : i]); });
    } else if (job.one_value) {
      for (int64_t i = 0; i < n; ++i) join<kMode>(place[i * stride], *row);
    } else if (kMode == PutMode::Add && std::is_floating_point_v<T> && stride == 1 && n >= kLongSlice) {
      cpu::loop::add_run(job.dtype, row, place, n);
    } else if (stride == 1) {
      for (int64_t i = 0; i < n; ++i) join<kMode>(place[i], row[i]);
    } else {
      for (int64_t i = 0; i < n; ++i) join<kMode>(place[i * stride], row[i]);
    }
  }
}

// Runs f(outer, from, to) over pieces that write to different places: outer positions, and parts of the inner loop.
template <class Job, class F>
void over_places(const Job& job, F f) {
  const int64_t n = job.inner.total;
  if (job.outer.total * job.count * n == 0) return;
  const bool split = job.inner.n == 1 && job.count * n > kGrain;
  const int64_t width = split ? std::max<int64_t>(64, kGrain / job.count) : n, pieces = chunk_count(n, width);
  over_ranges(job.outer.total * pieces, job.count * std::min(width, n), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i / pieces, i % pieces * width, std::min(n, (i % pieces + 1) * width));
  });
}

template <class T, class F>
void each_in_line(const LineJob& job, int64_t outer, int64_t from, int64_t to, F f) {
  T* base = static_cast<T*>(job.x) + job.outer.offset(outer);
  const int64_t n = job.inner.total;
  const int64_t first = outer * job.count * n;
  if (n == 1) {  // along the last dimension
    const int64_t* index = job.index + first;
    for (int64_t k = 0; k < job.count; ++k) f(base[index[k] * job.step], first + k);
    return;
  }
  for (int64_t k = 0; k < job.count; ++k) {
    const int64_t row = first + k * n;
    if (job.inner.n <= 1) {
      const int64_t stride = job.inner.n ? job.inner.stride[0] : 0;
      for (int64_t i = from; i < to; ++i) f(base[job.index[row + i] * job.step + i * stride], row + i);
    } else {
      each(job.inner, [&](int64_t offset, int64_t i) { f(base[job.index[row + i] * job.step + offset], row + i); });
    }
  }
}

}  // namespace

void cpu::take(const SliceJob& job) {
  const int64_t rows = job.outer.total * job.count;
  if (rows * job.inner.total == 0) return;
  by_width(job.dtype, [&]<class T>() {
    over_ranges(rows, job.inner.total, [&](int64_t begin, int64_t end) { take_rows<T>(job, begin, end); });
  });
}

void cpu::put(const SliceJob& job, PutMode mode) {
  const int64_t work = job.count * job.inner.total;
  if (job.outer.total * work == 0) return;
  // Long slices are shared out by where they go: every part walks the whole index, so each place meets its values in
  // order.
  constexpr int64_t kMaxParts = 16;
  int64_t parts = 1, extent = INT64_MAX;
  if (job.inner.total >= kLongSlice && work > 4 * kGrain) {
    parts = std::min(kMaxParts, work / (4 * kGrain));
    extent = *std::max_element(job.offsets, job.offsets + job.count) + 1;
  }
  with_mode(mode, [&]<PutMode kMode>() {
    by_type<kMode>(job.dtype, [&]<class T>() {
      over_ranges(job.outer.total * parts, work / parts, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t part = i % parts;
          put_rows<kMode, T>(job, i / parts, parts == 1 ? 0 : extent * part / parts,
                             parts == 1 ? extent : extent * (part + 1) / parts);
        }
      });
    });
  });
}

void cpu::gather(const LineJob& job) {
  by_width(job.dtype, [&]<class T>() {
    T* out = static_cast<T*>(job.values);
    over_places(job, [&](int64_t outer, int64_t from, int64_t to) {
      each_in_line<T>(job, outer, from, to, [&](T& x, int64_t i) { out[i] = x; });
    });
  });
}

void cpu::scatter(const LineJob& job, PutMode mode) {
  with_mode(mode, [&]<PutMode kMode>() {
    by_type<kMode>(job.dtype, [&]<class T>() {
      const T* values = static_cast<const T*>(job.values);
      over_places(job, [&](int64_t outer, int64_t from, int64_t to) {
        each_in_line<T>(job, outer, from, to, [&](T& x, int64_t i) { join<kMode>(x, values[job.one_value ? 0 : i]); });
      });
    });
  });
}

void cpu::find_offsets(const Loops& loops, const int64_t* positions, int64_t n, int64_t* offsets) {
  for (int64_t i = 0; i < n; ++i) offsets[i] = loops.offset(positions[i]);
}

void cpu::unravel(const UnravelJob& job) {
  const int last = job.dims - 1;
  if (job.dims == 0) return;
  // Positions mostly grow: within a row of the last dimension nothing is divided.
  int64_t at[16] = {}, begin = 0;
  for (int64_t i = 0; i < job.n; ++i) {
    const int64_t position = job.positions[i];
    if (position < begin || position >= begin + job.sizes[last]) {
      int64_t rest = position / job.sizes[last];
      begin = rest * job.sizes[last];
      for (int d = last - 1; d >= 0; rest /= job.sizes[d--]) at[d] = rest % job.sizes[d];
    }
    at[last] = position - begin;
    for (int d = 0; d <= last; ++d) job.out[i * job.row_step + d * job.dim_step] = at[d];
  }
}

}  // namespace lamina
