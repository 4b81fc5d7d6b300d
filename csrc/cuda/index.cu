// Launchers of indexing (kernel/index.h) and of embedding (kernel/embedding.h), which takes and adds rows.
#include "kernel/index.h"

#include "cuda/kernels/index.cuh"
#include "cuda/launch.h"
#include "cuda/sort_items.h"
#include "kernel/embedding.h"

namespace lamina::cuda {

namespace {

constexpr int64_t kNothing = INT64_MIN;  // no offset to skip

unsigned blocks(int64_t n) { return blocks_for(n, 256); }

// Copies slices with elements of T, the widest type that sizes and addresses allow.
template <class T>
void take_as(Stream stream, const SliceJob& job) {
  launch(take_kernel<T>, blocks(job.outer.total * job.count * job.inner.total), 256, 0, stream,
         static_cast<const T*>(job.x), static_cast<T*>(job.values), job.offsets, job.count, job.scale, job.outer,
         job.inner);
}

// The job in units of `factor` elements; false where slices are not made of such units.
bool widen(SliceJob& job, int64_t itemsize, int64_t factor) {
  const int64_t bytes = itemsize * factor;
  const auto aligned = [&](const void* p) { return reinterpret_cast<uintptr_t>(p) % uintptr_t(bytes) == 0; };
  if (job.inner.n != 1 || job.inner.stride[0] != 1) return false;
  bool fits = job.inner.total % factor == 0 && job.scale % factor == 0 && aligned(job.x) && aligned(job.values);
  for (int d = 0; d < job.outer.n; ++d) fits &= job.outer.stride[d] % factor == 0;
  if (!fits) return false;
  job.inner.total /= factor;
  job.inner.size[0] /= factor;
  job.scale /= factor;
  for (int d = 0; d < job.outer.n; ++d) job.outer.stride[d] /= factor;
  return true;
}

void take_items(Stream stream, SliceJob job, int64_t itemsize) {
  for (int64_t bytes = 16; bytes > itemsize; bytes /= 2) {
    if (!widen(job, itemsize, bytes / itemsize)) continue;
    if (bytes == 16) return take_as<Pack<uint32_t, 4>>(stream, job);
    itemsize = bytes;
  }
  dispatch_size(itemsize, [&]<class T>() { take_as<T>(stream, job); });
}

// What joins; assigning only moves.
template <class F>
void by_mode(DType dtype, PutMode mode, F f) {
  if (mode == PutMode::Assign)
    dispatch_size(item_size(dtype), f);
  else
    dispatch_types(dtype, f);
}

void put_items(Stream stream, const SliceJob& job, PutMode mode, int64_t skip) {
  if (job.outer.total * job.count * job.inner.total == 0) return;
  const size_t room = job.count > 1 ? size_t(job.count) : 0;
  const Workspace memory(stream, 2 * room * sizeof(BroadItem));
  auto* a = memory.as<BroadItem>();
  const BroadItem* items = room ? sorted_keys(stream, job.offsets, job.count, a, a + room) : nullptr;
  by_mode(job.dtype, mode, [&]<class T>() {
    launch(put_kernel<T>, blocks(job.outer.total * job.count * job.inner.total), 256, 0, stream, static_cast<T*>(job.x),
           static_cast<const T*>(job.values), items, job.offsets, job.count, job.scale, job.one_value, int(mode), skip,
           job.outer, job.inner);
  });
}

}  // namespace

void take(Stream stream, const SliceJob& job) {
  if (job.outer.total * job.count * job.inner.total > 0) take_items(stream, job, item_size(job.dtype));
}

void put(Stream stream, const SliceJob& job, PutMode mode) { put_items(stream, job, mode, kNothing); }

void gather(Stream stream, const LineJob& job) {
  dispatch_size(item_size(job.dtype), [&]<class T>() {
    launch(gather_kernel<T>, blocks(job.outer.total * job.count * job.inner.total), 256, 0, stream,
           static_cast<const T*>(job.x), static_cast<T*>(job.values), job.index, job.count, job.step, job.outer,
           job.inner);
  });
}

void scatter(Stream stream, const LineJob& job, PutMode mode) {
  constexpr int64_t kShortLine = 32, kLine = 512, kManyLines = 16384;
  const int64_t lines = job.outer.total * job.inner.total, n = lines * job.count;
  if (n == 0) return;
  if (job.count <= kShortLine || (job.count <= kLine && lines >= kManyLines))
    return by_mode(job.dtype, mode, [&]<class T>() {
      launch(scatter_lines_kernel<T>, blocks(lines), 256, 0, stream, static_cast<T*>(job.x),
             static_cast<const T*>(job.values), job.index, job.count, job.step, job.one_value, int(mode), job.outer,
             job.inner);
    });
  const Workspace places(stream, size_t(n) * sizeof(int64_t));
  launch(scatter_places_kernel, blocks(n), 256, 0, stream, job.index, places.as<int64_t>(), job.count, job.step,
         job.outer, job.inner);
  put_items(stream, {job.dtype, job.x, job.values, places.as<int64_t>(), n, 1, job.one_value, {}, {}}, mode, kNothing);
}

void find_offsets(Stream stream, const Loops& loops, const int64_t* positions, int64_t n, int64_t* offsets) {
  launch(find_offsets_kernel, blocks(n), 256, 0, stream, loops, positions, n, offsets);
}

void unravel(Stream stream, const UnravelJob& job) {
  Sizes sizes{job.dims, {}};
  std::copy(job.sizes, job.sizes + job.dims, sizes.size);
  launch(unravel_kernel, blocks(job.n), 256, 0, stream, job.positions, job.n, sizes, job.out, job.row_step,
         job.dim_step);
}

void embedding_rows(Stream stream, const void* table, const int64_t* index, void* y, int64_t count, int64_t row_bytes) {
  SliceJob job{DType::U8, const_cast<void*>(table), y, index, count, row_bytes, false, {}, {}};
  job.inner.add(row_bytes, 1);
  if (count * row_bytes > 0) take_items(stream, job, 1);
}

void embedding_gradient(Stream stream, int64_t item, const void* g, const int64_t* index, void* grad, int64_t count,
                        int64_t rows, int64_t n, int64_t padding) {
  dispatch_size(item, [&]<class T>() {
    launch(fill_zero_kernel<T>, blocks(rows * n), 256, 0, stream, static_cast<T*>(grad), rows * n);
  });
  const DType dtype = item == 4 ? DType::F32 : DType::F64;
  SliceJob job{dtype, grad, const_cast<void*>(g), index, count, n, false, {}, {}};
  job.inner.add(n, 1);
  put_items(stream, job, PutMode::Add, padding < 0 ? kNothing : padding);
}

}  // namespace lamina::cuda
