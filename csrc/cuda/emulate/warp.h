// __syncthreads and the warp operations: lanes meet, each shows a value, each takes what it wants. A lane that is
// missing, that called something else, or whose mask differs, is a Fault. The default arguments record the line.
#pragma once
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "core/dtype.h"
#include "cuda/emulate/block.h"

#define LM_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(LM_SITE) {
  using namespace lamina::emulate;
  barrier("__syncthreads", Vote::None, 0, {file, line});
}
inline int __syncthreads_or(int predicate, LM_SITE) {
  using namespace lamina::emulate;
  return barrier("__syncthreads_or", Vote::Or, predicate, {file, line});
}
inline int __syncthreads_and(int predicate, LM_SITE) {
  using namespace lamina::emulate;
  return barrier("__syncthreads_and", Vote::And, predicate, {file, line});
}
inline int __syncthreads_count(int predicate, LM_SITE) {
  using namespace lamina::emulate;
  return barrier("__syncthreads_count", Vote::Count, predicate, {file, line});
}

// Orders the memory accesses of its lanes; no other warp operation does.
inline void __syncwarp(unsigned mask = ~0u, LM_SITE) {
  using namespace lamina::emulate;
  Thread& self = *block.current;
  mask &= block.warps[self.warp].lanes;
  const Meeting meeting("__syncwarp", mask, &self.warp_epoch, sizeof self.warp_epoch, {file, line});
  uint16_t latest = 0;
  for (unsigned lane = 0; lane < kWarp; ++lane)
    if (mask >> lane & 1) latest = std::max(latest, *static_cast<const uint16_t*>(meeting.shown(lane)));
  self.warp_epoch = latest + 1;
}

namespace lamina::emulate {

// nvcc has shuffles of these types only; larger ones go word by word (kernels/block.cuh).
template <class T>
  requires(std::is_arithmetic_v<T> && sizeof(T) >= 4) || std::is_same_v<T, f16> || std::is_same_v<T, bf16>
T shuffle(const char* what, unsigned mask, T value, unsigned source, bool valid, Site site) {
  const Meeting meeting(what, mask, &value, sizeof value, site);
  if (!valid) return value;
  std::memcpy(&value, meeting.shown(source), sizeof value);
  return value;
}

// Calls f(lane's value) for the lanes of the mask, in order.
template <class T, class F>
void for_lanes(const char* what, unsigned mask, T value, Site site, F&& f) {
  const Meeting meeting(what, mask, &value, sizeof value, site);
  for (unsigned lane = 0; lane < kWarp; ++lane)
    if (mask >> lane & 1) f(lane, *static_cast<const T*>(meeting.shown(lane)));
}

}  // namespace lamina::emulate

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, LM_SITE) {
  const unsigned lane = lamina::emulate::block.current->lane, w = unsigned(width) - 1;
  return lamina::emulate::shuffle("__shfl_sync", mask, value, (lane & ~w) | (unsigned(source) & w), true, {file, line});
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, LM_SITE) {
  const unsigned lane = lamina::emulate::block.current->lane, w = unsigned(width) - 1;
  return lamina::emulate::shuffle("__shfl_up_sync", mask, value, lane - delta, (lane & w) >= delta, {file, line});
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, LM_SITE) {
  const unsigned lane = lamina::emulate::block.current->lane, w = unsigned(width) - 1;
  return lamina::emulate::shuffle("__shfl_down_sync", mask, value, lane + delta, (lane & w) + delta <= w, {file, line});
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, LM_SITE) {
  const unsigned lane = lamina::emulate::block.current->lane, w = unsigned(width) - 1,
                 source = lane ^ unsigned(lane_mask);
  return lamina::emulate::shuffle("__shfl_xor_sync", mask, value, source, source <= (lane | w), {file, line});
}

inline unsigned __ballot_sync(unsigned mask, int predicate, LM_SITE) {
  unsigned bits = 0;
  lamina::emulate::for_lanes("__ballot_sync", mask, predicate, {file, line},
                             [&](unsigned lane, int p) { bits |= unsigned(p != 0) << lane; });
  return bits;
}
inline int __any_sync(unsigned mask, int predicate, LM_SITE) {
  int any = 0;
  lamina::emulate::for_lanes("__any_sync", mask, predicate, {file, line}, [&](unsigned, int p) { any |= p != 0; });
  return any;
}
inline int __all_sync(unsigned mask, int predicate, LM_SITE) {
  int all = 1;
  lamina::emulate::for_lanes("__all_sync", mask, predicate, {file, line}, [&](unsigned, int p) { all &= p != 0; });
  return all;
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, LM_SITE) {
  unsigned bits = 0;
  lamina::emulate::for_lanes("__match_any_sync", mask, value, {file, line}, [&](unsigned lane, T v) {
    bits |= unsigned(std::memcmp(&v, &value, sizeof v) == 0) << lane;
  });
  return bits;
}

#define LM_WARP_REDUCE(NAME, TYPE, START, STEP)                                                    \
  inline TYPE NAME(unsigned mask, TYPE value, LM_SITE) {                                           \
    TYPE r = START;                                                                                \
    lamina::emulate::for_lanes(#NAME, mask, value, {file, line}, [&](unsigned, TYPE v) { STEP; }); \
    return r;                                                                                      \
  }
LM_WARP_REDUCE(__reduce_add_sync, unsigned, 0, r += v)
LM_WARP_REDUCE(__reduce_add_sync, int, 0, r += v)
LM_WARP_REDUCE(__reduce_min_sync, unsigned, value, r = v < r ? v : r)
LM_WARP_REDUCE(__reduce_min_sync, int, value, r = v < r ? v : r)
LM_WARP_REDUCE(__reduce_max_sync, unsigned, value, r = v > r ? v : r)
LM_WARP_REDUCE(__reduce_max_sync, int, value, r = v > r ? v : r)
LM_WARP_REDUCE(__reduce_and_sync, unsigned, ~0u, r &= v)
LM_WARP_REDUCE(__reduce_or_sync, unsigned, 0, r |= v)
#undef LM_WARP_REDUCE

// The lanes that have not returned. Which of them run together is up to the GPU: prefer masks that follow from the
// data.
inline unsigned __activemask() {
  using namespace lamina::emulate;
  const unsigned warp = block.current->warp;
  unsigned mask = block.warps[warp].lanes;
  for (unsigned lane = 0; lane < kWarp; ++lane)
    if (mask >> lane & 1 && block.threads[warp * kWarp + lane].state == State::Exited) mask &= ~(1u << lane);
  return mask;
}
