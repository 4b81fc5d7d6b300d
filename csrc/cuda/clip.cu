// Launchers of the norms and changes of many arrays in kernel/clip.h.
#include "kernel/clip.h"

#include "cuda/arrays.h"
#include "cuda/kernels/clip.cuh"

namespace lamina::cuda {
namespace {

ClipEntry entry_of(const FlatArray& a) { return {a.data, a.n, 0, reinterpret_cast<uintptr_t>(a.data) % 16 == 0}; }

template <class R>
void norm_with(Stream stream, const ReduceArgs& args, const FlatArray* arrays, int64_t count, int64_t chunks) {
  using State = typename R::State;
  const Workspace states(stream, size_t(chunks) * sizeof(State));
  State* next = states.as<State>();
  const auto run = [&]<class T, int capacity>(const ArrayTable<ClipEntry, capacity>& table, unsigned n) {
    if constexpr (kSame<Compute<T>, typename R::T>) {
      launch(norm_chunks_kernel<R, T, capacity>, n, kArrayThreads, 0, stream, table, args, next);
      next += n;
    }
  };
  run_arrays<ClipEntry>("norm_of_arrays", arrays, count, entry_of, run);
  launch(reduce_finish_kernel<R>, 1, kReduceBlock, 0, stream, args, 1, chunks, states.as<State>());
}

template <class T>
void norm_in(Stream stream, double p, const FlatArray* arrays, int64_t count, void* norm) {
  int64_t chunks = 0;
  for (const FlatArray* a = arrays; a < arrays + count; ++a) chunks += chunks_of(a->n);
  const Reduce kind = norm_kind(p);
  ReduceArgs args{nullptr, norm, nullptr, p, 1, 1, 0, kind == Reduce::SumSquare || kind == Reduce::SumPow, {}, {}};
  if (kind == Reduce::MaxAbs || kind == Reduce::MinAbs) {
    // Without elements the norm is 0, also the largest of none.
    if (chunks == 0) return norm_with<SumState<T>>(stream, args, arrays, count, chunks);
    args.mode = (kind == Reduce::MaxAbs ? kLargest : 0) | kOfAbs;
    return norm_with<ExtremeState<T>>(stream, args, arrays, count, chunks);
  }
  args.mode = kind == Reduce::SumSquare ? kSumSquare : kind == Reduce::SumAbs ? kSumAbs : kSumPower;
  if (kind == Reduce::SumPow) return norm_with<SumState<T, true>>(stream, args, arrays, count, chunks);
  norm_with<SumState<T>>(stream, args, arrays, count, chunks);
}

}  // namespace

void norm_of_arrays(Stream stream, double p, const FlatArray* arrays, int64_t count, void* norm) {
  if (count && arrays[0].dtype == DType::F64)
    norm_in<double>(stream, p, arrays, count, norm);
  else
    norm_in<float>(stream, p, arrays, count, norm);
}

void scale_arrays(Stream stream, double limit, DType norm_dtype, const void* norm, const FlatArray* arrays,
                  int64_t count) {
  const auto with = [&]<class Norm>(const Norm* value) {
    const auto run = [&]<class T, int capacity>(const ArrayTable<ClipEntry, capacity>& table, unsigned chunks) {
      launch(scale_arrays_kernel<T, Norm, capacity>, chunks, kArrayThreads, 0, stream, table, limit, value);
    };
    run_arrays<ClipEntry>("scale_arrays", arrays, count, entry_of, run);
  };
  if (norm_dtype == DType::F64) return with(static_cast<const double*>(norm));
  with(static_cast<const float*>(norm));
}

void clamp_arrays(Stream stream, double low, double high, const FlatArray* arrays, int64_t count) {
  const auto run = [&]<class T, int capacity>(const ArrayTable<ClipEntry, capacity>& table, unsigned chunks) {
    launch(clamp_arrays_kernel<T, capacity>, chunks, kArrayThreads, 0, stream, table, Compute<T>(low),
           Compute<T>(high));
  };
  run_arrays<ClipEntry>("clamp_arrays", arrays, count, entry_of, run);
}

}  // namespace lamina::cuda
