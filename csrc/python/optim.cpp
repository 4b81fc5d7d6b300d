// Binds what is done to all parameters at once: the optimizer steps (ops/optim.h), which lamina.optim calls once per
// parameter group and step, and the clipping of gradients (ops/clip.h) for lamina.nn.utils.
#include "ops/optim.h"

#include "ops/clip.h"
#include "python/args.h"

namespace py = pybind11;

namespace lamina::python {
namespace {

TensorList tensors(const py::list& list) {
  TensorList out;
  out.reserve(list.size());
  for (py::handle item : list) {
    LM_CHECK(item.is_none() || is_tensor(item.ptr()), TypeError, "optimizer step: an entry is a ",
             Py_TYPE(item.ptr())->tp_name, "; need a Tensor or None");
    out.push_back(item.is_none() ? Tensor() : unwrap(item.ptr()));
  }
  return out;
}

Tensor learning_rate(const py::object& lr) {
  Tensor rate = operand(lr.ptr());
  LM_CHECK(rate.defined(), TypeError, "optimizer step: lr is a ", Py_TYPE(lr.ptr())->tp_name,
           "; need a number or a Tensor");
  return rate;
}

void sgd_step(const py::list& params, py::list momentum_buffers, const py::object& lr, double momentum,
              double dampening, double weight_decay, bool nesterov, bool maximize) {
  TensorList p = tensors(params), buffers = tensors(momentum_buffers);
  const Tensor rate = learning_rate(lr);
  {
    ReleaseGil release(is_large(p));
    sgd_step_(p, buffers, rate, momentum, dampening, weight_decay, nesterov, maximize);
  }
  for (size_t i = 0; i < buffers.size(); ++i)  // the new ones
    if (buffers[i].defined() && momentum_buffers[i].is_none()) momentum_buffers[i] = py::cast(buffers[i]);
}

void adam_step(const py::list& params, const py::list& exp_avgs, const py::list& exp_avg_sqs, const py::list& steps,
               const py::list& max_exp_avg_sqs, const py::object& lr, double beta1, double beta2, double eps,
               double weight_decay, bool decoupled, bool maximize) {
  TensorList p = tensors(params), m = tensors(exp_avgs), v = tensors(exp_avg_sqs), t = tensors(steps),
             largest = tensors(max_exp_avg_sqs);
  const Tensor rate = learning_rate(lr);
  ReleaseGil release(is_large(p));
  adam_step_(p, m, v, t, largest, rate, beta1, beta2, eps, weight_decay, decoupled, maximize);
}

void rmsprop_step(const py::list& params, const py::list& square_avgs, const py::list& steps, const py::list& grad_avgs,
                  const py::list& momentum_buffers, const py::object& lr, double alpha, double eps, double weight_decay,
                  double momentum, bool maximize) {
  TensorList p = tensors(params), v = tensors(square_avgs), t = tensors(steps), mean = tensors(grad_avgs),
             buffers = tensors(momentum_buffers);
  const Tensor rate = learning_rate(lr);
  ReleaseGil release(is_large(p));
  rmsprop_step_(p, v, t, mean, buffers, rate, alpha, eps, weight_decay, momentum, maximize);
}

Tensor norm_of_all(const py::list& list, double p) {
  const TensorList x = tensors(list);
  ReleaseGil release(is_large(x));
  return total_norm(x, p);
}
void scale_by_norm(const py::list& list, const Tensor& norm, double max_norm) {
  const TensorList x = tensors(list);
  ReleaseGil release(is_large(x));
  scale_by_norm_(x, norm, max_norm);
}
void clamp_all(const py::list& list, double low, double high) {
  const TensorList x = tensors(list);
  ReleaseGil release(is_large(x));
  clamp_all_(x, low, high);
}

}  // namespace

void bind_optimizers(py::module_& m) {
  m.def("sgd_step_", &sgd_step, "One step of SGD for a parameter group; None buffers are created in the list.");
  m.def("adam_step_", &adam_step, "One step of Adam or AdamW for a parameter group.");
  m.def("total_norm", &norm_of_all, "The norm of order p of a list of tensors taken together.");
  m.def("scale_by_norm_", &scale_by_norm, "Every tensor times min(1, max_norm / (total_norm + 1e-6)), in place.");
  m.def("clamp_all_", &clamp_all, "Every tensor clamped to [low, high], in place.");
  m.def("rmsprop_step_", &rmsprop_step, "One step of RMSprop for a parameter group.");
}

}  // namespace lamina::python
