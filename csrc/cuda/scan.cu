// Launchers of the scans declared in kernel/scan.h: how lines are cut. Next: kernels/scan.cuh.
#include "kernel/scan.h"

#include "cuda/kernels/scan.cuh"
#include "cuda/launch.h"

namespace lamina::cuda {

namespace {

constexpr int64_t kFewRows = 512, kFewColumns = 16384;  // with fewer, lines are cut into pieces

template <class Scan>
void run(Stream stream, const Scan& scan, const ScanLines& lines) {
  using State = typename Scan::State;
  const int64_t count = lines.outer * lines.inner;
  if (count * lines.n == 0) return;
  const bool rows = lines.inner == 1;
  const int64_t wanted = std::max<int64_t>(1, (rows ? kFewRows : kFewColumns) / count);
  const int64_t shortest = rows ? 4 * kScanTile : 64, most = rows ? 256 : 64;
  const int64_t pieces_wanted = std::clamp<int64_t>(lines.n / shortest, 1, std::min(wanted, most));
  const int64_t step = (lines.n + pieces_wanted - 1) / pieces_wanted, pieces = (lines.n + step - 1) / step;
  const Workspace totals(stream, pieces > 1 ? size_t(count * pieces) * sizeof(State) : 0);
  const unsigned grid = blocks_for(count * pieces, rows ? 1 : kScanBlock);
  for (bool totals_only : {true, false}) {
    if (totals_only && pieces == 1) continue;
    launch(rows ? scan_rows_kernel<Scan> : scan_columns_kernel<Scan>, grid, kScanBlock, 0, stream, scan, lines, pieces,
           step, totals.as<State>(), totals_only);
  }
}

template <class T>
void run_kind(Stream stream, const ScanJob& job) {
  const ScanLines lines{job.outer, job.n, job.inner, job.reverse};
  const T* x = static_cast<const T*>(job.x);
  T* out = static_cast<T*>(job.out);
  switch (job.kind) {
    case Scan::Sum:
    case Scan::Product:
      return run(stream, SumScan<T>{x, out, job.kind == Scan::Product}, lines);
    case Scan::Max:
    case Scan::Min:
      return run(stream, ExtremeScan<T>{x, out, job.positions, job.n, job.kind == Scan::Max, job.reverse}, lines);
    case Scan::LogSumExp:
      if constexpr (std::is_floating_point_v<T>) return run(stream, LogSumScan<T>{x, out}, lines);
  }
}

}  // namespace

void scan(Stream stream, const ScanJob& job) {
  dispatch_types(job.dtype, [&]<class T>() {
    // f16 and bf16 are scanned in float, bool as uint8.
    if constexpr (std::is_same_v<T, bool>)
      run_kind<uint8_t>(stream, job);
    else if constexpr (!std::is_same_v<T, f16> && !std::is_same_v<T, bf16>)
      run_kind<T>(stream, job);
  });
}

void linear_scan(Stream stream, const RecurrenceJob& job) {
  const int64_t shift = (job.reverse ? job.offset : -job.offset) * job.inner;
  const ScanLines lines{job.outer, job.n, job.inner, job.reverse};
  const auto with = [&]<class T>() {
    run(stream,
        RecurrenceScan<T>{static_cast<const T*>(job.a), static_cast<const T*>(job.b), static_cast<T*>(job.h), shift},
        lines);
  };
  job.dtype == DType::F32 ? with.template operator()<float>() : with.template operator()<double>();
}

}  // namespace lamina::cuda
