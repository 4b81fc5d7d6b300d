// How a reduction is cut into chunks. Next: reduce_loops.h.
#include "kernel/reduce.h"

#include <algorithm>
#include <memory>

#include "core/pool.h"
#include "cpu/reduce_loops.h"

namespace lamina::cpu {

namespace {
constexpr int64_t kGrain = 32768;  // elements in a chunk: a few microseconds
constexpr int64_t kFewUnits = 32;  // with fewer units than this the reduced elements are split too
}  // namespace

void reduce(const ReduceJob& job) {
  const int64_t results = job.kept.total, total = job.reduced.total;
  if (results == 0) return;
  int64_t units = results, width = 1;
  if (job.columns) {
    const int64_t columns = job.kept.size[job.kept.n - 1];
    width = std::min(columns, kColumnTile);
    units = results / columns * chunk_count(columns, kColumnTile);
  }
  if (units < kFewUnits && total * width >= 2 * kGrain) {
    const int64_t step = std::max<int64_t>(kGrain / width, 64), pieces = chunk_count(total, step);
    std::unique_ptr<double[]> states(new double[size_t(pieces * results) * (kStateBytes / sizeof(double))]);
    parallel_for(units * pieces, [&](int64_t chunk) {
      const int64_t unit = chunk % units, piece = chunk / units;
      char* place = reinterpret_cast<char*>(states.get()) + piece * results * kStateBytes;
      loop::reduce_part(job, unit, unit + 1, piece * step, std::min(total, (piece + 1) * step), place);
    });
    return loop::reduce_finish(job, 0, results, pieces, results, states.get());
  }
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, total * width));
  parallel_for(chunk_count(units, grain), [&](int64_t chunk) {
    loop::reduce_part(job, chunk * grain, std::min(units, (chunk + 1) * grain), 0, total, nullptr);
  });
}

}  // namespace lamina::cpu
