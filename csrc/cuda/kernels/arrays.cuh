// Many arrays in one launch: their addresses travel as one kernel argument, in constant memory. Arrays are cut into
// chunks, one to a block, which finds its array by bisection over the numbers of chunks. Entries begin with
// ArrayEntry's members. Filled by ../arrays.h; used by optim.cuh and clip.cuh.
#pragma once
#include "cuda/device.cuh"

namespace lamina::cuda {

constexpr int kArrayThreads = 256;
constexpr int64_t kArrayChunk = 8192;  // elements per block

// A kernel argument may have 32,764 bytes.
constexpr int kFewArrays = 32;
template <class Entry>
constexpr int kManyArrays = 32000 / int(sizeof(Entry));
template <class Entry, int capacity>
struct ArrayTable {
  int count;
  Entry entry[capacity];
};

// The last entry whose first chunk is not beyond `chunk`.
template <class Table>
LM_DEVICE int find_entry(const Table& table, int chunk) {
  int low = 0, high = table.count;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (table.entry[middle].first_chunk <= chunk)
      low = middle;
    else
      high = middle;
  }
  return low;
}

}  // namespace lamina::cuda
