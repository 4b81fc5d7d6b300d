// The loops of pooling. Channels are innermost in memory, so the same step is taken for many channels at once: one
// block of them is kept in registers while the box is walked. Positions are counted in integers as wide as the
// elements.
#include "cpu/pooling_loops.h"

namespace lamina::cpu::LM_ISA {
namespace {

constexpr int64_t kBlock = 64;  // channels at a time

template <class T>
struct PositionOf {
  using type = int32_t;
};
template <>
struct PositionOf<double> {
  using type = int64_t;
};

template <class F>
LM_FN void with_type(DType dtype, F&& f) {
  if (dtype == DType::F32)
    f(float());
  else
    f(double());
}

// Calls f(pixel) for every pixel of x inside the box of output (a, b, c).
template <class F>
LM_FN void for_box(const PoolBoxes& s, int64_t a, int64_t b, int64_t c, F&& f) {
  const PoolAxis &d = s.axis[0], &h = s.axis[1], &w = s.axis[2];
  for (int64_t i = d.begin[a]; i < d.end[a]; i += d.step)
    for (int64_t j = h.begin[b]; j < h.end[b]; j += h.step)
      for (int64_t k = w.begin[c]; k < w.end[c]; k += w.step) f((i * h.in + j) * w.in + k);
}

// Calls f(image, output pixel, a, b, c) for the pixels of rows [first, last) of y.
template <class F>
LM_FN void for_rows(const PoolBoxes& s, int64_t first, int64_t last, F&& f) {
  const PoolAxis &d = s.axis[0], &h = s.axis[1], &w = s.axis[2];
  for (int64_t row = first; row < last; ++row) {
    int64_t b = row % h.out, a = row / h.out % d.out, n = row / (h.out * d.out);
    for (int64_t c = 0; c < w.out; ++c) f(n, row * w.out + c, a, b, c);
  }
}

template <class T>
LM_FN T divisor(const PoolBoxes& s, int64_t a, int64_t b, int64_t c) {
  return T(1 / (s.axis[0].divisor[a] * s.axis[1].divisor[b] * s.axis[2].divisor[c]));
}

template <class T, bool kIndex>
void max_rows(const PoolBoxes& s, int64_t first, int64_t last, const T* x, T* y, int64_t* index) {
  using Position = typename PositionOf<T>::type;
  for_rows(s, first, last, [&](int64_t n, int64_t out, int64_t a, int64_t b, int64_t c) __attribute__((always_inline)) {
    const T* image = x + n * s.pixels_in() * s.c;
    const PoolAxis &h = s.axis[1], &w = s.axis[2];
    const int64_t start = (s.axis[0].begin[a] * h.in + h.begin[b]) * w.in + w.begin[c];
    for (int64_t at = 0; at < s.c; at += kBlock) {
      const int64_t m = s.c - at < kBlock ? s.c - at : kBlock;
      T best[kBlock];
      Position where[kBlock];
      for (int64_t i = 0; i < m; ++i) best[i] = -__builtin_inf();
      for (int64_t i = 0; i < m; ++i) where[i] = Position(start);
      for_box(s, a, b, c, [&](int64_t pixel) __attribute__((always_inline)) {
        const T* v = image + pixel * s.c + at;
        for (int64_t i = 0; i < m; ++i) {
          const bool better = v[i] > best[i] || v[i] != v[i];  // NaN wins
          best[i] = better ? v[i] : best[i];
          if constexpr (kIndex) where[i] = better ? Position(pixel) : where[i];
        }
      });
      for (int64_t i = 0; i < m; ++i) y[out * s.c + at + i] = best[i];
      if constexpr (kIndex)
        for (int64_t i = 0; i < m; ++i) index[out * s.c + at + i] = where[i];
    }
  });
}

template <class T>
void avg_rows(const PoolBoxes& s, int64_t first, int64_t last, const T* x, T* y) {
  for_rows(s, first, last, [&](int64_t n, int64_t out, int64_t a, int64_t b, int64_t c) __attribute__((always_inline)) {
    const T* image = x + n * s.pixels_in() * s.c;
    const T scale = divisor<T>(s, a, b, c);
    for (int64_t at = 0; at < s.c; at += kBlock) {
      const int64_t m = s.c - at < kBlock ? s.c - at : kBlock;
      T sum[kBlock] = {};
      for_box(s, a, b, c, [&](int64_t pixel) __attribute__((always_inline)) {
        const T* v = image + pixel * s.c + at;
        for (int64_t i = 0; i < m; ++i) sum[i] += v[i];
      });
      for (int64_t i = 0; i < m; ++i) y[out * s.c + at + i] = sum[i] * scale;
    }
  });
}

template <class T>
LM_FN void clear(const PoolBoxes& s, int64_t first, int64_t last, T* image) {
  for (int64_t pixel = 0; pixel < s.pixels_in(); ++pixel)
    for (int64_t i = first; i < last; ++i) image[pixel * s.c + i] = 0;
}

template <class T>
void scatter(const PoolBoxes& s, int64_t n, int64_t first, int64_t last, const T* g, const int64_t* index, T* grad_x) {
  T* image = grad_x + n * s.pixels_in() * s.c;
  clear(s, first, last, image);
  for (int64_t out = n * s.pixels_out(); out < (n + 1) * s.pixels_out(); ++out)
    for (int64_t i = first; i < last; ++i) image[index[out * s.c + i] * s.c + i] += g[out * s.c + i];
}

template <class T>
void spread(const PoolBoxes& s, int64_t n, int64_t first, int64_t last, const T* g, T* grad_x) {
  T* image = grad_x + n * s.pixels_in() * s.c;
  clear(s, first, last, image);
  const int64_t rows = s.axis[0].out * s.axis[1].out;
  for_rows(s, n * rows, (n + 1) * rows,
           [&](int64_t, int64_t out, int64_t a, int64_t b, int64_t c) __attribute__((always_inline)) {
             const T scale = divisor<T>(s, a, b, c);
             for_box(s, a, b, c, [&](int64_t pixel) __attribute__((always_inline)) {
               for (int64_t i = first; i < last; ++i) image[pixel * s.c + i] += g[out * s.c + i] * scale;
             });
           });
}

}  // namespace

void max_pool_forward(DType dtype, const PoolBoxes& boxes, int64_t first, int64_t last, const void* x, void* y,
                      int64_t* index) {
  with_type(dtype, [&]<class T>(T) __attribute__((always_inline)) {
    if (index)
      max_rows<T, true>(boxes, first, last, static_cast<const T*>(x), static_cast<T*>(y), index);
    else
      max_rows<T, false>(boxes, first, last, static_cast<const T*>(x), static_cast<T*>(y), index);
  });
}

void avg_pool_forward(DType dtype, const PoolBoxes& boxes, int64_t first, int64_t last, const void* x, void* y) {
  with_type(dtype, [&]<class T>(T) __attribute__((always_inline)) {
    avg_rows(boxes, first, last, static_cast<const T*>(x), static_cast<T*>(y));
  });
}

void max_pool_backward(DType dtype, const PoolBoxes& boxes, int64_t n, int64_t first, int64_t last, const void* grad,
                       const int64_t* index, void* grad_x) {
  with_type(dtype, [&]<class T>(T) __attribute__((always_inline)) {
    scatter(boxes, n, first, last, static_cast<const T*>(grad), index, static_cast<T*>(grad_x));
  });
}

void avg_pool_backward(DType dtype, const PoolBoxes& boxes, int64_t n, int64_t first, int64_t last, const void* grad,
                       void* grad_x) {
  with_type(dtype, [&]<class T>(T) __attribute__((always_inline)) {
    spread(boxes, n, first, last, static_cast<const T*>(grad), static_cast<T*>(grad_x));
  });
}

void max_pool_gather(DType dtype, const PoolBoxes& s, int64_t n, const void* x, const int64_t* index, void* y) {
  with_type(dtype, [&]<class T>(T) __attribute__((always_inline)) {
    const T* image = static_cast<const T*>(x) + n * s.pixels_in() * s.c;
    for (int64_t out = n * s.pixels_out(); out < (n + 1) * s.pixels_out(); ++out)
      for (int64_t i = 0; i < s.c; ++i) static_cast<T*>(y)[out * s.c + i] = image[index[out * s.c + i] * s.c + i];
  });
}

}  // namespace lamina::cpu::LM_ISA
