// Elementwise losses: one loop for all of them, instantiated per formula, and the indexed access of nll_loss.
#include "kernel/loss.h"

#include "cpu/lanes.h"
#include "math/loss.h"

namespace lamina::cpu::LM_ISA {
namespace {

static_assert(loss_chunks(kGrain) == 1 && loss_chunks(kGrain + 1) == 2);

// Cut by the number of elements only; loss.h promises the caller how many pieces there are.
template <class Fn>
LM_FN void pieces(int64_t n, Fn fn) {
  parallel_for(loss_chunks(n), [&](int64_t chunk) {
    const int64_t first = chunk * kGrain;
    fn(chunk, first, n - first < kGrain ? n - first : kGrain);
  });
}

}  // namespace

void loss_forward(const Loss& op, void* y, double* sums) {
  by_float(op.item, [&]<class T>() {
    math::visit_loss(op.kind, op.c, [&](auto formula) LM_INLINE {
      pieces(op.n, [&](int64_t chunk, int64_t first, int64_t count) {
        const T *x = static_cast<const T*>(op.x) + first, *t = static_cast<const T*>(op.target) + first;
        T* out = y ? static_cast<T*>(y) + first : nullptr;
        Sums<T> sum;
        lanes<T>(count, [&](auto at, int k) LM_INLINE {
          const Simd<T> v = formula.f(at.load(x), at.load(t));
          if (out) at.store(out, v);
          // Lanes behind the end hold f(0, 0), which need not be zero.
          sum[k] += at.keep(v, T(0));
        });
        if (sums) sums[chunk] = static_cast<double>(sum.total());
      });
    });
  });
}

void loss_backward(const Loss& op, const void* scale, int64_t scale_step, void* grad_x, void* grad_target) {
  by_float(op.item, [&]<class T>() {
    math::visit_loss(op.kind, op.c, [&](auto formula) LM_INLINE {
      pieces(op.n, [&](int64_t, int64_t first, int64_t count) {
        const T *x = static_cast<const T*>(op.x) + first, *t = static_cast<const T*>(op.target) + first;
        const T* scales = static_cast<const T*>(scale) + first * scale_step;
        const T one = static_cast<T>(static_cast<double>(*scales) / op.divisor);
        T* gx = grad_x ? static_cast<T*>(grad_x) + first : nullptr;
        T* gt = grad_target ? static_cast<T*>(grad_target) + first : nullptr;
        lanes<T>(count, [&](auto at, int) LM_INLINE {
          // A reduced loss has one gradient for all elements.
          const Simd<T> g = scale_step ? at.load(scales) : Simd<T>(one), a = at.load(x), b = at.load(t);
          if (gx) at.store(gx, g * formula.dx(a, b));
          if (gt) at.store(gt, g * formula.dt(a, b));
        });
      });
    });
  });
}

void nll_gather(const Nll& op, const void* x, void* y) {
  by_float(op.item, [&]<class T>() {
    const T *from = static_cast<const T*>(x), *w = static_cast<const T*>(op.weight);
    T* to = static_cast<T*>(y);
    row_chunks(op.outer, op.inner, [&](int64_t first, int64_t last) {
      for (int64_t i = first * op.inner; i < last * op.inner; ++i) {
        const int64_t t = op.target[i];
        if (t == op.ignore)
          to[i] = T(0);
        else
          to[i] = -(w ? w[t] : T(1)) * from[(i / op.inner * op.n + t) * op.inner + i % op.inner];
      }
    });
  });
}

void nll_scatter(const Nll& op, const void* g, int64_t g_step, void* grad_x) {
  by_float(op.item, [&]<class T>() {
    const T *from = static_cast<const T*>(g), *w = static_cast<const T*>(op.weight);
    T* to = static_cast<T*>(grad_x);
    row_chunks(op.outer, op.n * op.inner, [&](int64_t first, int64_t last) {
      // Cleared by the thread that then writes into it.
      T* part = to + first * op.n * op.inner;
      lanes<T>((last - first) * op.n * op.inner, [&](auto at, int) LM_INLINE { at.store(part, T(0)); });
      for (int64_t i = first * op.inner; i < last * op.inner; ++i) {
        const int64_t t = op.target[i];
        if (t == op.ignore) continue;
        const T g = from[i * g_step], scaled = op.divisor ? static_cast<T>(static_cast<double>(g) / *op.divisor) : g;
        to[(i / op.inner * op.n + t) * op.inner + i % op.inner] = -(w ? w[t] : T(1)) * scaled;
      }
    });
  });
}

}  // namespace lamina::cpu::LM_ISA
