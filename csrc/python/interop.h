// Exchange of memory and data with Python objects: what data.cpp, interop.cpp, dlpack.cpp and indexing.cpp offer each
// other. The one idea: everything from outside becomes a Tensor by import_array (arrays, zero copy where possible) or
// tensor_from_data (numbers and nested lists, always a copy). Next: interop.cpp, data.cpp.
#pragma once
#include <optional>

#include "python/args.h"

namespace lamina::python {

// May the tensor look at the memory of the object it is made from?
enum class Sharing {
  kNever,       // copy
  kIfPossible,  // copy only what a tensor cannot describe or may not write to
  kAlways       // ValueError where that would need a copy
};

// --- buffer.cpp, dlpack.cpp ---
// An object with the buffer protocol, DLPack or NumPy's array interface: tensors, arrays, NumPy's scalars, bytearrays.
bool is_array(PyObject* object);
// Its elements. Undefined: it is no array.
Tensor import_array(PyObject* object, Sharing sharing, const char* op);
Tensor import_buffer(PyObject* object, Sharing sharing, const char* op);
Tensor import_dlpack(PyObject* object, Sharing sharing, const char* op);

// What a foreign array says about its memory. `strides` are in bytes and may be negative.
struct ForeignArray {
  void* data;
  DType dtype;
  Shape sizes, strides;
  bool readonly;
};
// Why a tensor cannot look at it, or nullptr.
const char* unshareable(const ForeignArray& array);
// A tensor that reads it in place; its strides must divide by the element size.
Tensor look_at(const ForeignArray& array, Storage::Release release, void* context);
// Its elements into `out`, row-major and of the same sizes and dtype.
void copy_foreign(const Tensor& out, const ForeignArray& array);

// --- nested.cpp ---
bool is_nested(PyObject* object);  // a list or a tuple
PyObject* tolist(PyObject* self, PyObject*);
// A new tensor outside the tape with the values of `data`: a number, nested sequences, a tensor, an array. The dtype is
// inferred as in PyTorch when none is given. `op` and `name` are for messages.
Tensor tensor_from_data(PyObject* data, std::optional<DType> dtype, const char* op, const char* name = "data");

bool is_ndarray(PyObject* object);                           // without importing NumPy
[[noreturn]] void buffer_error(const std::string& message);  // Python's BufferError
std::string dtype_list();                                    // "bool, uint8, ..." for messages

// A method or function with hand-bound arguments, see args.h: faster than pybind11's keywords.
struct FastCall {
  const char *name, *signature_text, *doc;
  PyObject* (*call)(PyObject* const* values);
  Signature signature = {};
};
using FastEntry = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);
template <FastCall& f>
PyObject* fast_function(PyObject*, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  return guarded([&] {
    PyObject* values[kMaxArgs];
    pybind11::object holder;
    bind_arguments(f.signature, -1, args, n, kwnames, values, holder, f.name);
    return f.call(values);
  });
}
void add_function(pybind11::module_& m, FastCall& f, FastEntry entry);

void bind_data(pybind11::module_& m);    // data.cpp
void bind_indexing();                    // indexing.cpp
void bind_dlpack(pybind11::module_& m);  // dlpack.cpp

// A method of the tensor type that is not worth a fast call.
template <class F, class... Extra>
void add_method(const char* name, F&& f, const char* doc, const Extra&... extra) {
  pybind11::handle type(reinterpret_cast<PyObject*>(tensor_type));
  pybind11::setattr(type, name,
                    pybind11::cpp_function(std::forward<F>(f), pybind11::name(name), pybind11::is_method(type),
                                           pybind11::doc(doc), extra...));
}

}  // namespace lamina::python
