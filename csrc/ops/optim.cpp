// Multi-tensor optimizer steps: checks, then flat arrays for the kernels in cpu/kernels/optim.cpp. The one idea: small
// parameters are updated at once, large ones are cut into chunks that all wait for one parallel region at the end.
#include "ops/optim.h"

#include <cmath>

#include "core/pool.h"
#include "cpu/copy.h"
#include "cpu/optim.h"
#include "ops/ops.h"

namespace lamina {
namespace {

constexpr int kColumns = 5;        // the gradient, the parameter, and at most three of state (cpu/optim.h)
constexpr int64_t kGrain = 16384;  // elements per chunk: a fixed number, see core/pool.h

template <class Step, class Kernel>
class Update {
 public:
  Update(const char* op, const Kernel& kernel) : op_(op), kernel_(kernel) {}

  // columns[0] is the gradient, the others are changed; a null one is passed on as null.
  void add(const Step& step, size_t index, const Tensor* const (&columns)[kColumns]) {
    const Tensor& p = *columns[1];
    LM_CHECK(p.is_floating(), TypeError, op_, ": parameter ", index, " is ", p.dtype(),
             "; need a floating-point dtype");
    Piece piece{step, p.dtype(), p.device(), p.numel(), {}};
    for (int c = 0; c < kColumns; ++c) {
      if (!columns[c]) continue;
      check(index, p, *columns[c]);
      piece.data[c] = flat(*columns[c], c > 0);
      if (c > 0) columns[c]->bump_version();
    }
    if (piece.n <= kGrain) return run(piece);
    for (int64_t start = 0; start < piece.n; start += kGrain) {
      Piece part = piece;
      part.n = std::min(kGrain, piece.n - start);
      for (void*& data : part.data)
        if (data) data = static_cast<char*>(data) + start * p.itemsize();
      waiting_.push_back(part);
    }
  }

  void finish() {
    if (!waiting_.empty()) parallel_for(int64_t(waiting_.size()), [&](int64_t i) { run(waiting_[i]); });
    for (auto& [original, copy] : copies_) copy_into(original, copy);
  }

 private:
  struct Piece {
    Step step;
    DType dtype;
    Device device;
    int64_t n;
    void* data[kColumns];
  };

  void check(size_t index, const Tensor& p, const Tensor& other) {
    LM_CHECK(other.defined(), ValueError, op_, ": state of parameter ", index, " is missing");
    LM_CHECK(other.dtype() == p.dtype(), TypeError, op_, ": parameter ", index, " is ", p.dtype(),
             ", its gradient or state ", other.dtype(), "; need equal dtypes");
    LM_CHECK(other.sizes() == p.sizes(), ValueError, op_, ": parameter ", index, " is ", p.sizes(),
             ", its gradient or state ", other.sizes(), "; need equal shapes");
    LM_CHECK(other.device() == p.device(), RuntimeError, op_, ": parameter ", index,
             " and its gradient or state are on different devices");
  }

  // Row-major elements of x: its own, or a copy that `finish` writes back if the kernel changes it.
  void* flat(const Tensor& x, bool changed) {
    if (x.is_contiguous()) return x.data();
    Tensor copy = empty_tensor(x.sizes(), x.dtype(), x.device());
    copy_into(copy, x);
    (changed ? copies_ : kept_).emplace_back(x, copy);
    return copy.data();
  }

  void run(const Piece& piece) const {
    if (!is_half(piece.dtype)) return kernel_(stream_of(piece.device), piece.dtype, piece.step, piece.n, piece.data);
    // f16 and bf16 are computed in float, through buffers of one chunk per column.
    Ref<Storage> scratch = Storage::create(kColumns * piece.n * int64_t(sizeof(float)), piece.device);
    void* wide[kColumns] = {};
    for (int c = 0; c < kColumns; ++c) {
      if (!piece.data[c]) continue;
      wide[c] = static_cast<float*>(scratch->data) + c * piece.n;
      cpu::convert(piece.dtype, DType::F32, piece.n, piece.data[c], wide[c]);
    }
    kernel_(stream_of(piece.device), DType::F32, piece.step, piece.n, wide);
    for (int c = 1; c < kColumns; ++c)
      if (wide[c]) cpu::convert(DType::F32, piece.dtype, piece.n, wide[c], piece.data[c]);
  }

  const char* op_;
  const Kernel& kernel_;
  std::vector<Piece> waiting_;
  std::vector<std::pair<Tensor, Tensor>> copies_, kept_;
};

void check_length(const char* op, const char* what, const TensorList& list, const TensorList& params, bool optional) {
  LM_CHECK(list.size() == params.size() || (optional && list.empty()), ValueError, op, ": ", params.size(),
           " parameters and ", list.size(), " entries of ", what, "; need equal numbers");
}

const Tensor* entry(const TensorList& list, size_t i) { return list.empty() ? nullptr : &list[i]; }

// Advances the counter of parameter `i` and returns it.
double advance(const char* op, const TensorList& steps, size_t i) {
  const Tensor& step = steps[i];
  LM_CHECK(step.defined() && step.numel() == 1 && step.dtype() == DType::F32, TypeError, op,
           ": the step counter of parameter ", i, " is not a float32 tensor of one element");
  step.bump_version();
  return *step.data<float>() += 1;
}

}  // namespace

void sgd_step_(const TensorList& params, TensorList& momentum_buffers, double lr, double momentum, double dampening,
               double weight_decay, bool nesterov, bool maximize) {
  check_length("sgd_step_", "momentum_buffers", momentum_buffers, params, true);
  Update<SgdStep, decltype(kernel::sgd_step)> update("sgd_step_", kernel::sgd_step);
  for (size_t i = 0; i < params.size(); ++i) {
    if (!params[i]->grad) continue;
    Tensor grad(params[i]->grad);
    SgdStep step{lr, momentum, dampening, weight_decay, nesterov, maximize, false};
    if (!momentum_buffers.empty() && !momentum_buffers[i].defined()) {
      momentum_buffers[i] = full_tensor(params[i].sizes(), Scalar(0.0), params[i].dtype(), params[i].device());
      step.first = true;
    }
    update.add(step, i, {&grad, &params[i], entry(momentum_buffers, i), nullptr, nullptr});
  }
  update.finish();
}

void adam_step_(const TensorList& params, const TensorList& exp_avgs, const TensorList& exp_avg_sqs,
                const TensorList& steps, const TensorList& max_exp_avg_sqs, double lr, double beta1, double beta2,
                double eps, double weight_decay, bool decoupled, bool maximize) {
  check_length("adam_step_", "exp_avgs", exp_avgs, params, false);
  check_length("adam_step_", "exp_avg_sqs", exp_avg_sqs, params, false);
  check_length("adam_step_", "steps", steps, params, false);
  check_length("adam_step_", "max_exp_avg_sqs", max_exp_avg_sqs, params, true);
  Update<AdamStep, decltype(kernel::adam_step)> update("adam_step_", kernel::adam_step);
  AdamStep step{lr, beta1, beta2, eps, weight_decay, decoupled, maximize, 1, 1};
  double last = 0;
  for (size_t i = 0; i < params.size(); ++i) {
    if (!params[i]->grad) continue;
    Tensor grad(params[i]->grad);
    double t = advance("adam_step_", steps, i);
    if (t != last) {  // usually the same for all parameters
      step.correction1 = 1 - std::pow(beta1, t);
      step.correction2 = 1 - std::pow(beta2, t);
      last = t;
    }
    update.add(step, i, {&grad, &params[i], &exp_avgs[i], &exp_avg_sqs[i], entry(max_exp_avg_sqs, i)});
  }
  update.finish();
}

void rmsprop_step_(const TensorList& params, const TensorList& square_avgs, const TensorList& steps,
                   const TensorList& grad_avgs, const TensorList& momentum_buffers, double lr, double alpha, double eps,
                   double weight_decay, double momentum, bool maximize) {
  check_length("rmsprop_step_", "square_avgs", square_avgs, params, false);
  check_length("rmsprop_step_", "steps", steps, params, false);
  check_length("rmsprop_step_", "grad_avgs", grad_avgs, params, true);
  check_length("rmsprop_step_", "momentum_buffers", momentum_buffers, params, true);
  Update<RmspropStep, decltype(kernel::rmsprop_step)> update("rmsprop_step_", kernel::rmsprop_step);
  RmspropStep step{lr, alpha, eps, weight_decay, momentum, maximize};
  for (size_t i = 0; i < params.size(); ++i) {
    if (!params[i]->grad) continue;
    Tensor grad(params[i]->grad);
    advance("rmsprop_step_", steps, i);
    update.add(step, i, {&grad, &params[i], &square_avgs[i], entry(grad_avgs, i), entry(momentum_buffers, i)});
  }
  update.finish();
}

}  // namespace lamina
