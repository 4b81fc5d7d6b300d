// The Python tensor type: allocation, slots and identity. A tensor has at most one live Python object; the engine's
// side knows it through TensorImpl::python. See tensor.h; attributes and methods are in properties.cpp, rows in
// ops.cpp.
#include "python/tensor.h"

#include <structmember.h>

#include <cstddef>

#include "python/args.h"

namespace py = pybind11;

namespace lamina::python {

PyTypeObject* tensor_type = nullptr;

namespace {

// Objects of the exact type are kept for reuse: half of a small operator's time would go to the garbage collector's
// allocator otherwise. Guarded by the GIL.
constexpr int kFreeObjects = 64;
PyObject* free_objects[kFreeObjects];
int n_free = 0;

TensorObject* as_object(PyObject* o) { return reinterpret_cast<TensorObject*>(o); }

PyObject* allocate(PyTypeObject* type) {
  if (type == tensor_type && n_free > 0) {
    PyObject* o = free_objects[--n_free];
    Py_INCREF(type);
    _Py_NewReference(o);
    PyObject_GC_Track(o);
    return o;
  }
  PyObject* o = type->tp_alloc(type, 0);
  if (o) new (&as_object(o)->tensor) Tensor();
  return o;
}

void dealloc(PyObject* o) {
  TensorObject* self = as_object(o);
  PyTypeObject* type = Py_TYPE(o);
  PyObject_GC_UnTrack(o);
  if (self->weak) PyObject_ClearWeakRefs(o);
  Py_CLEAR(self->dict);
  if (self->tensor.defined() && self->tensor->python == o) self->tensor->python = nullptr;
  self->tensor = Tensor();
  if (type == tensor_type && n_free < kFreeObjects) {
    free_objects[n_free++] = o;
  } else {
    self->tensor.~Tensor();
    type->tp_free(o);
  }
  Py_DECREF(type);
}

int traverse(PyObject* o, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(o));
  Py_VISIT(as_object(o)->dict);
  return 0;
}

int clear(PyObject* o) {
  Py_CLEAR(as_object(o)->dict);
  return 0;
}

PyObject* refuse_new(PyTypeObject*, PyObject*, PyObject*) {
  PyErr_SetString(PyExc_TypeError, "Tensor: cannot be constructed directly; use lamina.tensor(data)");
  return nullptr;
}

// --- operators ---

using Unary = Tensor (*)(const Tensor&);
using Binary = Tensor (*)(const Tensor&, const Tensor&);

template <Unary fn>
PyObject* unary_slot(PyObject* a) {
  return guarded([&] {
    const Tensor& x = unwrap(a);
    Tensor out;
    {
      ReleaseGil release(is_large(x));
      out = fn(x);
    }
    return wrap(out);
  });
}

template <Binary fn>
PyObject* binary_slot(PyObject* a, PyObject* b) {
  return guarded([&]() -> PyObject* {
    bool left = is_tensor(a), right = is_tensor(b);
    Tensor number;
    if (!left || !right) {
      number = number_tensor(left ? b : a);
      if (!number.defined()) return Py_NewRef(Py_NotImplemented);
    }
    const Tensor& x = left ? unwrap(a) : number;
    const Tensor& y = right ? unwrap(b) : number;
    if (is_large(x) || is_large(y)) [[unlikely]] {
      Tensor out;
      {
        ReleaseGil release(true);
        out = fn(x, y);
      }
      return wrap(out);
    }
    return wrap(fn(x, y));
  });
}

template <Binary fn>
PyObject* inplace_slot(PyObject* a, PyObject* b) {
  return guarded([&]() -> PyObject* {
    Tensor other = operand(b);
    if (!other.defined()) return Py_NewRef(Py_NotImplemented);
    Tensor self = unwrap(a);
    inplace(self, [&](const Tensor& x) { return fn(x, other); }, "in-place operator");
    return Py_NewRef(a);
  });
}

PyObject* power_slot(PyObject* a, PyObject* b, PyObject* modulus) {
  if (modulus != Py_None) {
    PyErr_SetString(PyExc_TypeError, "pow: a modulus is not supported for tensors");
    return nullptr;
  }
  return binary_slot<&lamina::pow>(a, b);
}
PyObject* inplace_power_slot(PyObject* a, PyObject* b, PyObject*) { return inplace_slot<&lamina::pow>(a, b); }
PyObject* divmod_slot(PyObject* a, PyObject* b) {
  py::object quotient = py::reinterpret_steal<py::object>(binary_slot<&lamina::floor_divide>(a, b));
  if (!quotient || quotient.ptr() == Py_NotImplemented) return quotient.release().ptr();
  py::object rest = py::reinterpret_steal<py::object>(binary_slot<&lamina::remainder>(a, b));
  return rest ? PyTuple_Pack(2, quotient.ptr(), rest.ptr()) : nullptr;
}
// `tensor @ number` is an error in PyTorch too; there is no broadcasting of scalars.
PyObject* matmul_slot(PyObject* a, PyObject* b) {
  return guarded([&]() -> PyObject* {
    if (!is_tensor(a) || !is_tensor(b)) return Py_NewRef(Py_NotImplemented);
    const Tensor &x = unwrap(a), &y = unwrap(b);
    Tensor out;
    {
      ReleaseGil release(is_large(x) || is_large(y));
      out = matmul(x, y);
    }
    return wrap(out);
  });
}

PyObject* compare(PyObject* a, PyObject* b, int op) {
  switch (op) {
    case Py_LT:
      return binary_slot<&lamina::lt>(a, b);
    case Py_LE:
      return binary_slot<&lamina::le>(a, b);
    case Py_EQ:
      return binary_slot<&lamina::eq>(a, b);
    case Py_NE:
      return binary_slot<&lamina::ne>(a, b);
    case Py_GT:
      return binary_slot<&lamina::gt>(a, b);
    default:
      return binary_slot<&lamina::ge>(a, b);
  }
}

// --- conversions to Python numbers ---

const Tensor& one_element(PyObject* o, const char* what) {
  const Tensor& x = unwrap(o);
  LM_CHECK(x.numel() == 1, ValueError, what, ": a tensor of shape ", x.sizes(), " has ", x.numel(),
           " elements; need exactly one");
  return x;
}
int to_bool(PyObject* o) {
  int result = -1;
  PyObject* done = guarded([&]() -> PyObject* {
    const Tensor& x = unwrap(o);
    LM_CHECK(x.numel() == 1, ValueError, "bool: a tensor of shape ", x.sizes(), " has ", x.numel(),
             " elements, its truth value is ambiguous; use any() or all()");
    result = item_double(x) != 0;
    return Py_None;
  });
  return done ? result : -1;
}
PyObject* to_float(PyObject* o) {
  return guarded([&] { return PyFloat_FromDouble(item_double(one_element(o, "float"))); });
}
PyObject* to_int(PyObject* o) {
  return guarded([&]() -> PyObject* {
    const Tensor& x = one_element(o, "int");
    return x.is_floating() ? PyLong_FromDouble(item_double(x)) : PyLong_FromLongLong(item_int(x));
  });
}
PyObject* to_index(PyObject* o) {
  return guarded([&] {
    const Tensor& x = one_element(o, "index");
    LM_CHECK(!x.is_floating(), TypeError, "index: got a ", x.dtype(), " tensor; need an integer one");
    return PyLong_FromLongLong(item_int(x));
  });
}

// --- sequence protocol ---

Py_ssize_t length(PyObject* o) {
  const Tensor& x = unwrap(o);
  if (x.dim() > 0) return x.size(0);
  PyErr_SetString(PyExc_TypeError, "len() of a 0-d tensor");
  return -1;
}
PyObject* iterate(PyObject* o) {
  return guarded([&]() -> PyObject* {
    const Tensor& x = unwrap(o);
    LM_CHECK(x.dim() > 0, TypeError, "iteration over a 0-d tensor");
    TensorList parts = unbind(x, 0);
    py::object tuple = py::reinterpret_steal<py::object>(wrap_list(parts.data(), parts.size()));
    return PyObject_GetIter(tuple.ptr());
  });
}
int contains(PyObject* o, PyObject* value) {
  int found = -1;
  PyObject* done = guarded([&]() -> PyObject* {
    Tensor other = operand(value);
    LM_CHECK(other.defined(), TypeError, "in: cannot look for ", Py_TYPE(value)->tp_name, " in a tensor");
    found = any(eq(unwrap(o), other), std::nullopt, false).item_int() != 0;
    return Py_None;
  });
  return done ? found : -1;
}

// Written in Python: printing has no need to be fast.
PyObject* represent(PyObject* o) {
  return guarded(
      [&] { return py::module_::import("lamina._repr").attr("tensor_repr")(py::handle(o)).release().ptr(); });
}

PyMemberDef members[] = {{"__dictoffset__", T_PYSSIZET, offsetof(TensorObject, dict), READONLY, nullptr},
                         {"__weaklistoffset__", T_PYSSIZET, offsetof(TensorObject, weak), READONLY, nullptr},
                         {}};

#define SLOT(name, fn) {Py_##name, reinterpret_cast<void*>(fn)}
PyType_Slot slots[] = {SLOT(tp_dealloc, dealloc),
                       SLOT(tp_traverse, traverse),
                       SLOT(tp_clear, clear),
                       SLOT(tp_new, refuse_new),
                       SLOT(tp_members, members),
                       SLOT(tp_methods, tensor_methods),
                       SLOT(tp_getset, tensor_getset),
                       SLOT(tp_repr, represent),
                       SLOT(tp_richcompare, compare),
                       SLOT(tp_hash, _Py_HashPointer),
                       SLOT(tp_iter, iterate),
                       SLOT(nb_add, binary_slot<&lamina::add>),
                       SLOT(nb_subtract, binary_slot<&lamina::sub>),
                       SLOT(nb_multiply, binary_slot<&lamina::mul>),
                       SLOT(nb_true_divide, binary_slot<&lamina::div>),
                       SLOT(nb_floor_divide, binary_slot<&lamina::floor_divide>),
                       SLOT(nb_remainder, binary_slot<&lamina::remainder>),
                       SLOT(nb_divmod, divmod_slot),
                       SLOT(nb_power, power_slot),
                       SLOT(nb_matrix_multiply, matmul_slot),
                       SLOT(nb_and, binary_slot<&lamina::bitwise_and>),
                       SLOT(nb_or, binary_slot<&lamina::bitwise_or>),
                       SLOT(nb_xor, binary_slot<&lamina::bitwise_xor>),
                       SLOT(nb_lshift, binary_slot<&lamina::bitwise_left_shift>),
                       SLOT(nb_rshift, binary_slot<&lamina::bitwise_right_shift>),
                       SLOT(nb_negative, unary_slot<&lamina::neg>),
                       SLOT(nb_absolute, unary_slot<&lamina::abs>),
                       SLOT(nb_invert, unary_slot<&lamina::bitwise_not>),
                       SLOT(nb_inplace_add, inplace_slot<&lamina::add>),
                       SLOT(nb_inplace_subtract, inplace_slot<&lamina::sub>),
                       SLOT(nb_inplace_multiply, inplace_slot<&lamina::mul>),
                       SLOT(nb_inplace_true_divide, inplace_slot<&lamina::div>),
                       SLOT(nb_inplace_floor_divide, inplace_slot<&lamina::floor_divide>),
                       SLOT(nb_inplace_remainder, inplace_slot<&lamina::remainder>),
                       SLOT(nb_inplace_power, inplace_power_slot),
                       SLOT(nb_inplace_and, inplace_slot<&lamina::bitwise_and>),
                       SLOT(nb_inplace_or, inplace_slot<&lamina::bitwise_or>),
                       SLOT(nb_inplace_xor, inplace_slot<&lamina::bitwise_xor>),
                       SLOT(nb_bool, to_bool),
                       SLOT(nb_float, to_float),
                       SLOT(nb_int, to_int),
                       SLOT(nb_index, to_index),
                       SLOT(mp_length, length),
                       SLOT(mp_subscript, get_item),
                       SLOT(mp_ass_subscript, set_item),
                       SLOT(sq_contains, contains),
                       SLOT(bf_getbuffer, get_buffer),
                       SLOT(bf_releasebuffer, release_buffer),
                       {}};
#undef SLOT

PyType_Spec spec = {"lamina.Tensor", sizeof(TensorObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

}  // namespace

PyObject* wrap_as(PyTypeObject* type, const Tensor& tensor) {
  PyObject* o = allocate(type);
  if (!o) throw PythonError();
  as_object(o)->tensor = tensor;
  tensor->python = o;
  return o;
}

PyObject* wrap(const Tensor& tensor) {
  if (!tensor.defined()) return Py_NewRef(Py_None);
  if (tensor->python) return Py_NewRef(static_cast<PyObject*>(tensor->python));
  return wrap_as(tensor_type, tensor);
}

void translate_exception() noexcept {
  try {
    throw;
  } catch (const PythonError&) {
  } catch (py::error_already_set& e) {
    e.restore();
  } catch (const ValueError& e) {
    PyErr_SetString(PyExc_ValueError, e.what());
  } catch (const TypeError& e) {
    PyErr_SetString(PyExc_TypeError, e.what());
  } catch (const IndexError& e) {
    PyErr_SetString(PyExc_IndexError, e.what());
  } catch (const NotImplementedError& e) {
    PyErr_SetString(PyExc_NotImplementedError, e.what());
  } catch (const OutOfMemoryError& e) {
    PyErr_SetString(PyExc_MemoryError, e.what());
  } catch (const std::bad_alloc&) {
    PyErr_SetString(PyExc_MemoryError, "out of memory: need more than the system gives");
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  }
}

void make_tensor_type(py::module_& m) {
  tensor_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  if (!tensor_type) throw py::error_already_set();
  m.add_object("Tensor", reinterpret_cast<PyObject*>(tensor_type));
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      std::rethrow_exception(p);
    } catch (const PythonError&) {
    } catch (const Error&) {
      translate_exception();
    }
  });
}

}  // namespace lamina::python
