// Launchers of the optimizer steps in kernel/optim.h.
#include "kernel/optim.h"

#include "cuda/arrays.h"
#include "cuda/kernels/optim.cuh"

namespace lamina::cuda {
namespace {

static_assert(kOptimArrays == kOptimColumns);

OptimEntry entry_of(const OptimArray& a) {
  OptimEntry e{{}, a.counter, a.n, 0, a.first, true};
  for (int c = 0; c < kOptimArrays; ++c) {
    e.data[c] = a.data[c];
    e.aligned = e.aligned && reinterpret_cast<uintptr_t>(a.data[c]) % 16 == 0;
  }
  return e;
}

// One launch of Rule<C>{...} for every dtype that occurs.
template <template <class> class Rule, class Make>
void update_all(Stream stream, const OptimArray* arrays, int64_t count, Make&& make) {
  const auto run = [&]<class T, int capacity>(const ArrayTable<OptimEntry, capacity>& table, unsigned chunks) {
    const auto rule = make.template operator()<Rule<Compute<T>>>();
    // Counters first, in a launch of their own: every chunk of a parameter reads the same one.
    if (table.entry[0].counter)
      launch(optim_advance_kernel<capacity>, blocks_for(table.count, kArrayThreads), kArrayThreads, 0, stream, table);
    launch(optim_update_kernel<T, capacity, decltype(make.template operator()<Rule<Compute<T>>>())>, chunks,
           kArrayThreads, 0, stream, table, rule);
  };
  run_arrays<OptimEntry>("optimizer step", arrays, count, entry_of, run);
}

}  // namespace

void sgd_update(Stream stream, const SgdStep& s, const OptimArray* arrays, int64_t count) {
  update_all<SgdRule>(stream, arrays, count, [&]<class Rule>() {
    return Rule{{s.lr, s.lr_at}, s.momentum, s.dampening, s.weight_decay, s.nesterov, s.maximize};
  });
}

void adam_update(Stream stream, const AdamStep& s, const OptimArray* arrays, int64_t count) {
  update_all<AdamRule>(stream, arrays, count, [&]<class Rule>() {
    return Rule{{s.lr, s.lr_at}, s.beta1, s.beta2, s.eps, s.weight_decay, s.decoupled, s.maximize};
  });
}

void rmsprop_update(Stream stream, const RmspropStep& s, const OptimArray* arrays, int64_t count) {
  update_all<RmspropRule>(stream, arrays, count, [&]<class Rule>() {
    return Rule{{s.lr, s.lr_at}, s.alpha, s.eps, s.weight_decay, s.momentum, s.maximize};
  });
}

}  // namespace lamina::cuda
