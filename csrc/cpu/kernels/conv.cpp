// Depthwise convolution: registers of channels, four positions at a time so that a weight is loaded once for them.
// Next: cpu/conv.cpp.
#include "cpu/conv_loops.h"
#include "math/vec.h"

namespace lamina::cpu::LM_ISA {
namespace {

using math::Simd;

template <class T>
LM_FN Simd<T> load(const T* p, int n) {
  return n < Simd<T>::kLanes ? Simd<T>::load(p, n) : Simd<T>::load(p);
}
template <class T>
LM_FN void store(Simd<T> v, T* p, int n) {
  if (n < Simd<T>::kLanes)
    v.store(p, n);
  else
    v.store(p);
}

template <int N, class T>
LM_FN void positions(int lanes, int64_t taps, const T* x, int64_t x_step, const int64_t* x_taps, const T* w,
                     const int64_t* w_taps, const T* bias, T* y, int64_t y_step) {
  using V = Simd<T>;
  V acc[N];
  const V start = bias ? load(bias, lanes) : V(T(0));
#pragma GCC unroll 4
  for (int i = 0; i < N; ++i) acc[i] = start;
  for (int64_t t = 0; t < taps; ++t) {
    const V wv = load(w + w_taps[t], lanes);
    const T* from = x + x_taps[t];
#pragma GCC unroll 4
    for (int i = 0; i < N; ++i) acc[i] += load(from + i * x_step, lanes) * wv;
  }
#pragma GCC unroll 4
  for (int i = 0; i < N; ++i) store(acc[i], y + i * y_step, lanes);
}

template <class T>
void depthwise(int64_t count, int64_t channels, int64_t taps, const T* x, int64_t x_step, const int64_t* x_taps,
               const T* w, const int64_t* w_taps, const T* bias, T* y, int64_t y_step) {
  constexpr int L = Simd<T>::kLanes;
  int64_t i = 0;
  for (; i + 4 <= count; i += 4, x += 4 * x_step, y += 4 * y_step)
    for (int64_t c = 0; c < channels; c += L)
      positions<4>(int(channels - c < L ? channels - c : L), taps, x + c, x_step, x_taps, w + c, w_taps,
                   bias ? bias + c : nullptr, y + c, y_step);
  for (; i < count; ++i, x += x_step, y += y_step)
    for (int64_t c = 0; c < channels; c += L)
      positions<1>(int(channels - c < L ? channels - c : L), taps, x + c, x_step, x_taps, w + c, w_taps,
                   bias ? bias + c : nullptr, y + c, y_step);
}

template <class T>
void depthwise_weights(int64_t count, int64_t channels, int64_t taps, const T* x, int64_t x_step, const int64_t* x_taps,
                       const T* grad, int64_t grad_step, T* grad_w) {
  using V = Simd<T>;
  constexpr int L = V::kLanes;
  for (int64_t c = 0; c < channels; c += L) {
    const int n = int(channels - c < L ? channels - c : L);
    for (int64_t t = 0; t < taps; ++t) {
      const T* from = x + x_taps[t] + c;
      V acc[4] = {V(T(0)), V(T(0)), V(T(0)), V(T(0))};
      int64_t i = 0;
      for (; i + 4 <= count; i += 4)
#pragma GCC unroll 4
        for (int u = 0; u < 4; ++u)
          acc[u] += load(from + (i + u) * x_step, n) * load(grad + (i + u) * grad_step + c, n);
      for (; i < count; ++i) acc[0] += load(from + i * x_step, n) * load(grad + i * grad_step + c, n);
      T* to = grad_w + t * channels + c;
      store(load(to, n) + ((acc[0] + acc[1]) + (acc[2] + acc[3])), to, n);
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

void conv_depthwise(DType dtype, int64_t count, int64_t channels, int64_t taps, const void* x, int64_t x_step,
                    const int64_t* x_taps, const void* w, const int64_t* w_taps, const void* bias, void* y,
                    int64_t y_step) {
  by_float(dtype, [&]<class T>(T) {
    depthwise(count, channels, taps, static_cast<const T*>(x), x_step, x_taps, static_cast<const T*>(w), w_taps,
              static_cast<const T*>(bias), static_cast<T*>(y), y_step);
  });
}

void conv_depthwise_weights(DType dtype, int64_t count, int64_t channels, int64_t taps, const void* x, int64_t x_step,
                            const int64_t* x_taps, const void* grad, int64_t grad_step, void* grad_w) {
  by_float(dtype, [&]<class T>(T) {
    depthwise_weights(count, channels, taps, static_cast<const T*>(x), x_step, x_taps, static_cast<const T*>(grad),
                      grad_step, static_cast<T*>(grad_w));
  });
}

}  // namespace lamina::cpu::LM_ISA
