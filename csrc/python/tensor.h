// The Python tensor: a raw CPython heap type around lamina::Tensor (a pybind11 class costs three times as much per
// call), and a pybind11 type_caster, so that everything that is not hot binds with ordinary pybind11. Next: args.h,
// ops.cpp.
#pragma once
#include <Python.h>
#include <pybind11/pybind11.h>

#include "core/tensor.h"

namespace lamina::python {

struct TensorObject {
  PyObject_HEAD Tensor tensor;
  PyObject* dict;
  PyObject* weak;
};

extern PyTypeObject* tensor_type;

inline bool is_tensor(PyObject* object) {
  return Py_TYPE(object) == tensor_type || PyType_IsSubtype(Py_TYPE(object), tensor_type);
}
inline const Tensor& unwrap(PyObject* object) { return reinterpret_cast<TensorObject*>(object)->tensor; }
// A new reference; the same object as before while one is alive. None for an undefined tensor.
PyObject* wrap(const Tensor& tensor);
// The same tensor as an object of a subclass (Parameter).
PyObject* wrap_as(PyTypeObject* type, const Tensor& tensor);

// Thrown in C++ when the Python error is already set.
struct PythonError {};
// Turns the C++ exception in flight into the Python error.
void translate_exception() noexcept;

template <class F>
PyObject* guarded(F&& f) noexcept {
  try {
    return f();
  } catch (...) {
    translate_exception();
    return nullptr;
  }
}

// A Python number as a 0-d wrapped tensor; undefined when `object` is no number (NumPy's scalars are numbers too).
Tensor number_tensor(PyObject* object);
// For the operand of an operator: a tensor, a number, or undefined.
inline Tensor operand(PyObject* object) { return is_tensor(object) ? unwrap(object) : number_tensor(object); }

void make_tensor_type(pybind11::module_& m);
void bind_operators(pybind11::module_& m);  // rows of ops.def: functions and methods
void bind_autograd(pybind11::module_& m);
void bind_cuda(pybind11::module_& m);                          // devices, streams, events, graphs: lamina/cuda.py
void bind_properties(pybind11::module_& m);                    // dtype, device, attributes and cold methods
void bind_interop(pybind11::module_& m);                       // NumPy, DLPack, tensor(data)
void bind_optimizers(pybind11::module_& m);                    // optim.cpp
extern PyGetSetDef tensor_getset[];                            // properties.cpp
extern PyMethodDef tensor_methods[];                           // properties.cpp
PyObject* get_item(PyObject* self, PyObject* key);             // indexing.cpp
int set_item(PyObject* self, PyObject* key, PyObject* value);  // indexing.cpp
int get_buffer(PyObject* self, Py_buffer* view, int flags);    // interop.cpp
void release_buffer(PyObject* self, Py_buffer* view);          // interop.cpp

// dtypes and devices are Python objects made once.
PyObject* dtype_object(DType dtype);  // borrowed
bool is_dtype(PyObject* object);
DType dtype_from(PyObject* object);    // TypeError
Device device_from(PyObject* object);  // "cpu", "cuda:0", lamina.device; RuntimeError, TypeError
// For what is about CUDA only: None is the current device, a number its index. Need not exist. ValueError too.
Device cuda_device_from(PyObject* object);

}  // namespace lamina::python

namespace pybind11::detail {
template <>
struct type_caster<lamina::Tensor> {
  PYBIND11_TYPE_CASTER(lamina::Tensor, const_name("lamina.Tensor"));
  bool load(handle source, bool) {
    if (!source || !lamina::python::is_tensor(source.ptr())) return false;
    value = lamina::python::unwrap(source.ptr());
    return true;
  }
  static handle cast(const lamina::Tensor& x, return_value_policy, handle) { return lamina::python::wrap(x); }
};
template <>
struct type_caster<lamina::DType> {
  PYBIND11_TYPE_CASTER(lamina::DType, const_name("lamina.dtype"));
  type_caster() : value(lamina::DType::F32) {}
  bool load(handle source, bool) {
    if (!lamina::python::is_dtype(source.ptr())) return false;
    value = lamina::python::dtype_from(source.ptr());
    return true;
  }
  static handle cast(lamina::DType dtype, return_value_policy, handle) {
    return handle(lamina::python::dtype_object(dtype)).inc_ref();
  }
};
}  // namespace pybind11::detail
