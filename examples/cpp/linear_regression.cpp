// The engine without Python: fit y = x w + b to noisy data by gradient descent.
#include <cstdio>

#include "autograd/engine.h"
#include "core/mode.h"
#include "ops/ops.h"

using namespace lamina;

int main() {
  manual_seed(0);
  const double true_w = 3.0, true_b = -1.0;
  Tensor x = randn(Sizes(Shape{256, 1}), nullptr, std::nullopt, std::nullopt);
  Tensor noise = randn(Sizes(Shape{256, 1}), nullptr, std::nullopt, std::nullopt) * Tensor(0.01);
  Tensor y = x * Tensor(true_w) + Tensor(true_b) + noise;

  Tensor w = full_tensor({1, 1}, 0.0, DType::F32), b = full_tensor({1}, 0.0, DType::F32);
  w->requires_grad = b->requires_grad = true;
  for (int step = 0; step < 200; ++step) {
    Tensor error = matmul(x, w) + b - y;  // (256, 1) @ (1, 1) -> (256, 1)
    Tensor loss = mean(error * error, std::nullopt, false, std::nullopt);
    run_backward({loss}, {}, {});
    NoGrad guard;
    for (Tensor* parameter : {&w, &b}) {
      inplace(*parameter, [&](const Tensor& p) { return p - Tensor((*parameter)->grad) * Tensor(0.1); }, "step");
      (*parameter)->grad.reset();
    }
  }
  std::printf("w = %.2f (3.00), b = %.2f (-1.00)\n", w.item_double(), b.item_double());
  return std::abs(w.item_double() - true_w) < 0.05 && std::abs(b.item_double() - true_b) < 0.05 ? 0 : 1;
}
