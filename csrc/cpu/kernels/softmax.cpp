// Softmax: three passes over a row that stays in L1 (maximum; exponentials and their sum; scale), or over a strip of
// columns when the reduced dimension is not the last one. Cross-entropy never stores the probabilities.
#include "kernel/softmax.h"

#include "cpu/softmax_rows.h"

namespace lamina::cpu::LM_ISA {
namespace {

template <class T>
LM_FN void softmax_row(const T* x, T* y, int64_t n, bool log) {
  // A NaN is not found by the maximum but makes the sum NaN, and with it the whole row, as it should.
  const T top = row_max(x, n);
  if (log) {
    const T lse = math::log(row_exp<T>(x, nullptr, n, top));
    // Two subtractions: top + lse would round away the digits of lse next to a large maximum.
    lanes<T>(n, [&](auto at, int) LM_INLINE { at.store(y, (at.load(x) - Simd<T>(top)) - Simd<T>(lse)); });
    return;
  }
  row_scale(y, n, T(1) / row_exp(x, y, n, top));
}

// Over the rows under one register: runs of 32, so that no sum takes n roundings.
template <class T, class Fn>
LM_FN Simd<T> column_sum(int64_t n, Fn fn) {
  Simd<T> total = T(0);
  for (int64_t first = 0; first < n; first += 32) {
    const int64_t last = first + 32 < n ? first + 32 : n;
    Simd<T> run = T(0);
    for (int64_t j = first; j < last; ++j) run += fn(j);
    total += run;
  }
  return total;
}

// The columns under one register: rows lie `inner` apart, every lane is its own softmax.
template <class T, class At>
LM_FN void softmax_columns(At at, const T* x, T* y, int64_t n, int64_t inner, bool log) {
  using V = Simd<T>;
  V top = -math::inf<V>();
  for (int64_t j = 0; j < n; ++j) {
    const V v = at.load(x + j * inner);
    top = select(v > top, v, top);
  }
  const V sum = column_sum<T>(n, [&](int64_t j) LM_INLINE {
    const V e = exp_below_zero(at.load(x + j * inner) - top);
    if (!log) at.store(y + j * inner, e);
    return e;
  });
  // One logarithm, or one division, per column; then a pass of multiplications.
  const V last = log ? math::log(sum) : V(T(1)) / sum;
  for (int64_t j = 0; j < n; ++j) {
    if (log)
      at.store(y + j * inner, (at.load(x + j * inner) - top) - last);
    else
      at.store(y + j * inner, at.load(y + j * inner) * last);
  }
}

// softmax: g_x = y (g - sum(g y)).   log_softmax: g_x = g - e^y sum(g).
template <class T>
LM_FN void softmax_backward_row(const T* y, const T* g, T* gx, int64_t n, bool log) {
  Sums<T> sum;
  if (log) {
    lanes<T>(n, [&](auto at, int k) LM_INLINE { sum[k] += at.load(g); });
    const T total = sum.total();
    lanes<T>(n, [&](auto at, int) LM_INLINE { at.store(gx, at.load(g) - math::exp(at.load(y)) * Simd<T>(total)); });
  } else {
    lanes<T>(n, [&](auto at, int k) LM_INLINE { sum[k] += at.load(g) * at.load(y); });
    const T total = sum.total();
    lanes<T>(n, [&](auto at, int) LM_INLINE { at.store(gx, (at.load(g) - Simd<T>(total)) * at.load(y)); });
  }
}

template <class T, class At>
LM_FN void softmax_backward_columns(At at, const T* y, const T* g, T* gx, int64_t n, int64_t inner, bool log) {
  using V = Simd<T>;
  const V sum = column_sum<T>(n, [&](int64_t j) LM_INLINE {
    return log ? at.load(g + j * inner) : at.load(g + j * inner) * at.load(y + j * inner);
  });
  for (int64_t j = 0; j < n * inner; j += inner) {
    const V v = at.load(y + j), grad = at.load(g + j);
    at.store(gx + j, log ? grad - math::exp(v) * sum : (grad - sum) * v);
  }
}

// Strips of a few registers of columns, so that a piece of work is about kGrain elements and reads whole cache lines.
template <class T, class Fn>
LM_FN void column_chunks(int64_t outer, int64_t n, int64_t inner, Fn fn) {
  constexpr int64_t W = Simd<T>::kLanes;
  const int64_t registers = chunk_count(inner, W);
  row_chunks(outer * registers, n * W, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const int64_t start = r / registers * n * inner, i = r % registers * W;
      if (i + W <= inner)
        fn(Full<T>{start + i});
      else
        fn(Tail<T>{start + i, static_cast<int>(inner - i)});
    }
  });
}

}  // namespace

void softmax_forward(int64_t item, const void* x, void* y, int64_t outer, int64_t n, int64_t inner, bool log) {
  by_float(item, [&]<class T>() {
    const T* from = static_cast<const T*>(x);
    T* to = static_cast<T*>(y);
    if (inner == 1) {
      row_chunks(outer, n, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) softmax_row(from + i * n, to + i * n, n, log);
      });
    } else {
      column_chunks<T>(outer, n, inner, [&](auto at) LM_INLINE { softmax_columns<T>(at, from, to, n, inner, log); });
    }
  });
}

void softmax_backward(int64_t item, const void* y, const void* grad_y, void* grad_x, int64_t outer, int64_t n,
                      int64_t inner, bool log) {
  by_float(item, [&]<class T>() {
    const T *out = static_cast<const T*>(y), *g = static_cast<const T*>(grad_y);
    T* gx = static_cast<T*>(grad_x);
    if (inner == 1) {
      row_chunks(outer, n, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) softmax_backward_row(out + i * n, g + i * n, gx + i * n, n, log);
      });
    } else {
      column_chunks<T>(outer, n, inner,
                       [&](auto at) LM_INLINE { softmax_backward_columns<T>(at, out, g, gx, n, inner, log); });
    }
  });
}

namespace {

template <class T>
LM_FN T row_sum(const T* a, int64_t n) {
  Sums<T> sum;
  lanes<T>(n, [&](auto at, int k) LM_INLINE { sum[k] += at.load(a); });
  return sum.total();
}

}  // namespace

void cross_entropy_forward(const CrossEntropy& op, void* loss) {
  by_float(op.item, [&]<class T>() {
    const T *all = static_cast<const T*>(op.x), *w = static_cast<const T*>(op.weight);
    T *lse = static_cast<T*>(op.lse), *out = static_cast<T*>(loss);
    const int64_t n = op.n;
    // What smoothing gives every class, and the weight it gives in total.
    const T each = T(op.smooth / static_cast<double>(n)), total = w ? row_sum(w, n) : T(n);
    row_chunks(op.rows, n, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const T *x = all + i * n, top = row_max(x, n), rest = math::log(row_exp<T>(x, nullptr, n, top));
        lse[i] = top + rest;
        const int64_t t = op.target[i];
        if (t == op.ignore) {
          out[i] = T(0);
          continue;
        }
        // As in log_softmax: (top - x) + rest keeps the digits that top + rest loses.
        T y = T(1 - op.smooth) * (w ? w[t] : T(1)) * ((top - x[t]) + rest);
        if (op.smooth > 0)
          y += each * ((w ? top * total - row_dot(w, x, n) : top * total - row_sum(x, n)) + rest * total);
        out[i] = y;
      }
    });
  });
}

void cross_entropy_backward(const CrossEntropy& op, const void* scale, int64_t scale_step, void* grad_x) {
  by_float(op.item, [&]<class T>() {
    const T *all = static_cast<const T*>(op.x), *w = static_cast<const T*>(op.weight);
    const T *lse = static_cast<const T*>(op.lse), *scales = static_cast<const T*>(scale);
    T* out = static_cast<T*>(grad_x);
    const int64_t n = op.n;
    const T each = T(op.smooth / static_cast<double>(n)), total = w ? row_sum(w, n) : T(n);
    row_chunks(op.rows, n, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const T* x = all + i * n;
        T* gx = out + i * n;
        const int64_t t = op.target[i];
        if (t == op.ignore) {
          lanes<T>(n, [&](auto at, int) LM_INLINE { at.store(gx, T(0)); });
          continue;
        }
        const T g = scales[i * scale_step], k = op.divisor ? T(static_cast<double>(g) / *op.divisor) : g;
        const T hit = T(1 - op.smooth) * (w ? w[t] : T(1));
        // grad_x = k (Q p - q): one multiplication and, when smoothing, one subtraction an element; then the hit.
        const Simd<T> a(k * (hit + each * total)), b(k * each), z(lse[i]);
        lanes<T>(n, [&](auto at, int) LM_INLINE {
          auto g = a * exp_below_zero(at.load(x) - z);
          if (op.smooth > 0) g -= w ? b * at.load(w) : b;
          at.store(gx, g);
        });
        gx[t] -= k * hit;
      }
    });
  });
}

}  // namespace lamina::cpu::LM_ISA
