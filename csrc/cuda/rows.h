// How launchers of row kernels (kernels/rows.cuh) choose the width of accesses and the threads of a row.
#pragma once
#include <initializer_list>

#include "cuda/kernels/rows.cuh"
#include "cuda/launch.h"

namespace lamina::cuda {

// float or double, by the size of an element.
template <class F>
void dispatch_item(int64_t item, F&& f) {
  if (item == 4)
    f.template operator()<float>();
  else
    f.template operator()<double>();
}

// Whether rows of n elements at these addresses (null: absent) may be read in packs of 16 bytes.
template <class T>
bool rows_aligned(int64_t n, std::initializer_list<const void*> rows) {
  bool aligned = n % kPack<T> == 0;
  for (const void* p : rows) aligned = aligned && reinterpret_cast<uintptr_t>(p) % 16 == 0;
  return aligned;
}

// f.operator()<V>() with 16 bytes' worth of elements or one.
template <class T, class F>
void dispatch_pack(bool aligned, F&& f) {
  if (aligned)
    f.template operator()<kPack<T>>();
  else
    f.template operator()<1>();
}

// Elements of a row that a thread keeps in registers.
template <class T>
inline constexpr int kRowValues = sizeof(T) == 8 ? 16 : 32;

// f.operator()<V, threads, packs>() for the smallest group whose registers hold a row of n; false when none does.
// `most`: elements a thread of the largest block may keep.
template <class T, int most, class F>
bool dispatch_cached_row(int64_t n, bool aligned, F&& f) {
  constexpr int kMost = sizeof(T) == 8 ? most / 2 : most;
  bool found = true;
  dispatch_pack<T>(aligned, [&]<int V>() {
    if (n <= 32 * 4)
      f.template operator()<V, 32, 4 / V>();
    else if (n <= 32 * kRowValues<T>)
      f.template operator()<V, 32, kRowValues<T> / V>();
    else if (n <= 256 * kRowValues<T>)
      f.template operator()<V, 256, kRowValues<T> / V>();
    else if (n <= 1024 * kMost)
      f.template operator()<V, 1024, kMost / V>();
    else
      found = false;
  });
  return found;
}

template <int kThreads>
unsigned row_blocks(int64_t rows) {
  return blocks_for(rows, kRowsPerBlock<kThreads>);
}

}  // namespace lamina::cuda
