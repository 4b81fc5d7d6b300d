// Sorted keys for other families: indices brought into the order of their places, each place's in the order of the
// index, so that what meets at one place is added in that order. See kernels/sort_items.cuh.
#pragma once
#include "cuda/kernels/sort_items.cuh"
#include "cuda/launch.h"

namespace lamina::cuda {

// Items of n keys, in order; they lie in `a` or `b`, which have room for n.
const BroadItem* sorted_keys(Stream stream, const int64_t* keys, int64_t n, BroadItem* a, BroadItem* b);

}  // namespace lamina::cuda
