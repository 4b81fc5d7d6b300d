// Multi-tensor optimizer steps: checks, then the flat arrays of all parameters in one call of a job (kernel/optim.h).
#include "ops/optim.h"

#include "kernel/optim.h"
#include "ops/ops.h"

namespace lamina {
namespace {

template <class Step, class Job>
class Update {
 public:
  Update(const char* op, const Step& step, const Tensor& lr, const Job& job, size_t parameters)
      : op_(op), step_(step), job_(job) {
    arrays_.reserve(parameters);
    if (lr.device().is_cpu()) {
      step_.lr = lr.item_double();
      return;
    }
    LM_CHECK(lr.numel() == 1 && lr.dtype() == DType::F32, TypeError, op, ": lr is a tensor of shape ", lr.sizes(),
             " and ", lr.dtype(), " on ", lr.device(), "; need a number, or one element of float32");
    step_.lr_at = lr.data<float>();
    lr_device_ = lr.device();
  }

  // columns[0] is the gradient, the others are changed; a null one is passed on as null.
  void add(size_t index, const Tensor* const (&columns)[kOptimColumns], float* counter, bool first = false) {
    const Tensor& p = *columns[1];
    LM_CHECK(p.is_floating(), TypeError, op_, ": parameter ", index, " is ", p.dtype(),
             "; need a floating-point dtype");
    OptimArray array{p.dtype(), first, p.numel(), {}, counter};
    for (int c = 0; c < kOptimColumns; ++c) {
      if (!columns[c]) continue;
      check(index, p, *columns[c]);
      array.data[c] = flat(*columns[c], c > 0);
      if (c > 0) columns[c]->bump_version();
    }
    LM_CHECK(!step_.lr_at || p.device() == lr_device_, RuntimeError, op_, ": lr is on ", lr_device_, ", parameter ",
             index, " on ", p.device(), "; need one device, or a number");
    // One call per device; the parameters of a model are usually all on one.
    if (!arrays_.empty() && p.device() != device_) run();
    device_ = p.device();
    arrays_.push_back(array);
  }

  // Advances the counter of parameter `i` when the step runs.
  float* counter(const TensorList& steps, size_t i, Device device) const {
    const Tensor& step = steps[i];
    LM_CHECK(step.defined() && step.numel() == 1 && step.dtype() == DType::F32, TypeError, op_,
             ": the step counter of parameter ", i, " is not a float32 tensor of one element");
    LM_CHECK(step.device() == device, RuntimeError, op_, ": the step counter of parameter ", i, " is on ",
             step.device(), ", the parameter on ", device, "; need one device");
    step.bump_version();
    return step.data<float>();
  }

  void finish() {
    run();
    for (auto& [original, copy] : copies_) copy_into(original, copy);
  }

 private:
  void run() {
    if (!arrays_.empty()) job_(stream_of(device_), step_, arrays_.data(), int64_t(arrays_.size()));
    arrays_.clear();
  }

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

  const char* op_;
  Step step_;
  const Job& job_;
  Device device_, lr_device_;
  std::vector<OptimArray> arrays_;
  std::vector<std::pair<Tensor, Tensor>> copies_, kept_;
};

void check_length(const char* op, const char* what, const TensorList& list, const TensorList& params, bool optional) {
  LM_CHECK(list.size() == params.size() || (optional && list.empty()), ValueError, op, ": ", params.size(),
           " parameters and ", list.size(), " entries of ", what, "; need equal numbers");
}

const Tensor* entry(const TensorList& list, size_t i) { return list.empty() ? nullptr : &list[i]; }

}  // namespace

void sgd_step_(const TensorList& params, TensorList& momentum_buffers, const Tensor& lr, double momentum,
               double dampening, double weight_decay, bool nesterov, bool maximize) {
  check_length("sgd_step_", "momentum_buffers", momentum_buffers, params, true);
  const SgdStep step{0, momentum, dampening, weight_decay, nesterov, maximize};
  Update<SgdStep, decltype(kernel::sgd_update)> update("sgd_step_", step, lr, kernel::sgd_update, params.size());
  for (size_t i = 0; i < params.size(); ++i) {
    if (!params[i]->grad) continue;
    Tensor grad(params[i]->grad);
    const bool first = !momentum_buffers.empty() && !momentum_buffers[i].defined();
    if (first) momentum_buffers[i] = full_tensor(params[i].sizes(), Scalar(0.0), params[i].dtype(), params[i].device());
    update.add(i, {&grad, &params[i], entry(momentum_buffers, i), nullptr, nullptr}, nullptr, first);
  }
  update.finish();
}

void adam_step_(const TensorList& params, const TensorList& exp_avgs, const TensorList& exp_avg_sqs,
                const TensorList& steps, const TensorList& max_exp_avg_sqs, const Tensor& lr, double beta1,
                double beta2, double eps, double weight_decay, bool decoupled, bool maximize) {
  check_length("adam_step_", "exp_avgs", exp_avgs, params, false);
  check_length("adam_step_", "exp_avg_sqs", exp_avg_sqs, params, false);
  check_length("adam_step_", "steps", steps, params, false);
  check_length("adam_step_", "max_exp_avg_sqs", max_exp_avg_sqs, params, true);
  const AdamStep step{0, beta1, beta2, eps, weight_decay, decoupled, maximize};
  Update<AdamStep, decltype(kernel::adam_update)> update("adam_step_", step, lr, kernel::adam_update, params.size());
  for (size_t i = 0; i < params.size(); ++i) {
    if (!params[i]->grad) continue;
    Tensor grad(params[i]->grad);
    float* t = update.counter(steps, i, params[i].device());
    update.add(i, {&grad, &params[i], &exp_avgs[i], &exp_avg_sqs[i], entry(max_exp_avg_sqs, i)}, t);
  }
  update.finish();
}

void rmsprop_step_(const TensorList& params, const TensorList& square_avgs, const TensorList& steps,
                   const TensorList& grad_avgs, const TensorList& momentum_buffers, const Tensor& lr, double alpha,
                   double eps, double weight_decay, double momentum, bool maximize) {
  check_length("rmsprop_step_", "square_avgs", square_avgs, params, false);
  check_length("rmsprop_step_", "steps", steps, params, false);
  check_length("rmsprop_step_", "grad_avgs", grad_avgs, params, true);
  check_length("rmsprop_step_", "momentum_buffers", momentum_buffers, params, true);
  const RmspropStep step{0, alpha, eps, weight_decay, momentum, maximize};
  Update<RmspropStep, decltype(kernel::rmsprop_update)> update("rmsprop_step_", step, lr, kernel::rmsprop_update,
                                                               params.size());
  for (size_t i = 0; i < params.size(); ++i) {
    if (!params[i]->grad) continue;
    Tensor grad(params[i]->grad);
    float* t = update.counter(steps, i, params[i].device());
    update.add(i, {&grad, &params[i], &square_avgs[i], entry(grad_avgs, i), entry(momentum_buffers, i)}, t);
  }
  update.finish();
}

}  // namespace lamina
