// Launcher of the reductions declared in kernel/reduce.h: which kernel, how wide its groups, how many pieces.
#include "kernel/reduce.h"

#include <bit>

#include "cuda/kernels/reduce.cuh"
#include "cuda/launch.h"

namespace lamina::cuda {

namespace {

constexpr int64_t kFewGroups = 1024;  // with fewer, the elements of a result are split
constexpr int64_t kPiece = 8192;      // elements in a piece, at least
constexpr int64_t kWarpRow = 2048;    // longer rows get a block

int power_of_two(int64_t n, int64_t most) { return int(std::bit_ceil(uint64_t(std::clamp<int64_t>(n, 1, most)))); }

// Pieces of equal length for `total` elements of each of `groups` results or tiles, and that length.
int64_t cut(int64_t total, int64_t groups, int64_t smallest, int64_t& step) {
  const int64_t wanted = groups < kFewGroups ? (kFewGroups + groups - 1) / groups : 1;
  const int64_t pieces = std::clamp<int64_t>(total / smallest, 1, wanted);
  step = std::max<int64_t>(1, (total + pieces * 256 - 1) / (pieces * 256)) *
         256;  // a multiple of any pack, so that packs stay aligned
  return std::max<int64_t>(1, (total + step - 1) / step);
}

template <class R>
void run(Stream stream, const ReduceJob& job, ReduceArgs args) {
  using State = typename R::State;
  const int64_t results = job.kept.total, total = job.reduced.total;
  int64_t step, pieces;
  const auto in_pieces = [&](auto launch_pieces) {
    if (pieces == 1) return launch_pieces(static_cast<State*>(nullptr));
    const Workspace states(stream, size_t(pieces * results) * sizeof(State));
    launch_pieces(states.as<State>());
    const int width = power_of_two(results, 32);
    launch(reduce_finish_kernel<R>, blocks_for(results, width), kReduceBlock, 0, stream, args, width, pieces,
           states.as<State>());
  };
  if (job.columns) {
    const int64_t columns = job.kept.size[job.kept.n - 1];
    const int width = power_of_two(columns, 32);
    const int64_t tiles = (columns + width - 1) / width, groups = results / columns * tiles;
    pieces = cut(total, groups, kPiece / width, step);
    return in_pieces([&](State* states) {
      launch(reduce_columns_kernel<R>, blocks_for(groups * pieces, 1), kReduceBlock, 0, stream, args, width, columns,
             tiles, pieces, step, states);
    });
  }
  pieces = cut(total, results, kPiece, step);
  const int64_t packs = (total + kPack<typename R::T> - 1) / kPack<typename R::T>;
  const int width = std::min(total, step) > kWarpRow ? kReduceBlock : power_of_two(packs, 32);
  in_pieces([&](State* states) {
    launch(reduce_rows_kernel<R>, blocks_for(results * pieces, kReduceBlock / width), kReduceBlock, 0, stream, args,
           width, pieces, step, states);
  });
}

template <class T>
void run_kind(Stream stream, const ReduceJob& job, ReduceArgs args) {
  const auto with = [&]<class R>(int mode) {
    args.mode = mode;
    run<R>(stream, job, args);
  };
  switch (job.kind) {
    case Reduce::Sum:
      return with.template operator()<SumState<T>>(kSumPlain);
    case Reduce::Prod:
      return with.template operator()<ProductState<T>>(0);
    case Reduce::Max:
      return with.template operator()<ExtremeState<T>>(kLargest);
    case Reduce::Min:
      return with.template operator()<ExtremeState<T>>(0);
    case Reduce::ArgMax:
      return with.template operator()<ExtremeAtState<T>>(kLargest);
    case Reduce::ArgMin:
      return with.template operator()<ExtremeAtState<T>>(0);
    case Reduce::Any:
      return with.template operator()<CountState<T>>(kAny);
    case Reduce::All:
      return with.template operator()<CountState<T>>(kAll);
    case Reduce::CountNonzero:
      return with.template operator()<CountState<T>>(kCount);
    default:
      break;
  }
  if constexpr (std::is_floating_point_v<T>) {
    switch (job.kind) {
      case Reduce::NanSum:
        return with.template operator()<SumState<T>>(kSumNan);
      case Reduce::SumAbs:
        return with.template operator()<SumState<T>>(kSumAbs);
      case Reduce::SumSquare:
        return with.template operator()<SumState<T>>(kSumSquare);
      case Reduce::SumPow:
        return with.template operator()<SumState<T, true>>(kSumPower);
      case Reduce::MaxAbs:
        return with.template operator()<ExtremeState<T>>(kLargest | kOfAbs);
      case Reduce::MinAbs:
        return with.template operator()<ExtremeState<T>>(kOfAbs);
      case Reduce::Var:
        return with.template operator()<VarianceState<T>>(0);
      case Reduce::LogSumExp:
        return with.template operator()<LogSumState<T>>(0);
      default:
        break;
    }
  }
}

}  // namespace

void reduce(Stream stream, const ReduceJob& job) {
  if (job.kept.total == 0) return;
  const ReduceArgs args{job.x, job.out,  job.out2, job.p,      job.divisor, job.reduced.total,
                        0,     job.root, job.kept, job.reduced};
  dispatch_types(job.dtype, [&]<class T>() {
    // Bool is read as uint8; f16 and bf16 are reduced in float.
    if constexpr (std::is_same_v<T, bool>)
      run_kind<uint8_t>(stream, job, args);
    else if constexpr (!std::is_same_v<T, f16> && !std::is_same_v<T, bf16>)
      run_kind<T>(stream, job, args);
  });
}

}  // namespace lamina::cuda
