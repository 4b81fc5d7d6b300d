// Optimizer steps of many parameters on the CPU. The one idea: small parameters are updated at once, large ones are cut
// into chunks that all wait for one parallel region at the end. Next: kernels/optim.cpp.
#include "kernel/optim.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/pool.h"
#include "core/storage.h"
#include "cpu/copy_loops.h"
#include "cpu/optim_loops.h"

namespace lamina::cpu {
namespace {

constexpr int64_t kGrain = 16384;  // elements per chunk: a fixed number, see core/pool.h

template <class Step, class Kernel>
class Update {
 public:
  explicit Update(const Kernel& kernel) : kernel_(kernel) {}

  void add(const Step& step, const OptimArray& array) {
    const Piece piece{step, array};
    if (array.n <= kGrain) return run(piece);
    for (int64_t start = 0; start < array.n; start += kGrain) {
      Piece part = piece;
      part.array.n = std::min(kGrain, array.n - start);
      for (void*& data : part.array.data)
        if (data) data = static_cast<char*>(data) + start * item_size(array.dtype);
      waiting_.push_back(part);
    }
  }

  void finish() {
    if (!waiting_.empty()) parallel_for(int64_t(waiting_.size()), [&](int64_t i) { run(waiting_[size_t(i)]); });
  }

 private:
  struct Piece {
    Step step;
    OptimArray array;
  };

  void run(const Piece& piece) const {
    const OptimArray& a = piece.array;
    if (!is_half(a.dtype)) return kernel_(a.dtype, piece.step, a.n, a.data);
    // f16 and bf16 are computed in float, through buffers of one chunk per column.
    Ref<Storage> scratch = Storage::create(size_t(kOptimColumns * a.n) * sizeof(float));
    void* wide[kOptimColumns] = {};
    for (int c = 0; c < kOptimColumns; ++c) {
      if (!a.data[c]) continue;
      wide[c] = static_cast<float*>(scratch->data) + c * a.n;
      cpu::convert(a.dtype, DType::F32, a.n, a.data[c], wide[c]);
    }
    kernel_(DType::F32, piece.step, a.n, wide);
    for (int c = 1; c < kOptimColumns; ++c)
      if (wide[c]) cpu::convert(DType::F32, a.dtype, a.n, wide[c], a.data[c]);
  }

  const Kernel& kernel_;
  std::vector<Piece> waiting_;
};

}  // namespace

void sgd_update(const SgdStep& step, const OptimArray* arrays, int64_t count) {
  Update<SgdStep, decltype(loop::sgd_step)> update(loop::sgd_step);
  SgdStep own = step;
  for (int64_t i = 0; i < count; ++i) {
    own.first = arrays[i].first;
    update.add(own, arrays[i]);
  }
  update.finish();
}

void adam_update(const AdamStep& step, const OptimArray* arrays, int64_t count) {
  Update<AdamStep, decltype(loop::adam_step)> update(loop::adam_step);
  AdamStep own = step;
  double last = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double t = *arrays[i].counter += 1;
    if (t != last) {  // usually the same for all parameters
      own.correction1 = 1 - std::pow(step.beta1, t);
      own.correction2 = 1 - std::pow(step.beta2, t);
      last = t;
    }
    update.add(own, arrays[i]);
  }
  update.finish();
}

void rmsprop_update(const RmspropStep& step, const OptimArray* arrays, int64_t count) {
  Update<RmspropStep, decltype(loop::rmsprop_step)> update(loop::rmsprop_step);
  for (int64_t i = 0; i < count; ++i) {
    *arrays[i].counter += 1;
    update.add(step, arrays[i]);
  }
  update.finish();
}

}  // namespace lamina::cpu
