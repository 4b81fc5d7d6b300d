// Autograd for Python: modes, backward and grad, hooks, and Function: an operator whose forward and backward are Python
// methods. The node of a Function owns the Python context; the context knows its node only while that lives.
#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include "autograd/apply.h"
#include "autograd/engine.h"
#include "python/args.h"

namespace py = pybind11;

namespace lamina::python {
namespace {

// A Python object owned by the engine: released with the GIL held, whichever thread drops it.
using Held = std::shared_ptr<py::object>;
Held hold(py::object object) {
  return Held(new py::object(std::move(object)), [](py::object* p) {
    py::gil_scoped_acquire gil;
    delete p;
  });
}

Tensor tensor_or_none(const py::object& o, const char* what) {
  if (o.is_none()) return Tensor();
  LM_CHECK(is_tensor(o.ptr()), TypeError, what, ": need a Tensor or None, got ", Py_TYPE(o.ptr())->tp_name);
  return unwrap(o.ptr());
}

// --- Function ---

struct PyNode final : Node {
  std::string label;
  Held context;  // the FunctionCtx object
  Ctx ctx;
  std::vector<Edge> edge_list;
  struct InputInfo {
    bool tensor;
    Shape sizes;
    DType dtype;
  };
  std::vector<InputInfo> inputs;  // per argument of forward
  std::vector<std::pair<Shape, DType>> output_info;
  bool materialize = true;

  const char* name() const override { return label.c_str(); }
  void release() override { ctx.release(); }
  void free_self() override {
    {
      py::gil_scoped_acquire gil;
      if (context) context->attr("_node") = py::none();
    }
    delete this;
  }

  Grads backward(Tensor* grads) override {
    py::gil_scoped_acquire gil;
    py::tuple arguments(outputs);
    for (int i = 0; i < outputs; ++i) {
      Tensor grad = grads[i];
      if (!grad.defined() && materialize) grad = full_tensor(output_info[i].first, 0, output_info[i].second);
      arguments[i] = py::reinterpret_steal<py::object>(wrap(grad));
    }
    py::object result = (*context).attr("_function").attr("backward")(*context, *arguments);
    py::tuple results = py::isinstance<py::tuple>(result) ? py::tuple(result) : py::make_tuple(result);
    // Trailing Nones may be given for arguments that were not passed.
    LM_CHECK(results.size() >= inputs.size(), RuntimeError, label, ": backward returned ", results.size(),
             " gradients, forward took ", inputs.size(), " arguments; need one each (None where there is none)");
    for (size_t i = inputs.size(); i < results.size(); ++i)
      LM_CHECK(results[i].is_none(), RuntimeError, label, ": backward returned ", results.size(),
               " gradients, forward took ", inputs.size(), " arguments; need one each");
    Grads out(edge_list.size());
    size_t edge = 0;
    for (size_t i = 0; i < inputs.size(); ++i) {
      py::object item = results[i];
      if (!inputs[i].tensor) {
        LM_CHECK(item.is_none(), RuntimeError, label, ": backward returned a gradient for argument ", i,
                 ", which is not a tensor; need None");
        continue;
      }
      Tensor grad = tensor_or_none(item, label.c_str());
      if (grad.defined() && grad.sizes() != inputs[i].sizes) {
        LM_CHECK(broadcast(grad.sizes(), inputs[i].sizes, label.c_str()) == grad.sizes(), ValueError, label,
                 ": backward returned a gradient of shape ", grad.sizes(), " for argument ", i, " of shape ",
                 inputs[i].sizes, "; need equal shapes, or one that broadcasts from it");
        grad = sum_to(grad, inputs[i].sizes);
      }
      out[edge++] = grad.defined() ? cast(grad, inputs[i].dtype) : grad;
    }
    return out;
  }
};

// Function.apply(*args): forward outside the tape, then one node for all outputs.
py::object function_apply(py::object cls, py::args args) {
  py::object context = py::module_::import("lamina.autograd.function").attr("FunctionCtx")(cls);
  Ref<PyNode> node(new PyNode);
  node->label = py::str(cls.attr("__name__"));
  bool wanted = false;
  py::tuple needs(args.size());
  for (size_t i = 0; i < args.size(); ++i) {
    PyObject* arg = args[i].ptr();
    bool tensor = is_tensor(arg);
    needs[i] = py::bool_(tensor && unwrap(arg).requires_grad() && grad_enabled());
    node->inputs.push_back(tensor ? PyNode::InputInfo{true, unwrap(arg).sizes(), unwrap(arg).dtype()}
                                  : PyNode::InputInfo{false, {}, DType::F32});
    if (!tensor) continue;
    if (grad_enabled() && wants_tape(unwrap(arg))) {
      check_tape_input(unwrap(arg), node->label.c_str());
      wanted = true;
      node->edge_list.push_back(gradient_edge(unwrap(arg)));
    } else {
      node->edge_list.emplace_back();
    }
  }
  context.attr("needs_input_grad") = needs;
  py::object result;
  {
    NoGrad guard;
    result = cls.attr("forward")(context, *args);
  }
  bool single = is_tensor(result.ptr());
  LM_CHECK(single || py::isinstance<py::tuple>(result) || py::isinstance<py::list>(result), TypeError, node->label,
           ": forward returned ", Py_TYPE(result.ptr())->tp_name, "; need a Tensor or a tuple of Tensors");
  py::tuple results = single ? py::make_tuple(result) : py::tuple(result);
  if (!wanted) return result;

  node->edges = node->edge_list.data();
  node->n_edges = int(node->edge_list.size());
  node->outputs = uint16_t(results.size());
  node->materialize = py::cast<bool>(context.attr("_materialize"));
  py::object dirty = context.attr("_dirty"), constant = context.attr("_non_differentiable");
  auto contains = [](const py::object& list, py::handle item) {
    for (py::handle x : list)
      if (x.is(item)) return true;
    return false;
  };
  py::tuple attached(results.size());
  TensorList outputs;
  for (size_t i = 0; i < results.size(); ++i) {
    py::object item = results[i];
    LM_CHECK(is_tensor(item.ptr()), TypeError, node->label, ": forward returned ", Py_TYPE(item.ptr())->tp_name,
             " as output ", i, "; need Tensors");
    Tensor out = unwrap(item.ptr());
    node->output_info.emplace_back(out.sizes(), out.dtype());
    bool is_input = contains(args, item);
    if (is_input && !contains(dirty, item)) out = out.alias();  // an input handed through gets a place of its own
    outputs.push_back(out);
  }
  // Saved before the outputs are attached, so that a saved input keeps its old place in the tape.
  py::tuple saved = context.attr("_to_save");
  for (py::handle item : saved) {
    if (item.is_none()) {
      node->ctx.save_for(node.get(), Tensor());
      continue;
    }
    LM_CHECK(is_tensor(item.ptr()), TypeError, node->label, ": save_for_backward takes Tensors and None, got ",
             Py_TYPE(item.ptr())->tp_name);
    int output = -1;
    for (size_t i = 0; i < results.size(); ++i)
      if (item.is(results[i]) && !contains(args, item)) output = int(i);
    node->ctx.save_for(node.get(), unwrap(item.ptr()), output);
  }
  for (size_t i = 0; i < results.size(); ++i) {
    if (!contains(constant, py::object(results[i]))) attach(outputs[i], node.get(), int(i), node->label.c_str());
    attached[i] = py::reinterpret_steal<py::object>(wrap(outputs[i]));
  }
  context.attr("_to_save") = py::tuple();
  context.attr("_node") = py::capsule(static_cast<void*>(node.get()));
  node->context = hold(context);
  if (mode_ & kAnomaly) note_origin(*node);
  return single ? py::object(attached[0]) : py::object(attached);
}

py::tuple saved_tensors(py::object node_capsule) {
  LM_CHECK(!node_capsule.is_none(), RuntimeError, "saved_tensors: only available in backward");
  auto* node = static_cast<PyNode*>(py::capsule(node_capsule).get_pointer());
  py::tuple out(node->ctx.saved_count());
  for (int i = 0; i < node->ctx.saved_count(); ++i)
    out[i] = py::reinterpret_steal<py::object>(wrap(node->ctx.saved(i)));
  return out;
}

// --- backward and grad ---

// Nones stand for gradients that are not given; `nones` says whether they are allowed.
TensorList tensor_list(const py::object& o, const char* what, bool nones = false) {
  if (is_tensor(o.ptr())) return {unwrap(o.ptr())};
  LM_CHECK(PySequence_Check(o.ptr()) || PyIter_Check(o.ptr()) || PyObject_HasAttrString(o.ptr(), "__iter__"), TypeError,
           what, ": got ", Py_TYPE(o.ptr())->tp_name, "; need a Tensor or a sequence of Tensors");
  TensorList out;
  for (py::handle item : o) {
    LM_CHECK(is_tensor(item.ptr()) || (nones && item.is_none()), TypeError, what, ": entry ", out.size(), " is a ",
             Py_TYPE(item.ptr())->tp_name, "; need a Tensor", nones ? " or None" : "");
    out.push_back(item.is_none() ? Tensor() : unwrap(item.ptr()));
  }
  return out;
}

BackwardOptions options_from(const py::object& retain_graph, bool create_graph) {
  return {retain_graph.is_none() ? create_graph : py::cast<bool>(retain_graph), create_graph};
}

void backward(py::object tensors, py::object grads, py::object retain_graph, bool create_graph, py::object inputs) {
  TensorList roots = tensor_list(tensors, "backward");
  TensorList seeds = grads.is_none() ? TensorList() : tensor_list(grads, "backward", true);
  BackwardOptions options = options_from(retain_graph, create_graph);
  if (inputs.is_none()) {
    py::gil_scoped_release release;
    return run_backward(roots, seeds, options);
  }
  TensorList wanted = tensor_list(inputs, "backward");
  TensorList out = run_grad(roots, seeds, wanted, options);
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (!out[i].defined()) continue;
    Tensor grad = create_graph ? out[i] : copy_dense(out[i]);
    wanted[i]->grad = (wanted[i]->grad ? add(Tensor(wanted[i]->grad), grad) : grad).ref();
  }
}

PyObject* method_backward(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  static Signature signature =
      parse_signature("input, gradient=None, retain_graph=None, create_graph=False, inputs=None");
  return guarded([&]() -> PyObject* {
    PyObject *all[kMaxArgs], *values[kMaxArgs];
    Py_ssize_t total = n + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    LM_CHECK(total < kMaxArgs, TypeError, "backward() got too many arguments");
    all[0] = self;
    for (Py_ssize_t i = 0; i < total; ++i) all[i + 1] = args[i];
    py::object holder;
    bind_arguments(signature, -1, all, n + 1, kwnames, values, holder, "backward");
    auto object = [&](int i) { return py::reinterpret_borrow<py::object>(values[i]); };
    py::object grads = values[1] == Py_None ? object(1) : py::object(py::make_tuple(object(1)));
    backward(object(0), grads, object(2), truth(values[3]), object(4));
    return Py_NewRef(Py_None);
  });
}

py::tuple grad(py::object outputs, py::object inputs, py::object grad_outputs, py::object retain_graph,
               bool create_graph, bool allow_unused) {
  TensorList roots = tensor_list(outputs, "grad"), wanted = tensor_list(inputs, "grad");
  TensorList seeds = grad_outputs.is_none() ? TensorList() : tensor_list(grad_outputs, "grad", true);
  TensorList out;
  {
    BackwardOptions options = options_from(retain_graph, create_graph);
    py::gil_scoped_release release;
    out = run_grad(roots, seeds, wanted, options);
  }
  py::tuple result(out.size());
  for (size_t i = 0; i < out.size(); ++i) {
    LM_CHECK(out[i].defined() || allow_unused, RuntimeError, "grad: input ", i, " of shape ", wanted[i].sizes(),
             " was not used to compute the outputs; pass allow_unused=True to get None");
    result[i] = py::reinterpret_steal<py::object>(wrap(out[i]));
  }
  return result;
}

// --- hooks ---

int64_t next_hook_id = 0;

py::object hook_handle(const Tensor& x, int64_t id, bool after) {
  Ref<Opaque> keep = x->hooks;
  auto remove = [keep, id, after] {
    auto* hooks = static_cast<TensorHooks*>(keep.get());
    auto drop = [id](auto& list) { std::erase_if(list, [id](auto& entry) { return entry.first == id; }); };
    after ? drop(hooks->after_accumulate) : drop(hooks->hooks);
  };
  return py::module_::import("lamina.autograd.function").attr("RemovableHandle")(py::cpp_function(remove));
}

py::object register_hook(const Tensor& x, py::object hook) {
  LM_CHECK(x.requires_grad(), RuntimeError,
           "register_hook: this tensor does not require grad, its hook would never run");
  LM_CHECK(PyCallable_Check(hook.ptr()), TypeError, "register_hook: need a callable, got ",
           Py_TYPE(hook.ptr())->tp_name);
  Held held = hold(hook);
  hooks_of(x).hooks.emplace_back(++next_hook_id, [held](const Tensor& grad) {
    py::gil_scoped_acquire gil;
    return tensor_or_none((*held)(grad), "hook");
  });
  return hook_handle(x, next_hook_id, false);
}

py::object register_post_accumulate_grad_hook(const Tensor& x, py::object hook) {
  LM_CHECK(x->requires_grad, RuntimeError, "register_post_accumulate_grad_hook: need a leaf tensor that requires grad");
  LM_CHECK(PyCallable_Check(hook.ptr()), TypeError, "register_post_accumulate_grad_hook: need a callable, got ",
           Py_TYPE(hook.ptr())->tp_name);
  Held held = hold(hook);
  TensorImpl* leaf = x.impl();
  hooks_of(x).after_accumulate.emplace_back(++next_hook_id, [held, leaf] {
    py::gil_scoped_acquire gil;
    (*held)(Tensor(Ref<TensorImpl>(leaf)));
  });
  return hook_handle(x, next_hook_id, true);
}

std::string python_caller() {
  py::gil_scoped_acquire gil;
  py::list lines = py::module_::import("traceback").attr("format_stack")();
  std::string text;
  for (py::handle line : lines) text += py::cast<std::string>(line);
  return text;
}

}  // namespace

void bind_autograd(py::module_& m) {
  describe_caller = &python_caller;
  m.def("is_grad_enabled", &grad_enabled);
  m.def("is_inference_mode_enabled", [] { return bool(mode_ & kInference); });
  // Sets the bits of `set`, clears those of `clear`, returns the mode before; 1 grad, 2 inference, 4 anomaly.
  m.def("_change_mode", [](uint8_t set, uint8_t clear) {
    uint8_t before = mode_;
    mode_ = uint8_t((mode_ & ~clear) | set);
    return before;
  });
  m.def("_set_mode", [](uint8_t mode) { mode_ = mode; });
  m.def("_function_apply", &function_apply);
  m.def("_saved_tensors", &saved_tensors);
  m.def("_backward", &backward, py::arg("tensors"), py::arg("grad_tensors") = py::none(),
        py::arg("retain_graph") = py::none(), py::arg("create_graph") = false, py::arg("inputs") = py::none());
  m.def("_grad", &grad, py::arg("outputs"), py::arg("inputs"), py::arg("grad_outputs") = py::none(),
        py::arg("retain_graph") = py::none(), py::arg("create_graph") = false, py::arg("allow_unused") = false);

  py::handle type(reinterpret_cast<PyObject*>(tensor_type));
  auto method = [&](const char* name, auto fn, const char* doc) {
    py::setattr(type, name, py::cpp_function(fn, py::name(name), py::is_method(type), py::doc(doc)));
  };
  method("register_hook", &register_hook,
         "Calls hook(grad) when the gradient of this tensor is known; may replace it.");
  method("register_post_accumulate_grad_hook", &register_post_accumulate_grad_hook,
         "Calls hook(self) after .grad changed.");
  method("is_inference", [](const Tensor& x) { return x->inference; }, "Whether it was made in inference_mode.");
  static PyMethodDef def{"backward", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&method_backward)),
                         METH_FASTCALL | METH_KEYWORDS,
                         "backward(gradient=None, retain_graph=None, create_graph=False, inputs=None)\n\n"
                         "Adds the gradient of this tensor to the .grad of every leaf it was computed from."};
  py::setattr(type, "backward", py::reinterpret_steal<py::object>(PyDescr_NewMethod(tensor_type, &def)));
}

}  // namespace lamina::python
