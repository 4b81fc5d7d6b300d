// Fills the tables of kernels/arrays.cuh: as few launches as there are element types, unless there are very many
// arrays.
#pragma once
#include "cuda/kernels/arrays.cuh"
#include "cuda/launch.h"

namespace lamina::cuda {

inline int64_t chunks_of(int64_t n) { return (n + kArrayChunk - 1) / kArrayChunk; }

// run(table, chunks) for the arrays of one dtype, `capacity` at a time; entry(array) is an array's Entry, whose
// first_chunk is filled in here.
template <class Entry, int capacity, class Array, class MakeEntry, class Run>
void run_tables(DType dtype, const Array* arrays, int64_t count, MakeEntry&& entry, Run&& run) {
  ArrayTable<Entry, capacity> table;
  table.count = 0;
  int64_t chunks = 0;
  const auto flush = [&] {
    if (table.count) run(table, unsigned(chunks));
    table.count = 0, chunks = 0;
  };
  for (const Array* a = arrays; a < arrays + count; ++a) {
    if (a->dtype != dtype) continue;
    if (table.count == capacity || chunks + chunks_of(a->n) > INT32_MAX) flush();
    Entry& e = table.entry[table.count++];
    e = entry(*a);
    e.first_chunk = int(chunks);
    chunks += chunks_of(a->n);
  }
  flush();
}

// The same for every dtype that occurs: run.operator()<T>(table, chunks).
template <class Entry, class Array, class MakeEntry, class Run>
void run_arrays(const char* op, const Array* arrays, int64_t count, MakeEntry&& entry, Run&& run) {
  for (DType dtype : {DType::F32, DType::F16, DType::BF16, DType::F64}) {
    const int64_t of_type = std::count_if(arrays, arrays + count, [&](const Array& a) { return a.dtype == dtype; });
    if (of_type == 0) continue;
    dispatch_floating(dtype, op, [&]<class T>() {
      const auto run_typed = [&](const auto& table, unsigned chunks) { run.template operator()<T>(table, chunks); };
      if (of_type <= kFewArrays)
        run_tables<Entry, kFewArrays>(dtype, arrays, count, entry, run_typed);
      else
        run_tables<Entry, kManyArrays<Entry>>(dtype, arrays, count, entry, run_typed);
    });
  }
}

}  // namespace lamina::cuda
