// Norms and changes of many arrays on the CPU. The one idea: arrays are cut into pieces of fixed size, all of which
// wait for one parallel region; a norm's pieces leave their states in order, so it does not depend on the number of
// threads. The loops are those of reduce_loops.h and clip_loops.h.
#include "kernel/clip.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "core/pool.h"
#include "core/storage.h"
#include "cpu/clip_loops.h"
#include "cpu/copy_loops.h"
#include "cpu/reduce_loops.h"

namespace lamina::cpu {
namespace {

constexpr int64_t kGrain = 16384;  // elements per piece: a fixed number, see core/pool.h

std::vector<FlatArray> cut(const FlatArray* arrays, int64_t count) {
  std::vector<FlatArray> pieces;
  pieces.reserve(size_t(count));
  for (const FlatArray* a = arrays; a < arrays + count; ++a)
    for (int64_t start = 0; start < a->n; start += kGrain)
      pieces.push_back(
          {a->dtype, std::min(kGrain, a->n - start), static_cast<char*>(a->data) + start * item_size(a->dtype)});
  return pieces;
}

// f(piece, its number) for all of them, by this thread alone if they are few elements.
template <class F>
void for_pieces(const std::vector<FlatArray>& pieces, F&& f) {
  int64_t elements = 0;
  for (const FlatArray& piece : pieces) elements += piece.n;
  const auto run = [&](int64_t i) { f(pieces[size_t(i)], i); };
  if (elements > 2 * kGrain) return parallel_for(int64_t(pieces.size()), run);
  for (int64_t i = 0; i < int64_t(pieces.size()); ++i) run(i);
}

// f(dtype, data) with f16 and bf16 as float, in a buffer.
template <class F>
void widened(const FlatArray& a, bool changed, F&& f) {
  if (!is_half(a.dtype)) return f(a.dtype, a.data);
  Ref<Storage> wide = Storage::create(size_t(a.n) * sizeof(float));
  cpu::convert(a.dtype, DType::F32, a.n, a.data, wide->data);
  f(DType::F32, wide->data);
  if (changed) cpu::convert(DType::F32, a.dtype, a.n, wide->data, a.data);
}

}  // namespace

void norm_of_arrays(double p, const FlatArray* arrays, int64_t count, void* norm) {
  const DType dtype = count && arrays[0].dtype == DType::F64 ? DType::F64 : DType::F32;
  ReduceJob whole{.kind = norm_kind(p), .dtype = dtype, .kept = {}, .reduced = {}};
  whole.p = p;
  whole.root = whole.kind == Reduce::SumSquare || whole.kind == Reduce::SumPow;
  whole.out = norm;
  const std::vector<FlatArray> pieces = cut(arrays, count);
  if (pieces.empty()) {
    std::memset(norm, 0, size_t(item_size(dtype)));
    return;
  }
  std::unique_ptr<double[]> states(new double[pieces.size() * (kStateBytes / sizeof(double))]);
  for_pieces(pieces, [&](const FlatArray& piece, int64_t i) {
    widened(piece, false, [&](DType, const void* data) {
      ReduceJob job = whole;
      job.x = data;
      job.reduced.add(piece.n, 1);
      loop::reduce_part(job, 0, 1, 0, piece.n, reinterpret_cast<char*>(states.get()) + i * kStateBytes);
    });
  });
  loop::reduce_finish(whole, 0, 1, int64_t(pieces.size()), 1, states.get());
}

void scale_arrays(double limit, DType norm_dtype, const void* norm, const FlatArray* arrays, int64_t count) {
  const double factor = norm_dtype == DType::F64 ? limit / (*static_cast<const double*>(norm) + 1e-6)
                                                 : float(limit) / (*static_cast<const float*>(norm) + 1e-6f);
  if (factor >= 1) return;  // a NaN goes on, to all gradients
  for_pieces(cut(arrays, count), [&](const FlatArray& piece, int64_t) {
    widened(piece, true, [&](DType dtype, void* data) { loop::scale_array(dtype, factor, piece.n, data); });
  });
}

void clamp_arrays(double low, double high, const FlatArray* arrays, int64_t count) {
  for_pieces(cut(arrays, count), [&](const FlatArray& piece, int64_t) {
    widened(piece, true, [&](DType dtype, void* data) { loop::clamp_array(dtype, low, high, piece.n, data); });
  });
}

}  // namespace lamina::cpu
