// Adding a run of numbers to another: what index_add and the gradients of indexing spend their time on.
#include "cpu/index_loops.h"

namespace lamina::cpu::LM_ISA {

template <class T>
static void add_to(const T* x, T* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] += x[i];
}

void add_run(DType dtype, const void* x, void* y, int64_t n) {
  if (dtype == DType::F32)
    add_to(static_cast<const float*>(x), static_cast<float*>(y), n);
  else
    add_to(static_cast<const double*>(x), static_cast<double*>(y), n);
}

}  // namespace lamina::cpu::LM_ISA
