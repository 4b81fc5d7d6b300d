// Fills with random numbers. The one idea: a stream is cut into groups of 16 Philox blocks, 64 words of 32 bits, and
// word k of block b is number 16 k + b of its group, so that 16 blocks computed side by side are stored without a
// shuffle. Values of 8 bytes use two words. Next: core/philox.h.
#pragma once
#include <cstdint>

#include "core/dtype.h"
#include "core/philox.h"
#include "kernel/kernel.h"

namespace lamina {

// What a fill of n values of `bytes` (4 or 8) each takes from a Generator.
constexpr uint64_t random_blocks(int64_t n, int64_t bytes) { return uint64_t(n * (bytes / 4) + 63) / 64 * 16; }

// dtype is F32 or F64.
LM_KERNEL(void, random_uniform,
          (Philox philox, DType dtype, void* out, int64_t n, double low, double high))  // [low, high)
LM_KERNEL(void, random_normal, (Philox philox, DType dtype, void* out, int64_t n, double mean, double std))
// 1 with probability p, else 0. Takes random_blocks(n, 4).
LM_KERNEL(void, random_bernoulli, (Philox philox, uint8_t* out, int64_t n, double p))
// In [low, high). Takes random_blocks(n, 8).
LM_KERNEL(void, random_integers, (Philox philox, int64_t* out, int64_t n, int64_t low, int64_t high))

}  // namespace lamina
