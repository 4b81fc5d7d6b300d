// Where the elements of an operand are and what they are in memory: strides, broadcasting and element types, as one
// structure a kernel takes by value. The one idea: a kernel computes in one type T, and the type in memory is a
// switch that all threads of a launch take alike, around the loads of all elements a thread has in flight; so a formula
// is compiled once per T and not per dtype. Next: elementwise.cuh.
#pragma once
#include "cuda/device.cuh"

namespace lamina::cuda {

// lamina::DType, whose header belongs to the host.
enum Type : uint8_t { kBool, kU8, kI8, kI16, kI32, kI64, kF16, kBF16, kF32, kF64 };

// n / divisor for n < 2^31 by a multiplication (Granlund and Montgomery, "Division by invariant integers using
// multiplication", PLDI 1994).
struct Divider {
  uint32_t divisor, multiplier, shift;
  LM_DEVICE uint32_t divide(uint32_t n) const { return (__umulhi(n, multiplier) + n) >> shift; }
};

struct Operand {
  const void* data;
  Type dtype;
  bool constant;  // `value`, of the type computed in, everywhere
  bool repeats;   // the elements of a unit are one and the same
  alignas(8) unsigned char value[8];
};

// `units` of V neighbouring elements each over `ndim` dimensions, the innermost first, then `rest` single elements,
// which only one dimension may have. Strides are in elements from one unit to the next. Operand 0 is the output. Units,
// elements and offsets are fewer than 2^31.
template <int kOperands>
struct Layout {
  int units, rest, ndim;
  Divider size[16];
  int stride[kOperands][16];
  Operand operand[kOperands];
};

// offset[a][u]: of operand a for unit first + u * step, in elements.
template <int kOperands, int kUnits>
LM_DEVICE void find_offsets(const Layout<kOperands>& layout, int first, int step, int (&offset)[kOperands][kUnits]) {
  uint32_t left[kUnits];
#pragma unroll
  for (int u = 0; u < kUnits; ++u) {
    left[u] = uint32_t(first) + u * step;
#pragma unroll
    for (int a = 0; a < kOperands; ++a) offset[a][u] = 0;
  }
  for (int d = 0; d < layout.ndim; ++d) {
#pragma unroll
    for (int u = 0; u < kUnits; ++u) {
      const uint32_t next = d + 1 < layout.ndim ? layout.size[d].divide(left[u]) : 0;
      const int at = int(left[u] - next * layout.size[d].divisor);
      left[u] = next;
#pragma unroll
      for (int a = 0; a < kOperands; ++a) offset[a][u] += at * layout.stride[a][d];
    }
  }
}

// C++ conversion by way of float for halves; to bool is `!= 0`. Small integers go through int32, so that values they
// cannot hold wrap around as on the CPU.
template <class To, class From>
LM_DEVICE To convert_element(From x) {
  using C = Compute<From>;
  const C value = C(x);
  if constexpr (__is_same(To, bool))
    return value != C(0);
  else if constexpr (__is_same(From, To))
    return x;
  else if constexpr (C(0.5) != C(0) && sizeof(To) < 4 && __is_same(To, Compute<To>))
    return To(int32_t(value));
  else
    return To(Compute<To>(value));
}

// What may be in memory.
enum class Types {
  Computed,   // T itself; for float also f16 and bf16
  Condition,  // T itself and bool
  Integral,   // integers and bool
  Any,
};

// f.operator()<S>() for the type S in memory.
template <class T, Types kTypes, class F>
LM_DEVICE void with_type(Type dtype, F f) {
  if constexpr (kTypes == Types::Any || kTypes == Types::Integral) {
    switch (dtype) {
      case kI8:
        return f.template operator()<int8_t>();
      case kI16:
        return f.template operator()<int16_t>();
      case kI32:
        return f.template operator()<int32_t>();
      case kI64:
        return f.template operator()<int64_t>();
      default:
        break;
    }
    if constexpr (kTypes == Types::Any) {
      if (dtype == kF16) return f.template operator()<f16>();
      if (dtype == kBF16) return f.template operator()<bf16>();
      if (dtype == kF32) return f.template operator()<float>();
      if (dtype == kF64) return f.template operator()<double>();
    }
    return f.template operator()<uint8_t>();
  } else if constexpr (kTypes == Types::Computed && __is_same(T, float)) {
    if (dtype == kF32) return f.template operator()<float>();
    if (dtype == kF16) return f.template operator()<f16>();
    return f.template operator()<bf16>();
  } else if constexpr (kTypes == Types::Condition) {
    if (dtype == kBool) return f.template operator()<uint8_t>();
    return f.template operator()<T>();
  } else {
    return f.template operator()<T>();
  }
}

// v[u] = the V elements at offset[u], for those of the units that exist. All loads of a type are issued before the
// first conversion waits for one.
template <Types kTypes, class T, int V, int kUnits>
LM_DEVICE void load_units(const Operand& x, const int (&offset)[kUnits], const bool (&exists)[kUnits],
                          T (&v)[kUnits][V]) {
  if (x.constant) {
    const T value = *reinterpret_cast<const T*>(x.value);
#pragma unroll
    for (int u = 0; u < kUnits; ++u)
#pragma unroll
      for (int i = 0; i < V; ++i) v[u][i] = value;
    return;
  }
  with_type<T, kTypes>(x.dtype, [&]<class S>() {
    const S* data = static_cast<const S*>(x.data);
    if (V > 1 && x.repeats) {
#pragma unroll
      for (int u = 0; u < kUnits; ++u) {
        const T value = exists[u] ? convert_element<T>(data[offset[u]]) : T(0);
#pragma unroll
        for (int i = 0; i < V; ++i) v[u][i] = value;
      }
      return;
    }
    Pack<S, V> pack[kUnits] = {};
#pragma unroll
    for (int u = 0; u < kUnits; ++u)
      if (exists[u]) pack[u] = load_pack<V>(data + offset[u]);
#pragma unroll
    for (int u = 0; u < kUnits; ++u)
#pragma unroll
      for (int i = 0; i < V; ++i) v[u][i] = convert_element<T>(pack[u][i]);
  });
}

// The opposite.
template <class R, int V, int kUnits>
LM_DEVICE void store_units(const Operand& y, const int (&offset)[kUnits], const bool (&exists)[kUnits],
                           const R (&v)[kUnits][V]) {
  with_type<R, Types::Computed>(y.dtype, [&]<class S>() {
    S* data = static_cast<S*>(const_cast<void*>(y.data));
#pragma unroll
    for (int u = 0; u < kUnits; ++u) {
      if (!exists[u]) continue;
      Pack<S, V> pack;
#pragma unroll
      for (int i = 0; i < V; ++i) pack[i] = convert_element<S>(v[u][i]);
      store_pack(data + offset[u], pack);
    }
  });
}

}  // namespace lamina::cuda
