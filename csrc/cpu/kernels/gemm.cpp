// Register blocks of the product, packing, and the dot product of one row. One micro-kernel keeps MR x NV vectors of C
// in registers and reads A through offsets (see gemm_loops.h). The loop order is Goto and van de Geijn, "Anatomy of
// High-Performance Matrix Multiplication", 2008; A is not packed, since a few rows of it stay in L1 as they are.
#include "kernel/gemm.h"
#include "cpu/gemm_loops.h"
#include "math/vec.h"

namespace lamina::cpu::LM_ISA {
namespace {

using math::Simd;

#if defined(__AVX512F__)
constexpr int kMaxVectors = 4;
constexpr int kMaxRows[kMaxVectors + 1] = {0, 12, 12, 8, 6};  // 32 registers: rows * vectors + vectors + 1 <= 32
#else
constexpr int kMaxVectors = 2;
constexpr int kMaxRows[kMaxVectors + 1] = {0, 8, 6};  // 16 registers
#endif

// What the rows of one column panel have in common.
template <class T>
struct Panel {
  int64_t k, segments;
  const int64_t* a_segments;
  int64_t a_col;
  const T* b;
  int64_t b_row;
  T alpha;
  bool add;       // `start` counts: C itself, or the bias for every row
  const T* bias;  // null: C
  T floor;        // 0 for relu, else -infinity
  int tail;       // columns of the last vector, 0 for all
};

template <class T>
LM_FN Simd<T> load_some(const T* p, int n) {
  return n ? Simd<T>::load(p, n) : Simd<T>::load(p);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // `last` is written and read only where p.tail is set
template <class T, int MR, int NV>
[[gnu::noinline]] void micro(const Panel<T>& p, const T* a, const int64_t* a_rows, int64_t a_row, T* c,
                             const int64_t* c_rows, int64_t c_row) {
  using V = Simd<T>;
  constexpr int L = V::kLanes;
  V acc[MR][NV];
  const T* row[MR];
#pragma GCC unroll 12
  for (int i = 0; i < MR; ++i) {
    row[i] = a + (a_rows ? a_rows[i] : i * a_row);
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) acc[i][j] = V(T(0));
  }
  const T* b = p.b;
  for (int64_t s = 0; s < p.segments; ++s) {
    int64_t at = p.a_segments ? p.a_segments[s] : 0;
    for (int64_t t = 0; t < p.k; ++t) {
      V bv[NV];
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) bv[j] = V::load(b + j * L);
      b += p.b_row;
#pragma GCC unroll 12
      for (int i = 0; i < MR; ++i) {
        V av(row[i][at]);
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) acc[i][j] += av * bv[j];
      }
      at += p.a_col;
    }
  }
  const V alpha(p.alpha), floor(p.floor);
  T last[MR][L];  // of a ragged panel: the vectors that do not fit
#pragma GCC unroll 12
  for (int i = 0; i < MR; ++i) {
    T* out = c + (c_rows ? c_rows[i] : i * c_row);
    const T* start = p.bias ? p.bias : out;
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      V v = alpha * acc[i][j];
      if (j == NV - 1 && p.tail) {
        v.store(last[i]);
        continue;
      }
      if (p.add) v += V::load(start + j * L);
      select(v < floor, floor, v).store(out + j * L);  // NaN stays
    }
  }
  if (!p.tail) return;
  for (int i = 0; i < MR; ++i) {
    T* out = c + (c_rows ? c_rows[i] : i * c_row) + (NV - 1) * L;
    const T* start = p.bias ? p.bias + (NV - 1) * L : out;
    V v = V::load(last[i]);
    if (p.add) v += V::load(start, p.tail);
    select(v < floor, floor, v).store(out, p.tail);
  }
}
#pragma GCC diagnostic pop

template <class T>
using Micro = void (*)(const Panel<T>&, const T*, const int64_t*, int64_t, T*, const int64_t*, int64_t);

// kMicro<T, NV>[MR], up to kMaxRows[NV] rows.
template <class T, int NV>
constexpr Micro<T> kMicro[13] = {
    nullptr,
    micro<T, 1, NV>,
    micro<T, 2, NV>,
    micro<T, 3, NV>,
    micro<T, 4, NV>,
    micro<T, 5, NV>,
    micro<T, 6, NV>,
    micro < T,
    kMaxRows[NV] < 7 ? 1 : 7,
    NV >,
    micro < T,
    kMaxRows[NV] < 8 ? 1 : 8,
    NV >,
    micro < T,
    kMaxRows[NV] < 9 ? 1 : 9,
    NV >,
    micro < T,
    kMaxRows[NV] < 10 ? 1 : 10,
    NV >
    , micro < T, kMaxRows[NV] < 11 ? 1 : 11, NV >, micro < T, kMaxRows[NV] < 12 ? 1 : 12, NV > };

template <class T>
const Micro<T>* micro_row(int vectors) {
  switch (vectors) {
    case 1:
      return kMicro<T, 1>;
#if defined(__AVX512F__)
    case 3:
      return kMicro<T, 3>;
    case 4:
      return kMicro<T, 4>;
#endif
    default:
      return kMicro<T, 2>;
  }
}

template <class T>
void tile(const GemmTile& g) {
  constexpr int L = Simd<T>::kLanes, kWidth = L * kMaxVectors;
  const int64_t b_rows = g.b_rows ? g.b_rows : g.k * g.segments;
  for (int64_t j = 0; j < g.n; j += kWidth) {
    const int width = int(g.n - j < kWidth ? g.n - j : kWidth), vectors = (width + L - 1) / L;
    const T* b = static_cast<const T*>(g.b);
    Panel<T> p;
    p.k = g.k;
    p.segments = g.segments;
    p.a_segments = g.a_segments;
    p.a_col = g.a_col;
    p.b = g.b_row ? b + j : b + j * b_rows + g.b_first * vectors * L;
    p.b_row = g.b_row ? g.b_row : vectors * L;
    p.alpha = T(g.alpha);
    p.add = g.accumulate || g.bias;
    p.bias = g.bias ? static_cast<const T*>(g.bias) + j : nullptr;
    p.floor = g.relu ? T(0) : -T(__builtin_inf());
    p.tail = width % L;
    // Equal heights instead of full blocks and a short rest: 14 rows are 5 + 5 + 4, not 6 + 6 + 2.
    const int64_t blocks = (g.m + kMaxRows[vectors] - 1) / kMaxRows[vectors];
    const Micro<T>* kernels = micro_row<T>(vectors);
    const T* a = static_cast<const T*>(g.a);
    T* c = static_cast<T*>(g.c) + j;
    int64_t height = g.m / blocks, taller = g.m % blocks;
    for (int64_t block = 0, i = 0; block < blocks; ++block) {
      const int64_t rows = height + (block < taller);
      kernels[rows](p, g.a_rows ? a : a + i * g.a_row, g.a_rows ? g.a_rows + i : nullptr, g.a_row,
                    g.c_rows ? c : c + i * g.c_row, g.c_rows ? g.c_rows + i : nullptr, g.c_row);
      i += rows;
    }
  }
}

// --- transposing a block of registers ---
template <int... I>
struct Indices {};
template <int N, int... I>
struct MakeIndices : MakeIndices<N - 1, N - 1, I...> {};
template <int... I>
struct MakeIndices<0, I...> {
  using type = Indices<I...>;
};

// Exchanges the off-diagonal S x S blocks of the pair (a, b).
template <int S, class V, int... I>
LM_FN void exchange(V& a, V& b, Indices<I...>) {
  constexpr int L = sizeof...(I);
  auto low = __builtin_shufflevector(a.raw, b.raw, (I & S ? L + I - S : I)...);
  auto high = __builtin_shufflevector(a.raw, b.raw, (I & S ? L + I : I + S)...);
  a.raw = low;
  b.raw = high;
}
template <int S, class V, int L>
LM_FN void transpose(V (&x)[L]) {
#pragma GCC unroll 16
  for (int i = 0; i < L; ++i)
    if (!(i & S)) exchange<S>(x[i], x[i + S], typename MakeIndices<L>::type());
  if constexpr (S > 1) transpose<S / 2>(x);
}

// Panel `out` (k, width) = b (k, columns), zeros beyond.
template <class T>
void pack_panel(const T* b, int64_t b_row, int64_t b_col, int64_t k, int columns, int width, T* out) {
  using V = Simd<T>;
  constexpr int L = V::kLanes;
  for (int j = 0; j < width; j += L) {
    const int n = columns - j < L ? columns - j : L;
    const T* from = b + j * b_col;
    T* to = out + j;
    int64_t t = 0;
    if (b_col == 1) {
      for (; t < k; ++t) load_some(from + t * b_row, n % L).store(to + t * width);
    } else if (b_row == 1) {
      for (; t + L <= k; t += L) {
        V x[L];
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) x[i] = i < n ? V::load(from + i * b_col + t) : V(T(0));
        transpose<L / 2>(x);
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) x[i].store(to + (t + i) * width);
      }
    }
    for (; t < k; ++t)
      for (int i = 0; i < L; ++i) to[t * width + i] = i < n ? from[t * b_row + i * b_col] : T(0);
  }
}

template <class T>
void pack(const T* b, int64_t b_row, int64_t b_col, int64_t k, int64_t n, T* out, int64_t first, int64_t rows) {
  constexpr int L = Simd<T>::kLanes, kWidth = L * kMaxVectors;
  for (int64_t j = 0; j < n; j += kWidth) {
    const int columns = int(n - j < kWidth ? n - j : kWidth), width = (columns + L - 1) / L * L;
    pack_panel(b + j * b_col, b_row, b_col, k, columns, width, out + j * rows + first * width);
  }
}

// [a0 + a1, a2 + a3, ..., b0 + b1, ...]: L such steps over a tree of L vectors sum each of them.
template <class V, int... I>
LM_FN V pair_sums(V a, V b, Indices<I...>) {
  return V(__builtin_shufflevector(a.raw, b.raw, (2 * I)...) + __builtin_shufflevector(a.raw, b.raw, (2 * I + 1)...));
}
template <class V, int N>
LM_FN V sums(V (&x)[N]) {
  if constexpr (N == 1) {
    return x[0];
  } else {
    V half[N / 2];
#pragma GCC unroll 8
    for (int i = 0; i < N / 2; ++i)
      half[i] = pair_sums(x[2 * i], x[2 * i + 1], typename MakeIndices<V::kLanes>::type());
    return sums(half);
  }
}

// The dot products of x with N rows of w: their partial sums, N * (lanes / N) adjacent numbers.
template <int N, class T>
LM_FN Simd<T> dot_rows(int64_t k, const T* x, const T* w, int64_t w_row) {
  using V = Simd<T>;
  constexpr int L = V::kLanes;
  V acc[N];
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) acc[i] = V(T(0));
  int64_t t = 0;
  for (; t + L <= k; t += L) {
    V xv = V::load(x + t);
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) acc[i] += xv * V::load(w + i * w_row + t);
  }
  if (const int rest = int(k - t)) {
    V xv = V::load(x + t, rest);
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) acc[i] += xv * V::load(w + i * w_row + t, rest);
  }
  return sums(acc);
}

template <class T>
void dot(int64_t n, int64_t k, const T* x, const T* w, int64_t w_row, T* y, T alpha, const T* start, bool relu) {
  using V = Simd<T>;
  constexpr int L = V::kLanes, kRows = L < 8 ? L : 8;
  int64_t j = 0;
  auto finish = [&](V v, int columns) __attribute__((always_inline)) {
    v = V(alpha) * v;
    const int tail = columns % L;
    if (start) v += load_some(start + j, tail);
    if (relu) v = select(v < V(T(0)), V(T(0)), v);
    if (tail)
      v.store(y + j, tail);
    else
      v.store(y + j);
  };
  for (; j + L <= n; j += L) {
    V part[L / kRows];
    for (int g = 0; g < L / kRows; ++g) part[g] = dot_rows<kRows>(k, x, w + (j + g * kRows) * w_row, w_row);
    finish(sums(part), L);
  }
  if (j < n) {  // fewer than L rows: one at a time
    T rest[L] = {};
    for (int64_t i = j; i < n; ++i) {
      V v = dot_rows<1>(k, x, w + i * w_row, w_row);
      T sum = 0;
      for (int l = 0; l < L; ++l) sum += v[l];
      rest[i - j] = sum;
    }
    finish(V::load(rest), int(n - j));
  }
}

template <class T>
void multiply_int(int64_t m, int64_t n, int64_t k, const T* a, int64_t a_row, int64_t a_col, const T* b, int64_t b_row,
                  int64_t b_col, T* c, int64_t c_row) {
  for (int64_t i = 0; i < m; ++i) {
    T* out = c + i * c_row;
    for (int64_t j = 0; j < n; ++j) out[j] = 0;
    for (int64_t t = 0; t < k; ++t) {
      const uint64_t x = uint64_t(a[i * a_row + t * a_col]);  // unsigned: overflow wraps
      const T* from = b + t * b_row;
      if (b_col == 1)
        for (int64_t j = 0; j < n; ++j) out[j] = T(uint64_t(out[j]) + x * uint64_t(from[j]));
      else
        for (int64_t j = 0; j < n; ++j) out[j] = T(uint64_t(out[j]) + x * uint64_t(from[j * b_col]));
    }
  }
}

template <class F>
LM_FN void by_float(DType dtype, F f) {
  if (dtype == DType::F32)
    f(float());
  else
    f(double());
}

}  // namespace

void gemm_tile(DType dtype, const GemmTile& g) {
  by_float(dtype, [&]<class T>(T) { tile<T>(g); });
}

void gemm_pack(DType dtype, const void* b, int64_t b_row, int64_t b_col, int64_t k, int64_t n, void* out, int64_t first,
               int64_t rows) {
  by_float(dtype,
           [&]<class T>(T) { pack(static_cast<const T*>(b), b_row, b_col, k, n, static_cast<T*>(out), first, rows); });
}

void gemm_dot(DType dtype, int64_t n, int64_t k, const void* x, const void* w, int64_t w_row, void* y, double alpha,
              const void* start, bool relu) {
  by_float(dtype, [&]<class T>(T) {
    dot(n, k, static_cast<const T*>(x), static_cast<const T*>(w), w_row, static_cast<T*>(y), T(alpha),
        static_cast<const T*>(start), relu);
  });
}

void gemm_int(DType dtype, int64_t m, int64_t n, int64_t k, const void* a, int64_t a_row, int64_t a_col, const void* b,
              int64_t b_row, int64_t b_col, void* c, int64_t c_row) {
  auto run = [&]<class T>(T) {
    multiply_int(m, n, k, static_cast<const T*>(a), a_row, a_col, static_cast<const T*>(b), b_row, b_col,
                 static_cast<T*>(c), c_row);
  };
  switch (dtype) {
    case DType::U8:
      return run(uint8_t());
    case DType::I8:
      return run(int8_t());
    case DType::I16:
      return run(int16_t());
    case DType::I32:
      return run(int32_t());
    default:
      return run(int64_t());
  }
}

}  // namespace lamina::cpu::LM_ISA
