// How other Python libraries see a tensor: numpy(), __array__, NumPy's two function protocols, copies, and why pickling
// is refused. NumPy is imported at the first call that needs it. Its functions on tensors are in
// python/lamina/_numpy.py. Next: buffer.cpp, data.cpp, dlpack.cpp.
#include "python/interop.h"

#include <cstring>

namespace py = pybind11;

namespace lamina::python {

// A function of a Python module, imported at the first call and kept.
template <int>
PyObject* imported(const char* module, const char* name) {
  static PyObject* function = py::object(py::module_::import(module).attr(name)).release().ptr();
  return function;
}

py::object numpy_array(const Tensor& x, const char* op) {
  LM_CHECK(!x.requires_grad(), RuntimeError, op,
           ": the tensor requires grad, and NumPy would not record; use x.detach().numpy()");
  LM_CHECK(x.device().is_cpu(), RuntimeError, op, ": the tensor is on ", x.device(), "; use x.cpu().numpy()");
  py::handle asarray = imported<0>("numpy", "asarray");  // finds the buffer
  if (x.dtype() != DType::BF16) return asarray(x);
  py::object type;
  try {
    type = py::module_::import("ml_dtypes").attr("bfloat16");
  } catch (py::error_already_set&) {
    fail<TypeError>(op, ": NumPy has no bfloat16; install ml_dtypes, or use x.float().numpy()");
  }
  Tensor bits = x.alias();
  bits->dtype = DType::I16;
  return asarray(bits).attr("view")(type);
}

void add_function(py::module_& m, FastCall& f, FastEntry entry) {
  f.signature = parse_signature(f.signature_text);
  // "name(arguments)\n--\n" is where inspect.signature looks. Neither text nor definition is ever freed: a function
  // object refers to them for as long as the interpreter lives.
  const char* doc = (new std::string(str(f.name, '(', f.signature_text, ")\n--\n\n", f.doc)))->c_str();
  auto* def = new PyMethodDef{f.name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(entry)),
                              METH_FASTCALL | METH_KEYWORDS, doc};
  m.attr(f.name) = py::reinterpret_steal<py::object>(PyCFunction_NewEx(def, nullptr, m.attr("__name__").ptr()));
}

namespace {

py::object array_protocol(const Tensor& x, py::object dtype, py::object copy) {
  py::object array = numpy_array(x, "__array__");
  if (!dtype.is_none()) {
    py::object wanted = py::module_::import("numpy").attr("dtype")(dtype);
    if (!wanted.equal(array.attr("dtype"))) {
      LM_CHECK(copy.is_none() || py::cast<bool>(copy), ValueError, "__array__: ", x.dtype(), " to ",
               std::string(py::str(wanted)), " needs a copy, and copy=False forbids one");
      return array.attr("astype")(wanted);
    }
  }
  return !copy.is_none() && py::cast<bool>(copy) ? array.attr("copy")() : array;
}

// A new object of the same class around `copy`, with the attributes `attributes`.
py::object same_class(py::handle self, const Tensor& copy, py::object attributes) {
  auto* object = reinterpret_cast<TensorObject*>(wrap_as(Py_TYPE(self.ptr()), copy));
  if (attributes) object->dict = attributes.release().ptr();
  return py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(object));
}
py::object attributes_of(py::handle self) {
  return py::reinterpret_borrow<py::object>(reinterpret_cast<TensorObject*>(self.ptr())->dict);
}

// A method called through the class may get anything as self.
void check_self(py::handle self, const char* op) {
  LM_CHECK(is_tensor(self.ptr()), TypeError, op, ": got ", Py_TYPE(self.ptr())->tp_name, "; need a Tensor");
}

py::object shallow_copy(py::handle self) {
  check_self(self, "copy");
  const Tensor& x = unwrap(self.ptr());
  Tensor copy = x.alias();
  copy->wrapped = false;
  copy->requires_grad = x->requires_grad;
  copy->grad_fn = x->grad_fn;
  copy->output_index = x->output_index;
  copy->view_version = x->view_version;
  copy->base = x->base;
  py::object attributes = attributes_of(self);
  return same_class(self, copy, attributes ? attributes.attr("copy")() : attributes);
}

py::object deep_copy(py::handle self, py::object memo) {
  check_self(self, "deepcopy");
  const Tensor& x = unwrap(self.ptr());
  LM_CHECK(x.is_leaf(), RuntimeError, "deepcopy: the tensor of shape ", x.sizes(),
           " was computed on the tape; only leaves can be copied, use x.detach()");
  Tensor copy = copy_dense(x.alias());
  copy->requires_grad = x->requires_grad;
  if (x->grad) copy->grad = copy_dense(Tensor(x->grad).alias()).ref();
  py::object attributes = attributes_of(self);
  if (attributes) attributes = py::module_::import("copy").attr("deepcopy")(attributes, memo);
  return same_class(self, copy, attributes);
}

py::object refuse_pickle(py::handle self, py::object) {
  fail<TypeError>(Py_TYPE(self.ptr())->tp_name,
                  ": cannot be pickled, because loading a pickle runs code; use lamina.save(x, path) "
                  "and lamina.load(path), or x.numpy()");
}

PyObject* method_numpy(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  return guarded([&] {
    LM_CHECK(n == 0, TypeError, "numpy() takes no positional arguments, got ", n);
    bool force = false;
    for (Py_ssize_t i = 0; kwnames && i < PyTuple_GET_SIZE(kwnames); ++i) {
      const char* key = utf8(PyTuple_GET_ITEM(kwnames, i));
      LM_CHECK(!std::strcmp(key, "force"), TypeError, "numpy() got an unexpected keyword argument '", key, "'");
      force = py::cast<bool>(py::handle(args[i]));
    }
    const Tensor& x = unwrap(self);
    return numpy_array(force ? x.alias() : x, "numpy").release().ptr();
  });
}

// NumPy's functions on tensors are differentiable operators: see _numpy.py.
PyObject* array_ufunc(PyObject*, PyObject* args, PyObject* kwargs) {
  return guarded([&] { return PyObject_Call(imported<1>("lamina._numpy", "array_ufunc"), args, kwargs); });
}
PyObject* array_function(PyObject*, PyObject* args, PyObject* kwargs) {
  return guarded([&] { return PyObject_Call(imported<2>("lamina._numpy", "array_function"), args, kwargs); });
}

template <class F>
PyCFunction entry(F* function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}
PyMethodDef methods[] = {
    {"numpy", entry(method_numpy), METH_FASTCALL | METH_KEYWORDS,
     "numpy(*, force=False)\n\nA NumPy array that shares this tensor's memory; force=True detaches first."},
    {"tolist", tolist, METH_NOARGS, "The elements as nested Python lists, or as a number for a 0-d tensor."},
    {"__array_ufunc__", entry(array_ufunc), METH_VARARGS | METH_KEYWORDS,
     "NumPy's universal functions, recorded on the tape."},
    {"__array_function__", entry(array_function), METH_VARARGS | METH_KEYWORDS,
     "NumPy's other functions, recorded on the tape."}};

}  // namespace

void bind_interop(py::module_& m) {
  py::handle type(reinterpret_cast<PyObject*>(tensor_type));
  for (PyMethodDef& def : methods)
    py::setattr(type, def.ml_name, py::reinterpret_steal<py::object>(PyDescr_NewMethod(tensor_type, &def)));
  add_method("__array__", &array_protocol, "The elements as a NumPy array.", py::arg("dtype") = py::none(),
             py::arg("copy") = py::none());
  add_method("__copy__", &shallow_copy, "Another tensor on the same memory.");
  add_method("__deepcopy__", &deep_copy, "A copy of a leaf, its gradient and its attributes.", py::arg("memo"));
  add_method("__reduce_ex__", &refuse_pickle, "Pickling is refused.", py::arg("protocol"));
  // Over ndarray's 0: NumPy asks the tensor first.
  py::setattr(type, "__array_priority__", py::int_(1000));
  bind_data(m);
  bind_indexing();
  bind_dlpack(m);
}

}  // namespace lamina::python
