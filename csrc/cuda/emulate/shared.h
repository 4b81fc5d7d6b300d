// Shared memory with a history. Every byte remembers who wrote and who read it last and in which epoch (between which
// barriers), so three mistakes are found whatever the schedule was: an index outside its array, a read of what nobody
// wrote, and two threads that touch a byte, one of them writing, with no barrier in between (a missing __syncthreads).
// A warp's own accesses are ordered by __syncwarp. Kernels see Shared<T>, which is T* under nvcc. Next: shared.cpp.
#pragma once
#include <cstring>
#include <type_traits>

#include "cuda/emulate/block.h"

namespace lamina::emulate {

enum class Access { Read, Write, Atomic };

// An access of `bytes` bytes at p, which belongs to the array [begin, end). Faults, or records it. For writes `value`
// is what will be written: two threads may write the same.
void touch(Access access, const void* p, size_t bytes, const void* begin, const void* end, const void* value = nullptr);
// Bytes that a cp.async will fill: nobody may look until it has been waited for.
void reserve_async(const void* p, size_t bytes, const void* begin, const void* end);
void finish_async(const void* p, size_t bytes);

// A declaration of a shared array; one object per declaration, or per instance of a template.
struct SharedSite {
  const char* name;
  const char* file;
  int line;
  uint32_t block = 0;  // the block for which `offset` holds
  unsigned offset = 0;
};
inline constexpr size_t kSharedLimit = 227 << 10, kStaticLimit = 48 << 10;
void* shared_array(SharedSite& site, size_t bytes);
void* dynamic_shared(size_t& bytes);
void begin_shared(size_t dynamic_bytes);  // at the start of a block: everything is poison again

template <class T>
class SharedRef;

// A pointer into a shared array that knows where the array ends.
template <class T>
struct Shared {
  T* p = nullptr;
  T* begin = nullptr;
  T* end = nullptr;

  Shared() = default;
  Shared(T* p_, T* begin_, T* end_) : p(p_), begin(begin_), end(end_) {}
  operator Shared<const T>() const
    requires(!std::is_const_v<T>)
  {
    return {p, begin, end};
  }
  SharedRef<T> operator[](ptrdiff_t i) const { return SharedRef<T>(at(i), begin, end); }
  SharedRef<T> operator*() const { return (*this)[0]; }
  Shared operator+(ptrdiff_t i) const { return {at(i), begin, end}; }
  Shared operator-(ptrdiff_t i) const { return {at(-i), begin, end}; }
  Shared& operator+=(ptrdiff_t i) { return *this = *this + i; }
  Shared& operator-=(ptrdiff_t i) { return *this = *this - i; }
  ptrdiff_t operator-(const Shared& other) const { return p - other.p; }
  bool operator==(const Shared& other) const { return p == other.p; }

 private:
  T* at(ptrdiff_t i) const { return reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(p) + i * sizeof(T)); }
};

template <class T>
const T& plain(const T& x) {
  return x;
}
template <class T>
auto plain(const SharedRef<T>& x) {
  return x.read();
}

// What s[i] is. It turns into a T when it is used and may be used once, so `auto x = s[i]` does not compile; name the
// type.
template <class T>
class SharedRef {
 public:
  using Value = std::remove_const_t<T>;
  SharedRef(T* p, T* begin, T* end) : p_(p), begin_(begin), end_(end) {}
  SharedRef(const SharedRef&) = delete;

  operator Value() const&& { return read(); }
  template <class U>
    requires std::is_arithmetic_v<U>
  explicit operator U() const&& {
    return static_cast<U>(read());
  }
  Value operator=(const Value& value) && { return write(value); }
  Value operator=(SharedRef&& other) && { return write(other.read()); }
  template <class U>
  Value operator=(SharedRef<U>&& other) && {
    return write(Value(std::move(other)));
  }
  Shared<T> operator&() const { return {p_, begin_, end_}; }
  // clang-format off
  template <class U> Value operator+=(const U& u) && { return write(Value(read() + plain(u))); }
  template <class U> Value operator-=(const U& u) && { return write(Value(read() - plain(u))); }
  template <class U> Value operator*=(const U& u) && { return write(Value(read() * plain(u))); }
  template <class U> Value operator/=(const U& u) && { return write(Value(read() / plain(u))); }
  template <class U> Value operator|=(const U& u) && { return write(Value(read() | plain(u))); }
  template <class U> Value operator&=(const U& u) && { return write(Value(read() & plain(u))); }
  template <class U> Value operator^=(const U& u) && { return write(Value(read() ^ plain(u))); }
  // clang-format on
  Value operator++() && { return write(Value(read() + 1)); }
  Value operator++(int) && {
    const Value old = read();
    write(Value(old + 1));
    return old;
  }
  Value read() const {
    touch(Access::Read, p_, sizeof(T), begin_, end_);
    Value value;
    std::memcpy(&value, p_, sizeof(T));
    return value;
  }

 private:
  Value write(const Value& value) const {
    touch(Access::Write, p_, sizeof(T), begin_, end_, &value);
    std::memcpy(const_cast<Value*>(p_), &value, sizeof(T));
    return value;
  }
  T* p_;
  T* begin_;
  T* end_;
};

// An array of rows: a[i] is a row with its own bounds, so an overrun into the next row is found too.
template <class Array>
class SharedRows {
 public:
  using Row = std::remove_extent_t<Array>;
  using T = std::remove_all_extents_t<Array>;
  static constexpr size_t kRows = std::extent_v<Array>, kRow = sizeof(Row) / sizeof(T);
  explicit SharedRows(T* data) : data_(data) {}
  auto operator[](ptrdiff_t i) const {
    if (size_t(i) >= kRows) fault(str("out of bounds: shared memory, row ", i, " of ", kRows));
    T* row = data_ + size_t(i) * kRow;
    if constexpr (std::rank_v<Row> == 1)
      return Shared<T>(row, row, row + kRow);
    else
      return SharedRows<Row>(row);
  }

 private:
  T* data_;
};

template <class Array>
auto declare_shared(SharedSite& site) {
  using T = std::remove_all_extents_t<Array>;
  static_assert(std::rank_v<Array> > 0, "a single shared variable is an array [1]");
  T* data = static_cast<T*>(shared_array(site, sizeof(Array)));
  if constexpr (std::rank_v<Array> == 1)
    return Shared<T>(data, data, data + sizeof(Array) / sizeof(T));
  else
    return SharedRows<Array>(data);
}

template <class T>
Shared<T> declare_dynamic() {
  size_t bytes;
  T* data = static_cast<T*>(dynamic_shared(bytes));
  return {data, data, data + bytes / sizeof(T)};
}

}  // namespace lamina::emulate
