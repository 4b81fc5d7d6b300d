// Sums of losses on the CPU: pieces by the kernels, added here in a fixed order. Next: ops/loss.cpp.
#include "kernel/loss.h"

#include <vector>

#include "core/dtype.h"
#include "kernel/softmax.h"

namespace lamina::cpu {
namespace {

template <class F>
void by_item(int64_t item, F&& f) {
  if (item == 4)
    f.template operator()<float>();
  else
    f.template operator()<double>();
}

}  // namespace

void loss_total(const Loss& op, void* out) {
  std::vector<double> sums(size_t(loss_chunks(op.n)));
  loop::loss_forward(op, nullptr, sums.data());
  double total = 0;
  for (double s : sums) total += s;
  by_item(op.item, [&]<class T>() { *static_cast<T*>(out) = T(total / op.divisor); });
}

void class_loss_total(const Nll& op, const void* losses, double* divisor, void* out) {
  by_item(op.item, [&]<class T>() {
    const int64_t n = op.outer * op.inner;
    const T *x = static_cast<const T*>(losses), *w = static_cast<const T*>(op.weight);
    double sum = 0, weights = divisor ? 0 : 1;
    for (int64_t i = 0; i < n; ++i) sum += double(x[i]);
    for (int64_t i = 0; divisor && i < n; ++i)
      if (op.target[i] != op.ignore) weights += w ? double(w[op.target[i]]) : 1;
    if (divisor) *divisor = weights;
    *static_cast<T*>(out) = T(sum / weights);
  });
}

void cross_entropy_mass(const CrossEntropy& op, void* mass) {
  by_item(op.item, [&]<class T>() {
    const T* w = static_cast<const T*>(op.weight);
    double total = w ? 0 : double(op.n);
    for (int64_t c = 0; w && c < op.n; ++c) total += double(w[c]);
    for (int64_t i = 0; i < op.rows; ++i) {
      const int64_t t = op.target[i];
      const double q = (1 - op.smooth) * (w && t != op.ignore ? double(w[t]) : 1) + op.smooth * total / double(op.n);
      static_cast<T*>(mass)[i] = T(t == op.ignore ? 0 : q);
    }
  });
}

}  // namespace lamina::cpu
