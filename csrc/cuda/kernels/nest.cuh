// Positions in loop nests (kernel/loops.h) on the device.
#pragma once
#include "cuda/device.cuh"
#include "kernel/loops.h"

namespace lamina::cuda {

// a / b for a >= 0, b > 0, and what is left over. A division of 64 bits costs five of 32.
LM_DEVICE int64_t divide(int64_t a, int64_t b, int64_t& rest) {
  if (((a | b) >> 32) == 0) {
    const uint32_t quotient = uint32_t(a) / uint32_t(b);
    rest = uint32_t(a) - quotient * uint32_t(b);
    return quotient;
  }
  const int64_t quotient = a / b;
  rest = a - quotient * b;
  return quotient;
}

// Loops::offset: where the element lies that is number `at`, counted row-major.
LM_DEVICE int64_t offset_of(const Loops& loops, int64_t at) {
  if (loops.n == 1) return at * loops.stride[0];
  int64_t sum = 0;
#pragma unroll 1  // few dimensions, and code that callers unroll already
  for (int d = loops.n - 1; d >= 0; --d) {
    int64_t rest;
    at = divide(at, loops.size[d], rest);
    sum += rest * loops.stride[d];
  }
  return sum;
}

}  // namespace lamina::cuda
