// Normalisation: statistics in two passes over a piece that stays in L1 (mean, then squared distances from it), which
// keeps the digits that E[x^2] - E[x]^2 would lose; pieces are merged in double by Chan's formula. Normalising and the
// gradient read x once more. See norm.h for the layouts.
#include "kernel/norm.h"

#include "cpu/lanes.h"

namespace lamina::cpu::LM_ISA {
namespace {

template <class T>
LM_FN T row_mean(const T* x, int64_t n) {
  Sums<T> sum;
  lanes<T>(n, [&](auto at, int k) LM_INLINE { sum[k] += at.load(x); });
  return sum.total() / T(n);
}
// sum of (x - mean)^2
template <class T>
LM_FN T row_scatter(const T* x, T mean, int64_t n) {
  Sums<T> sum;
  lanes<T>(n, [&](auto at, int k) LM_INLINE {
    const auto d = at.keep(at.load(x) - Simd<T>(mean), T(0));
    sum[k] += d * d;
  });
  return sum.total();
}

}  // namespace

void norm_rows_forward(const NormRows& op, const void* bias, void* y) {
  by_float(op.item, [&]<class T>() {
    using V = Simd<T>;
    const T *w = static_cast<const T*>(op.weight), *b = static_cast<const T*>(bias);
    const int64_t n = op.n;
    row_chunks(op.rows, n, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const T* x = static_cast<const T*>(op.x) + i * n;
        T* out = static_cast<T*>(y) + i * n;
        // Three passes over a row in L1: mean, scatter, result. One pass with E[x^2] would save a third and cost the
        // digits.
        const T mean = op.centered ? row_mean(x, n) : T(0);
        const T rstd = math::rsqrt(row_scatter(x, mean, n) / T(n) + T(op.eps));
        if (op.centered) static_cast<T*>(op.mean)[i] = mean;
        static_cast<T*>(op.rstd)[i] = rstd;
        lanes<T>(n, [&](auto at, int) LM_INLINE {
          V v = (at.load(x) - V(mean)) * V(rstd);
          if (w) v *= at.load(w);
          if (b) v += at.load(b);
          at.store(out, v);
        });
      }
    });
  });
}

void norm_rows_backward(const NormRows& op, const void* grad_y, void* grad_x, void* grad_weight, void* grad_bias,
                        void* scratch) {
  by_float(op.item, [&]<class T>() {
    using V = Simd<T>;
    const T* w = static_cast<const T*>(op.weight);
    const int64_t n = op.n, chunks = norm_row_chunks(op.rows), step = chunk_count(op.rows, chunks ? chunks : 1);
    // A chunk keeps sums of its own for weight and bias; they live in L1 beside the row.
    parallel_for(chunks, [&](int64_t chunk) {
      T* part_w = grad_weight ? static_cast<T*>(scratch) + chunk * n : nullptr;
      T* part_b = grad_bias ? static_cast<T*>(scratch) + (chunks + chunk) * n : nullptr;
      lanes<T>(n, [&](auto at, int) LM_INLINE {
        if (part_w) at.store(part_w, V(T(0)));
        if (part_b) at.store(part_b, V(T(0)));
      });
      const int64_t last = (chunk + 1) * step < op.rows ? (chunk + 1) * step : op.rows;
      for (int64_t i = chunk * step; i < last; ++i) {
        const T *x = static_cast<const T*>(op.x) + i * n, *g = static_cast<const T*>(grad_y) + i * n;
        T* gx = grad_x ? static_cast<T*>(grad_x) + i * n : nullptr;
        const V mean(op.centered ? static_cast<const T*>(op.mean)[i] : T(0)), rstd(static_cast<const T*>(op.rstd)[i]);
        // With h = (x - mean) rstd and u = g w: grad_x = rstd (u - mean(u) - h mean(u h)).
        Sums<T> sum_u, sum_uh;
        lanes<T>(n, [&](auto at, int k) LM_INLINE {
          const V u = w ? at.load(g) * at.load(w) : at.load(g);
          sum_u[k] += u;
          sum_uh[k] += u * (at.load(x) - mean);
        });
        const V mean_u(op.centered ? sum_u.total() / T(n) : T(0)), mean_uh = rstd * V(sum_uh.total() / T(n));
        lanes<T>(n, [&](auto at, int) LM_INLINE {
          const V grad = at.load(g), h = (at.load(x) - mean) * rstd;
          if (gx) at.store(gx, ((w ? grad * at.load(w) : grad) - mean_u - h * mean_uh) * rstd);
          if (part_w) at.store(part_w, at.load(part_w) + grad * h);
          if (part_b) at.store(part_b, at.load(part_b) + grad);
        });
      }
    });
    // Chunk after chunk, in order: not a reduction tree that depends on who came first.
    T* outs[] = {static_cast<T*>(grad_weight), static_cast<T*>(grad_bias)};
    for (int which = 0; which < 2; ++which) {
      if (!outs[which]) continue;
      const T* parts = static_cast<const T*>(scratch) + which * chunks * n;
      lanes<T>(n, [&](auto at, int) LM_INLINE {
        V sum = T(0);
        for (int64_t chunk = 0; chunk < chunks; ++chunk) sum += at.load(parts + chunk * n);
        at.store(outs[which], sum);
      });
    }
  });
}

namespace {

// Elements of one piece: 16 KiB of floats, which stays in L1 between the passes.
inline constexpr int64_t kPiece = 4096;

template <class At>
LM_FN At moved(At at, int64_t by) {
  at.i += by;
  return at;
}

// Channels-last: fn(at, b, row, count) for every register of channels of every piece of rows; `at` lies on the
// channels.
template <class T, class Fn>
LM_FN void channel_registers(const Channels& l, Fn fn) {
  const int64_t c = l.channels, piece = c >= kPiece ? 1 : kPiece / c;
  row_chunks(l.batches, l.inner * c, [&](int64_t first, int64_t last) {
    for (int64_t b = first; b < last; ++b) {
      const int64_t end = (b + 1) * l.inner < l.rows ? (b + 1) * l.inner : l.rows;
      for (int64_t row = b * l.inner; row < end; row += piece) {
        const int64_t count = row + piece < end ? piece : end - row;
        lanes<T>(c, [&](auto at, int) LM_INLINE { fn(at, b, row, count); });
      }
    }
  });
}

// Rows that are handled as one, so that few channels fill whole registers: 3 channels become 48 = 3 * 16 lanes.
template <class T>
LM_FN int64_t rows_together(int64_t channels) {
  constexpr int64_t W = Simd<T>::kLanes;
  if (channels >= 4 * W) return 1;
  int64_t rows = 1;
  while (rows * channels % W) ++rows;
  return rows * chunk_count(8 * W, rows * channels);
}

// body(at, c) for all elements, c[i] being the channel's entry of coefficients[i].
template <class T, int N, class Body>
LM_FN void channel_map(const Channels& l, const void* const (&coefficients)[N], Body body) {
  using V = Simd<T>;
  constexpr int64_t W = V::kLanes, kMostTogether = 4 * W * W + 8 * W;
  if (!l.last) {
    row_chunks(l.batches * l.channels, l.inner, [&](int64_t first, int64_t last) {
      for (int64_t plane = first; plane < last; ++plane) {
        // One plane, one channel: the coefficients are splats.
        V c[N];
        for (int i = 0; i < N; ++i)
          c[i] = V(static_cast<const T*>(coefficients[i])[plane / l.channels * l.step + plane % l.channels]);
        lanes<T>(l.inner, [&](auto at, int) LM_INLINE { body(moved(at, plane * l.inner), c); });
      }
    });
    return;
  }
  const int64_t together = rows_together<T>(l.channels);
  row_chunks(l.batches, l.inner * l.channels, [&](int64_t first, int64_t last) {
    for (int64_t b = first; b < last; ++b) {
      // The coefficients of `together` rows, side by side as the rows are. Aligned: a register across two cache lines
      // would halve the loads.
      alignas(64) T repeated[N][kMostTogether];
      const T* from[N];
      for (int i = 0; i < N; ++i) {
        from[i] = static_cast<const T*>(coefficients[i]) + b * l.step;
        if (together == 1) continue;
        for (int64_t r = 0; r < together; ++r)
          memcpy(repeated[i] + r * l.channels, from[i], static_cast<size_t>(l.channels) * sizeof(T));
        from[i] = repeated[i];
      }
      const int64_t end = (b + 1) * l.inner < l.rows ? (b + 1) * l.inner : l.rows;
      for (int64_t row = b * l.inner; row < end; row += together) {
        const int64_t count = (row + together < end ? together : end - row) * l.channels;
        lanes<T>(count, [&](auto at, int) LM_INLINE {
          V c[N];
          for (int i = 0; i < N; ++i) c[i] = at.load(from[i]);
          body(moved(at, row * l.channels), c);
        });
      }
    }
  });
}

// Sums over `count` rows, four at a time: fn(r) is what row r adds.
template <class T, class Fn>
LM_FN Simd<T> column_sum(int64_t row, int64_t count, Fn fn) {
  Simd<T> s[kUnroll] = {T(0), T(0), T(0), T(0)};
  int64_t r = row;
  for (; r + kUnroll <= row + count; r += kUnroll) {
#pragma GCC unroll 4
    for (int k = 0; k < kUnroll; ++k) s[k] += fn(r + k);
  }
  for (; r < row + count; ++r) s[0] += fn(r);
  return (s[0] + s[1]) + (s[2] + s[3]);
}

// The lanes of v that exist, added to sums[i...] in double.
template <class T, class At>
LM_FN void add_lanes(At at, double* sums, Simd<T> v) {
  T x[Simd<T>::kLanes];
  v.store(x);
  for (int lane = 0; lane < at.count(); ++lane) sums[at.i + lane] += static_cast<double>(x[lane]);
}

// Chan, Golub, LeVeque (1979): the moments of two samples together. n elements so far, m more.
LM_FN void merge_moments(double& mean, double& m2, double n, double m_mean, double m_m2, double m) {
  const double distance = m_mean - mean, share = m / (n + m);
  mean += distance * share;
  m2 += m_m2 + distance * distance * n * share;
}

}  // namespace

void channel_moments(const Channels& l, const void* data, double* mean, double* m2) {
  for (int64_t i = 0; i < l.batches * l.channels; ++i) mean[i] = m2[i] = 0;
  by_float(l.item, [&]<class T>() {
    const T* x = static_cast<const T*>(data);
    if (l.last) {
      channel_registers<T>(l, [&](auto at, int64_t b, int64_t row, int64_t count) LM_INLINE {
        const Simd<T> m = column_sum<T>(row, count, [&](int64_t r) LM_INLINE { return at.load(x + r * l.channels); }) *
                          Simd<T>(T(1) / T(count));
        // The second pass finds the piece in L1.
        const Simd<T> scatter = column_sum<T>(row, count, [&](int64_t r) LM_INLINE {
          const Simd<T> d = at.load(x + r * l.channels) - m;
          return d * d;
        });
        T means[Simd<T>::kLanes], scatters[Simd<T>::kLanes];
        m.store(means);
        scatter.store(scatters);
        // Rows of this batch seen so far: what the merge needs as weight.
        const double before = static_cast<double>(row - b * l.inner);
        for (int lane = 0; lane < at.count(); ++lane) {
          const int64_t i = b * l.channels + at.i + lane;
          merge_moments(mean[i], m2[i], before, static_cast<double>(means[lane]), static_cast<double>(scatters[lane]),
                        static_cast<double>(count));
        }
      });
    } else {
      row_chunks(l.batches * l.channels, l.inner, [&](int64_t first, int64_t last) {
        for (int64_t plane = first; plane < last; ++plane) {
          for (int64_t from = 0; from < l.inner; from += kPiece) {
            const int64_t count = from + kPiece < l.inner ? kPiece : l.inner - from;
            const T *piece = x + plane * l.inner + from, m = row_mean(piece, count);
            merge_moments(mean[plane], m2[plane], static_cast<double>(from), static_cast<double>(m),
                          static_cast<double>(row_scatter(piece, m, count)), static_cast<double>(count));
          }
        }
      });
    }
  });
}

void channel_affine(const Channels& l, const void* x, const void* mean, const void* scale, const void* shift, void* y) {
  by_float(l.item, [&]<class T>() {
    channel_map<T>(l, {mean, scale, shift}, [=](auto at, const auto& c) LM_INLINE {
      at.store(static_cast<T*>(y), (at.load(static_cast<const T*>(x)) - c[0]) * c[1] + c[2]);
    });
  });
}

void channel_grad_sums(const Channels& l, const void* data, const void* grad, const void* mean, double* sum_g,
                       double* sum_gx) {
  for (int64_t i = 0; i < l.batches * l.channels; ++i) sum_g[i] = sum_gx[i] = 0;
  by_float(l.item, [&]<class T>() {
    const T *x = static_cast<const T*>(data), *g = static_cast<const T*>(grad), *means = static_cast<const T*>(mean);
    if (l.last) {
      channel_registers<T>(l, [&](auto at, int64_t b, int64_t row, int64_t count) LM_INLINE {
        // Distances from the mean, not x itself: sum(g x) - m sum(g) would cancel.
        const Simd<T> m = at.load(means + b * l.step);
        const int64_t c = l.channels;
        add_lanes<T>(at, sum_g + b * c,
                     column_sum<T>(row, count, [&](int64_t r) LM_INLINE { return at.load(g + r * c); }));
        add_lanes<T>(at, sum_gx + b * c, column_sum<T>(row, count, [&](int64_t r) LM_INLINE {
                       return at.load(g + r * c) * (at.load(x + r * c) - m);
                     }));
      });
    } else {
      row_chunks(l.batches * l.channels, l.inner, [&](int64_t first, int64_t last) {
        for (int64_t plane = first; plane < last; ++plane) {
          const Simd<T> m(means[plane / l.channels * l.step + plane % l.channels]);
          for (int64_t from = 0; from < l.inner; from += kPiece) {
            const int64_t count = from + kPiece < l.inner ? kPiece : l.inner - from;
            const T *xs = x + plane * l.inner + from, *gs = g + plane * l.inner + from;
            Sums<T> s, sx;
            lanes<T>(count, [&](auto at, int k) LM_INLINE {
              const Simd<T> v = at.load(gs);
              s[k] += v;
              sx[k] += v * (at.load(xs) - m);
            });
            sum_g[plane] += static_cast<double>(s.total());
            sum_gx[plane] += static_cast<double>(sx.total());
          }
        }
      });
    }
  });
}

void channel_grad(const Channels& l, const void* x, const void* g, const void* mean, const void* a, const void* b,
                  const void* d, void* grad_x) {
  by_float(l.item, [&]<class T>() {
    channel_map<T>(l, {mean, a, b, d}, [=](auto at, const auto& c) LM_INLINE {
      const auto part = (at.load(static_cast<const T*>(x)) - c[0]) * c[2] + c[3];
      at.store(static_cast<T*>(grad_x), at.load(static_cast<const T*>(g)) * c[1] + part);
    });
  });
}

}  // namespace lamina::cpu::LM_ISA
