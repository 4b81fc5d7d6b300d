// The emulated half of cuda/ptx.cuh: tensor-core products on the fragment layouts of the PTX manual (sections
// "Matrix fragments for mma.m16n8k16/k8" and "ldmatrix"), and copies that arrive as late as their wait allows.
#pragma once
#include "cuda/emulate/device.h"

namespace lamina::cuda {

namespace emulated {
struct Fragments {
  unsigned a[4], b[2];
};
template <class T>
float half_of(unsigned packed, int i) {
  const auto bits = uint16_t(packed >> 16 * i);
  return float(std::bit_cast<T>(bits));
}

// c += A B for the four elements of this lane: rows g and g + 8, columns 2t and 2t + 1, where lane = 4 g + t.
template <int K, class GetA, class GetB>
void multiply(const char* what, float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], GetA get_a, GetB get_b,
              emulate::Site site) {
  const Fragments mine{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const emulate::Meeting meeting(what, ~0u, &mine, sizeof mine, site);
  const auto of = [&](int lane) { return static_cast<const Fragments*>(meeting.shown(lane)); };
  const int g = emulate::block.current->lane / 4, t = emulate::block.current->lane % 4;
  for (int i = 0; i < 4; ++i) {
    const int row = g + i / 2 * 8, column = 2 * t + i % 2;
    double sum = c[i];
    for (int k = 0; k < K; ++k) sum += double(get_a(of, row, k)) * get_b(of, k, column);
    c[i] = float(sum);
  }
}
}  // namespace emulated

template <class T>
void mma_m16n8k16(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], LM_SITE) {
  using emulated::half_of;
  emulated::multiply<16>(
      "mma.m16n8k16", c, a, b,
      [](auto of, int row, int k) { return half_of<T>(of(row % 8 * 4 + k % 8 / 2)->a[row / 8 + k / 8 * 2], k % 2); },
      [](auto of, int k, int column) { return half_of<T>(of(column * 4 + k % 8 / 2)->b[k / 8], k % 2); }, {file, line});
}

inline void mma_m16n8k8_tf32(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], LM_SITE) {
  const auto tf32 = [](unsigned bits) { return std::bit_cast<float>(bits & ~0x1fffu); };
  emulated::multiply<8>(
      "mma.m16n8k8.tf32", c, a, b,
      [&](auto of, int row, int k) { return tf32(of(row % 8 * 4 + k % 4)->a[row / 8 + k / 4 * 2]); },
      [&](auto of, int k, int column) { return tf32(of(column * 4 + k % 4)->b[k / 4]); }, {file, line});
}

inline unsigned to_tf32(float x) {
  const unsigned bits = std::bit_cast<unsigned>(x);
  return (bits & 0x7f800000) == 0x7f800000 ? bits : (bits + 0x1000) & ~0x1fffu;  // nearest, halves away from zero
}

template <int N, bool kTransposed, class T>
void ldmatrix(unsigned (&r)[N], Shared<T> row, LM_SITE) {
  static_assert(sizeof(T) == 2);
  const emulate::Meeting meeting("ldmatrix", ~0u, &row, sizeof row, {file, line});
  const int lane = emulate::block.current->lane, g = lane / 4, t = lane % 4;
  for (int j = 0; j < N; ++j) {  // matrix j: its row i begins where lane 8 j + i says
    unsigned packed = 0;
    for (int i = 0; i < 2; ++i) {
      const int at_row = kTransposed ? 2 * t + i : g, at_column = kTransposed ? g : 2 * t + i;
      const auto address = *static_cast<const Shared<T>*>(meeting.shown(8 * j + at_row));
      if (reinterpret_cast<uintptr_t>(address.p) % 16 != 0)
        emulate::fault("ldmatrix: the row is not aligned to 16 bytes");
      packed |= unsigned(std::bit_cast<uint16_t>(address[at_column].read())) << 16 * i;
    }
    r[j] = packed;
  }
}

template <int kBytes, class T>
void cp_async(Shared<T> to, const T* from, int valid = kBytes) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  if (valid && reinterpret_cast<uintptr_t>(from) % kBytes != 0) emulate::fault("cp.async: the source is not aligned");
  auto& bytes = reinterpret_cast<unsigned char&>(*to.p);
  emulate::reserve_async(&bytes, kBytes, to.begin, to.end);
  emulate::block.current->copies.push_back({&bytes, from, unsigned(kBytes), unsigned(valid)});
}
inline void cp_async_commit() {
  auto& thread = *emulate::block.current;
  thread.copy_groups.push_back(thread.copies.size());
}
namespace emulated {
inline void finish_copies(size_t count) {
  auto& copies = emulate::block.current->copies;
  for (size_t i = 0; i < count; ++i) {
    std::memset(copies[i].shared, 0, copies[i].bytes);
    std::memcpy(copies[i].shared, copies[i].global, copies[i].valid);
    emulate::finish_async(copies[i].shared, copies[i].bytes);
  }
  copies.erase(copies.begin(), copies.begin() + ptrdiff_t(count));
}
}  // namespace emulated
template <int kGroups>
void cp_async_wait() {
  auto& groups = emulate::block.current->copy_groups;
  if (groups.size() <= size_t(kGroups)) return;
  const size_t finished = groups.size() - kGroups, count = groups[finished - 1];
  emulated::finish_copies(count);
  groups.erase(groups.begin(), groups.begin() + ptrdiff_t(finished));
  for (size_t& end : groups) end -= count;
}
inline void cp_async_wait_all() {
  emulated::finish_copies(emulate::block.current->copies.size());
  emulate::block.current->copy_groups.clear();
}

}  // namespace lamina::cuda
