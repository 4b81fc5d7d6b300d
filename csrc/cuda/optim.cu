// Launchers of the optimizer steps in kernel/optim.h.
#include "kernel/optim.h"

#include "cuda/kernels/optim.cuh"
#include "cuda/launch.h"

namespace lamina::cuda {
namespace {

static_assert(kOptimArrays == kOptimColumns && sizeof(OptimTable<kOptimMany>) < 32764 - 128);

template <class T, int capacity, class Rule>
void launch_table(Stream stream, const OptimTable<capacity>& table, unsigned chunks, const Rule& rule) {
  // Counters first, in a launch of their own: every chunk of a parameter reads the same one.
  if (table.entry[0].counter)
    launch(optim_advance_kernel<capacity>, blocks_for(table.count, kOptimThreads), kOptimThreads, 0, stream, table);
  launch(optim_update_kernel<T, capacity, Rule>, chunks, kOptimThreads, 0, stream, table, rule);
}

// One launch for up to `capacity` arrays of type T; as many as it takes for more.
template <class T, int capacity, class Rule>
void update_arrays(Stream stream, DType dtype, const OptimArray* arrays, int64_t count, const Rule& rule) {
  OptimTable<capacity> table;
  table.count = 0;
  int64_t chunks = 0;
  const auto flush = [&] {
    if (table.count) launch_table<T>(stream, table, unsigned(chunks), rule);
    table.count = 0, chunks = 0;
  };
  for (int64_t i = 0; i < count; ++i) {
    const OptimArray& a = arrays[i];
    if (a.dtype != dtype) continue;
    const int64_t needs = (a.n + kOptimChunk - 1) / kOptimChunk;
    if (table.count == capacity || chunks + needs > INT32_MAX) flush();
    OptimEntry& e = table.entry[table.count++];
    e = {{}, a.counter, a.n, int(chunks), a.first, true};
    for (int c = 0; c < kOptimArrays; ++c) {
      e.data[c] = a.data[c];
      e.aligned = e.aligned && reinterpret_cast<uintptr_t>(a.data[c]) % 16 == 0;
    }
    chunks += needs;
  }
  flush();
}

// Rule<C>{...} for every dtype that occurs.
template <template <class> class Rule, class Make>
void update_all(Stream stream, const OptimArray* arrays, int64_t count, Make&& make) {
  for (DType dtype : {DType::F32, DType::F16, DType::BF16, DType::F64}) {
    int64_t of_type = 0;
    for (int64_t i = 0; i < count; ++i) of_type += arrays[i].dtype == dtype;
    if (of_type == 0) continue;
    dispatch_floating(dtype, "optimizer step", [&]<class T>() {
      const auto rule = make.template operator()<Rule<Compute<T>>>();
      if (of_type <= kOptimFew)
        update_arrays<T, kOptimFew>(stream, dtype, arrays, count, rule);
      else
        update_arrays<T, kOptimMany>(stream, dtype, arrays, count, rule);
    });
  }
}

}  // namespace

void sgd_update(Stream stream, const SgdStep& s, const OptimArray* arrays, int64_t count) {
  update_all<SgdRule>(stream, arrays, count, [&]<class Rule>() {
    return Rule{s.lr, s.momentum, s.dampening, s.weight_decay, s.nesterov, s.maximize};
  });
}

void adam_update(Stream stream, const AdamStep& s, const OptimArray* arrays, int64_t count) {
  update_all<AdamRule>(stream, arrays, count, [&]<class Rule>() {
    return Rule{s.lr, s.beta1, s.beta2, s.eps, s.weight_decay, s.decoupled, s.maximize};
  });
}

void rmsprop_update(Stream stream, const RmspropStep& s, const OptimArray* arrays, int64_t count) {
  update_all<RmspropRule>(stream, arrays, count, [&]<class Rule>() {
    return Rule{s.lr, s.alpha, s.eps, s.weight_decay, s.momentum, s.maximize};
  });
}

}  // namespace lamina::cuda
