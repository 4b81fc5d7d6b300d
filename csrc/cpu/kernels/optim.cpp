// The loops of the optimizers, float and double. Constants are prepared in double, as PyTorch does, then rounded once.
// `kFlags` are template parameters so that every variant is one branch-free loop, which the compiler vectorizes.
#include "cpu/optim_loops.h"

namespace lamina::cpu::LM_ISA {
namespace {

#define LM_INLINE [[gnu::always_inline]] inline

LM_INLINE float root(float x) { return __builtin_sqrtf(x); }
LM_INLINE double root(double x) { return __builtin_sqrt(x); }

// Calls f with a type whose value is `flag`, known at compile time.
template <bool kValue>
struct Flag {
  static constexpr bool value = kValue;
};
template <class F>
LM_INLINE void with_flag(bool flag, F&& f) {
  if (flag)
    f(Flag<true>());
  else
    f(Flag<false>());
}

template <class F>
LM_INLINE void with_type(DType dtype, F&& f) {
  if (dtype == DType::F32)
    f(float());
  else
    f(double());
}

// d = g + weight_decay p;  b = momentum b + (1 - dampening) d;  p -= lr (nesterov ? d + momentum b : b)
template <class T, bool kDecay, bool kMomentum>
void sgd(const SgdStep& s, int64_t n, const T* __restrict g, T* __restrict p, T* __restrict b) {
  const T sign = s.maximize ? T(-1) : T(1), decay = T(s.weight_decay), lr = T(s.lr), momentum = T(s.momentum);
  const T keep = s.first ? T(0) : momentum, take = s.first ? T(1) : T(1 - s.dampening);
  const T direct = s.nesterov ? T(1) : T(0), through = s.nesterov ? momentum : T(1);
  for (int64_t i = 0; i < n; ++i) {
    T d = sign * g[i];
    if constexpr (kDecay) d += decay * p[i];
    if constexpr (kMomentum) {
      b[i] = keep * b[i] + take * d;
      d = direct * d + through * b[i];
    }
    p[i] -= lr * d;
  }
}

// Kingma & Ba 2015; Loshchilov & Hutter 2019 (decoupled); Reddi et al. 2018 (kLargest: divide by the largest v so far).
// m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  p -= lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)
template <class T, bool kDecay, bool kLargest>
void adam(const AdamStep& s, int64_t n, const T* __restrict g, T* __restrict p, T* __restrict m, T* __restrict v,
          T* __restrict largest) {
  const T sign = s.maximize ? T(-1) : T(1), decay = s.decoupled ? T(0) : T(s.weight_decay);
  const T shrink = s.decoupled ? T(1 - s.lr * s.weight_decay) : T(1);
  const T take1 = T(1 - s.beta1), keep2 = T(s.beta2), take2 = T(1 - s.beta2), eps = T(s.eps);
  const T rate = T(s.lr / s.correction1), scale = T(1 / __builtin_sqrt(s.correction2));
  for (int64_t i = 0; i < n; ++i) {
    T d = sign * g[i], w = p[i];
    if constexpr (kDecay) {
      d += decay * w;
      w *= shrink;
    }
    T first = m[i] + take1 * (d - m[i]), second = keep2 * v[i] + take2 * d * d;
    m[i] = first;
    v[i] = second;
    if constexpr (kLargest) largest[i] = second = largest[i] > second ? largest[i] : second;
    p[i] = w - rate * first / (root(second) * scale + eps);
  }
}

// v = a v + (1 - a) g^2, minus the square of the average gradient when centered;  p -= lr g / (sqrt(v) + eps)
template <class T, bool kCentered, bool kMomentum>
void rmsprop(const RmspropStep& s, int64_t n, const T* __restrict g, T* __restrict p, T* __restrict v,
             T* __restrict mean, T* __restrict b) {
  const T sign = s.maximize ? T(-1) : T(1), decay = T(s.weight_decay), lr = T(s.lr);
  const T keep = T(s.alpha), take = T(1 - s.alpha), eps = T(s.eps), momentum = T(s.momentum);
  for (int64_t i = 0; i < n; ++i) {
    T d = sign * g[i];
    if (decay != T(0)) d += decay * p[i];
    T square = keep * v[i] + take * d * d;
    v[i] = square;
    if constexpr (kCentered) {
      mean[i] += take * (d - mean[i]);
      square -= mean[i] * mean[i];
      square = square > T(0) ? square : T(0);  // rounding may leave it just below
    }
    d /= root(square) + eps;
    if constexpr (kMomentum) d = b[i] = momentum * b[i] + d;
    p[i] -= lr * d;
  }
}

}  // namespace

void sgd_step(DType dtype, const SgdStep& s, int64_t n, void* const* data) {
  with_type(dtype, [&]<class T>(T) __attribute__((always_inline)) {
    with_flag(s.weight_decay != 0, [&](auto decay) __attribute__((always_inline)) {
      with_flag(data[2] != nullptr, [&](auto momentum) __attribute__((always_inline)) {
        sgd<T, decltype(decay)::value, decltype(momentum)::value>(s, n, static_cast<const T*>(data[0]),
                                                                  static_cast<T*>(data[1]), static_cast<T*>(data[2]));
      });
    });
  });
}

void adam_step(DType dtype, const AdamStep& s, int64_t n, void* const* data) {
  with_type(dtype, [&]<class T>(T) __attribute__((always_inline)) {
    with_flag(s.weight_decay != 0, [&](auto decay) __attribute__((always_inline)) {
      with_flag(data[4] != nullptr, [&](auto largest) __attribute__((always_inline)) {
        adam<T, decltype(decay)::value, decltype(largest)::value>(s, n, static_cast<const T*>(data[0]),
                                                                  static_cast<T*>(data[1]), static_cast<T*>(data[2]),
                                                                  static_cast<T*>(data[3]), static_cast<T*>(data[4]));
      });
    });
  });
}

void rmsprop_step(DType dtype, const RmspropStep& s, int64_t n, void* const* data) {
  with_type(dtype, [&]<class T>(T) __attribute__((always_inline)) {
    with_flag(data[3] != nullptr, [&](auto centered) __attribute__((always_inline)) {
      with_flag(data[4] != nullptr, [&](auto momentum) __attribute__((always_inline)) {
        rmsprop<T, decltype(centered)::value, decltype(momentum)::value>(
            s, n, static_cast<const T*>(data[0]), static_cast<T*>(data[1]), static_cast<T*>(data[2]),
            static_cast<T*>(data[3]), static_cast<T*>(data[4]));
      });
    });
  });
}

}  // namespace lamina::cpu::LM_ISA
