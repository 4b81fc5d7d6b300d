// Binds the multi-tensor optimizer steps (ops/optim.h), which lamina.optim calls once per parameter group and step.
#include "ops/optim.h"

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

void sgd_step(const py::list& params, py::list momentum_buffers, double lr, double momentum, double dampening,
              double weight_decay, bool nesterov, bool maximize) {
  TensorList p = tensors(params), buffers = tensors(momentum_buffers);
  {
    ReleaseGil release(is_large(p));
    sgd_step_(p, buffers, lr, momentum, dampening, weight_decay, nesterov, maximize);
  }
  for (size_t i = 0; i < buffers.size(); ++i)  // the new ones
    if (buffers[i].defined() && momentum_buffers[i].is_none()) momentum_buffers[i] = py::cast(buffers[i]);
}

void adam_step(const py::list& params, const py::list& exp_avgs, const py::list& exp_avg_sqs, const py::list& steps,
               const py::list& max_exp_avg_sqs, double lr, double beta1, double beta2, double eps, double weight_decay,
               bool decoupled, bool maximize) {
  TensorList p = tensors(params), m = tensors(exp_avgs), v = tensors(exp_avg_sqs), t = tensors(steps),
             largest = tensors(max_exp_avg_sqs);
  ReleaseGil release(is_large(p));
  adam_step_(p, m, v, t, largest, lr, beta1, beta2, eps, weight_decay, decoupled, maximize);
}

void rmsprop_step(const py::list& params, const py::list& square_avgs, const py::list& steps, const py::list& grad_avgs,
                  const py::list& momentum_buffers, double lr, double alpha, double eps, double weight_decay,
                  double momentum, bool maximize) {
  TensorList p = tensors(params), v = tensors(square_avgs), t = tensors(steps), mean = tensors(grad_avgs),
             buffers = tensors(momentum_buffers);
  ReleaseGil release(is_large(p));
  rmsprop_step_(p, v, t, mean, buffers, lr, alpha, eps, weight_decay, momentum, maximize);
}

}  // namespace

void bind_optimizers(py::module_& m) {
  m.def("sgd_step_", &sgd_step, "One step of SGD for a parameter group; None buffers are created in the list.");
  m.def("adam_step_", &adam_step, "One step of Adam or AdamW for a parameter group.");
  m.def("rmsprop_step_", &rmsprop_step, "One step of RMSprop for a parameter group.");
}

}  // namespace lamina::python
