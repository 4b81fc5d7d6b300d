// What sorts compare, as in cpu/sort.cpp: an integer in the order of the value (NaN last, -0 as 0), then the position,
// so that no two items are equal and every sort is stable.
#pragma once
#include "cuda/device.cuh"

namespace lamina::cuda {

template <class T>
struct KeyOf {
  using Type = uint32_t;
};
template <>
struct KeyOf<int64_t> {
  using Type = uint64_t;
};
template <>
struct KeyOf<double> {
  using Type = uint64_t;
};

constexpr uint64_t kSignBit = uint64_t(1) << 63;

LM_DEVICE uint32_t ordered(float x) {
  if (x != x) return ~0u;
  const uint32_t u = x == 0 ? 0u : __float_as_uint(x);
  return u >> 31 ? ~u : u | 0x80000000u;
}
LM_DEVICE uint64_t ordered(double x) {
  if (x != x) return ~uint64_t(0);
  const uint64_t u = x == 0 ? 0 : uint64_t(__double_as_longlong(x));
  return u >> 63 ? ~u : u | kSignBit;
}
LM_DEVICE uint32_t ordered(f16 x) { return ordered(float(x)); }
LM_DEVICE uint32_t ordered(bf16 x) { return ordered(float(x)); }
LM_DEVICE uint64_t ordered(int64_t x) { return uint64_t(x) ^ kSignBit; }
LM_DEVICE uint32_t ordered(int32_t x) { return uint32_t(x) ^ 0x80000000u; }
LM_DEVICE uint32_t ordered(int16_t x) { return ordered(int32_t(x)); }
LM_DEVICE uint32_t ordered(int8_t x) { return ordered(int32_t(x)); }
LM_DEVICE uint32_t ordered(uint8_t x) { return x; }

// Key and position in one integer where both have 32 bits, else side by side.
struct NarrowItem {
  using Key = uint32_t;
  uint64_t packed;
  LM_DEVICE static NarrowItem make(uint32_t key, int64_t at) { return {uint64_t(key) << 32 | uint64_t(at)}; }
  LM_DEVICE static NarrowItem last() { return {~uint64_t(0)}; }
  LM_DEVICE uint32_t key() const { return uint32_t(packed >> 32); }
  LM_DEVICE int64_t at() const { return int64_t(packed & 0xffffffffu); }
  LM_DEVICE bool operator<(const NarrowItem& o) const { return packed < o.packed; }
};
struct alignas(16) BroadItem {
  using Key = uint64_t;
  uint64_t bits, position;
  LM_DEVICE static BroadItem make(uint64_t key, int64_t at) { return {key, uint64_t(at)}; }
  LM_DEVICE static BroadItem last() { return {~uint64_t(0), ~uint64_t(0)}; }
  LM_DEVICE uint64_t key() const { return bits; }
  LM_DEVICE int64_t at() const { return int64_t(position); }
  LM_DEVICE bool operator<(const BroadItem& o) const { return bits != o.bits ? bits < o.bits : position < o.position; }
};
template <class Key>
struct ItemOfKey {
  using Type = NarrowItem;
};
template <>
struct ItemOfKey<uint64_t> {
  using Type = BroadItem;
};
template <class T>
using ItemOf = typename ItemOfKey<typename KeyOf<T>::Type>::Type;

}  // namespace lamina::cuda
