// Embedding: rows copied out of a table, and their gradients added back in a fixed order. Dropout: a mask that is drawn
// twice.
#include "kernel/embedding.h"

#include "cpu/lanes.h"
#include "cpu/philox_group.h"

namespace lamina::cpu::LM_ISA {

void embedding_rows(const void* table, const int64_t* index, void* y, int64_t count, int64_t row_bytes) {
  row_chunks(count, row_bytes / 4, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i)
      memcpy(static_cast<char*>(y) + i * row_bytes, static_cast<const char*>(table) + index[i] * row_bytes,
             static_cast<size_t>(row_bytes));
  });
}

// Every piece owns a range of the table's rows and reads all indices, so two pieces never add to one row, and a row's
// sum runs in the order of the indices whatever the number of threads.
void embedding_gradient(int64_t item, const void* g, const int64_t* index, void* grad, int64_t count, int64_t rows,
                        int64_t n, int64_t padding) {
  by_float(item, [&]<class T>() {
    T* to = static_cast<T*>(grad);
    const int64_t chunks = (rows + count) * n < kGrain ? 1 : 8, step = chunk_count(rows, chunks);
    parallel_for(chunks, [&](int64_t chunk) {
      const int64_t first = chunk * step, last = first + step < rows ? first + step : rows;
      if (first >= last) return;
      memset(to + first * n, 0, static_cast<size_t>((last - first) * n) * sizeof(T));
      for (int64_t i = 0; i < count; ++i) {
        const int64_t row = index[i];
        if (row < first || row >= last || row == padding) continue;
        T* sum = to + row * n;
        const T* add = static_cast<const T*>(g) + i * n;
        lanes<T>(n, [&](auto at, int) LM_INLINE { at.store(sum, at.load(sum) + at.load(add)); });
      }
    });
  });
}

// The bits of value i are those of random_bernoulli (kernel/random.h): a mask is never stored, backward draws it again.
void dropout_apply(int64_t item, const void* x, void* y, int64_t n, uint32_t threshold, double scale, Philox philox) {
  by_float(item, [&]<class T>() {
    constexpr int kValues = 4 * kGroupBlocks;
    row_chunks(chunk_count(n, kValues), kValues, [&](int64_t first, int64_t last) {
      const T factor = T(scale);
      for (int64_t q = first; q < last; ++q) {
        const PhiloxGroup group(philox, q);
        const uint32_t* bits = group.word[0];
        const T* from = static_cast<const T*>(x) + q * kValues;
        T* to = static_cast<T*>(y) + q * kValues;
        if (q * kValues + kValues <= n) {
          for (int i = 0; i < kValues; ++i) to[i] = bits[i] < threshold ? T(0) : from[i] * factor;
        } else {
          for (int i = 0; i < n - q * kValues; ++i) to[i] = bits[i] < threshold ? T(0) : from[i] * factor;
        }
      }
    });
  });
}

}  // namespace lamina::cpu::LM_ISA
