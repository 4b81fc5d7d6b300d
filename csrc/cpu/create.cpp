// Ranges in chunks, triangles row by row. Next: kernel/create.h.
#include "kernel/create.h"

#include <algorithm>

#include "core/pool.h"
#include "cpu/copy_loops.h"

namespace lamina::cpu {
namespace {

// f(i) is computed in Value and stored as dtype, a block at a time.
template <class Value, class F>
void fill(DType dtype, void* out, int64_t n, F f) {
  constexpr int64_t kGrain = 16384, kBlock = 256;
  char* data = static_cast<char*>(out);
  parallel_for(chunk_count(n, kGrain), [&](int64_t c) {
    Value block[kBlock];
    for (int64_t i = c * kGrain, end = std::min(i + kGrain, n); i < end; i += kBlock) {
      const int64_t m = std::min(kBlock, end - i);
      for (int64_t k = 0; k < m; ++k) block[k] = f(i + k);
      convert(dtype_of<Value>, dtype, m, block, data + i * item_size(dtype));
    }
  });
}

}  // namespace

void fill_range(const Range& r, DType dtype, void* out, int64_t n) {
  if (r.integers)
    fill<int64_t>(dtype, out, n,
                  [=](int64_t i) { return int64_t(uint64_t(r.first) + uint64_t(i) * uint64_t(r.stride)); });
  else
    fill<double>(dtype, out, n, [=](int64_t i) {
      return i < r.turn ? r.start + double(i) * r.step : r.end - double(n - 1 - i) * r.step;
    });
}

void fill_triangle(const Triangle& triangle, int64_t* out, int64_t n) {
  int64_t *row = out, *column = out + n;
  for (int64_t r = triangle.upper ? 0 : std::max<int64_t>(0, -triangle.offset); column < out + 2 * n; ++r)
    for (int64_t c = triangle.begin(r), end = triangle.end(r); c < end; ++c) {
      *row++ = r;
      *column++ = c;
    }
}

}  // namespace lamina::cpu
