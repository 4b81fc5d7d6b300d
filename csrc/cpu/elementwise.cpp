// The executor of elementwise loops. Work is cut into fixed chunks of the output, chunks into tiles; an operand that is
// contiguous and of the loop's type is read in place, any other is gathered and converted into a tile buffer that stays
// in L1, so that a formula needs no loop per layout. Next: elementwise_loops.h.
#include "kernel/elementwise.h"

#include <algorithm>
#include <cstring>

#include "core/pool.h"
#include "cpu/copy_loops.h"
#include "cpu/elementwise_loops.h"
#include "kernel/elementwise_plan.h"

namespace lamina::cpu {

namespace {

constexpr int64_t kTile = 1024;    // elements: three f32 operands fill 12 KB of L1
constexpr int64_t kChunk = 32768;  // elements a thread takes at a time
constexpr int64_t kLongRow = 192;  // rows from here on are worth a loop call of their own

struct Position {
  int64_t at[kMaxDims];
  Position(const Plan& plan, int64_t linear) {
    for (int d = 0; d < plan.ndim; ++d) {
      at[d] = linear % plan.sizes[d];
      linear /= plan.sizes[d];
    }
  }
  int64_t offset(const Plan& plan, int arg) const {
    int64_t sum = 0;
    for (int d = 0; d < plan.ndim; ++d) sum += at[d] * plan.strides[arg][d];
    return sum;
  }
  void advance_row(const Plan& plan) {  // to the start of the next innermost row
    at[0] = 0;
    for (int d = 1; d < plan.ndim; ++d) {
      if (++at[d] < plan.sizes[d]) return;
      at[d] = 0;
    }
  }
};

// Calls row(offset in elements, length, position in the tile) for the innermost rows that cover m elements.
template <class F>
void for_rows(const Plan& plan, int arg, Position position, int64_t m, F&& row) {
  for (int64_t done = 0; done < m;) {
    int64_t length = std::min(plan.sizes[0] - position.at[0], m - done);
    row(position.offset(plan, arg), length, done);
    done += length;
    position.advance_row(plan);
  }
}

void load_tile(const Plan& plan, const ElementwiseArg& arg, int a, const Position& start, int64_t m, void* tile) {
  int64_t size = item_size(arg.dtype);
  bool same = arg.dtype == arg.compute;
  alignas(64) char raw_buffer[kTile * 8];
  char* target = same ? static_cast<char*>(tile) : raw_buffer;
  for_rows(plan, a, start, m, [&](int64_t offset, int64_t length, int64_t done) {
    gather(size, length, static_cast<const char*>(arg.data) + offset * size, plan.strides[a][0], target + done * size);
  });
  if (!same) convert(arg.dtype, arg.compute, m, raw_buffer, tile);
}

void store_tile(const Plan& plan, const ElementwiseArg& arg, const Position& start, int64_t m, const void* tile) {
  int64_t size = item_size(arg.dtype);
  const char* source = static_cast<const char*>(tile);
  alignas(64) char raw_buffer[kTile * 8];
  if (arg.dtype != arg.compute) {
    convert(arg.compute, arg.dtype, m, tile, raw_buffer);
    source = raw_buffer;
  }
  for_rows(plan, 0, start, m, [&](int64_t offset, int64_t length, int64_t done) {
    scatter(size, length, source + done * size, static_cast<char*>(const_cast<void*>(arg.data)) + offset * size,
            plan.strides[0][0]);
  });
}

// Repeats one element over a whole tile once, so that numbers cost nothing per element.
bool is_constant(const Plan& plan, int a) {
  for (int d = 0; d < plan.ndim; ++d)
    if (plan.strides[a][d] != 0 && plan.sizes[d] > 1) return false;
  return true;
}

}  // namespace

void elementwise_flat(Loop loop, const void* functor, int64_t n, void* out, int64_t out_size, const void* const* in,
                      const int64_t* in_sizes, int n_in) {
  if (n <= kChunk) return loop(n, in, out, functor);
  parallel_for(chunk_count(n, kChunk), [&](int64_t chunk) {
    int64_t begin = chunk * kChunk;
    const void* at[kMaxOperands];
    for (int i = 0; i < n_in; ++i) at[i] = static_cast<const char*>(in[i]) + begin * in_sizes[i];
    loop(std::min(kChunk, n - begin), at, static_cast<char*>(out) + begin * out_size, functor);
  });
}

void elementwise(const ElementwiseJob& job) {
  const Loop loop = job.loop;
  const void* const functor = job.functor;
  const ElementwiseArg& out = job.out;
  const int n_in = job.n_in;
  ElementwiseArg args[kMaxOperands] = {out};
  for (int i = 0; i < n_in; ++i) args[i + 1] = job.in[i];
  const Plan plan = make_plan(job.ndim, job.sizes, args, n_in + 1);
  int64_t total = 1;
  for (int d = 0; d < plan.ndim; ++d) total *= plan.sizes[d];
  if (total == 0) return;

  parallel_for(chunk_count(total, kChunk), [&](int64_t chunk) {
    alignas(64) char tiles[kMaxOperands][kTile * 8];
    bool constant[kMaxOperands] = {}, direct[kMaxOperands];
    int64_t begin = chunk * kChunk, end = std::min(begin + kChunk, total);
    for (int a = 0; a <= n_in; ++a) {
      direct[a] = args[a].dtype == args[a].compute && plan.strides[a][0] == 1;
      constant[a] = a > 0 && is_constant(plan, a);
      if (!constant[a]) continue;
      char value[8];
      int64_t size = item_size(args[a].compute);
      convert(args[a].dtype, args[a].compute, 1, args[a].data, value);
      fill(size, std::min(kTile, end - begin), value, tiles[a]);
    }
    for (int64_t at = begin; at < end;) {
      Position position(plan, at);
      int64_t m = std::min(kTile, end - at), row = plan.sizes[0] - position.at[0];
      if (plan.sizes[0] >= kLongRow || plan.ndim == 1) m = std::min(m, row);
      const void* sources[kMaxOperands];
      for (int a = 1; a <= n_in; ++a) {
        sources[a - 1] = tiles[a];
        if (constant[a]) continue;
        if (direct[a] && m <= row)
          sources[a - 1] = static_cast<const char*>(args[a].data) + position.offset(plan, a) * item_size(args[a].dtype);
        else
          load_tile(plan, args[a], a, position, m, tiles[a]);
      }
      if (direct[0] && m <= row) {
        loop(m, sources,
             static_cast<char*>(const_cast<void*>(out.data)) + position.offset(plan, 0) * item_size(out.dtype),
             functor);
      } else {
        loop(m, sources, tiles[0], functor);
        store_tile(plan, out, position, m, tiles[0]);
      }
      at += m;
    }
  });
}

}  // namespace lamina::cpu
