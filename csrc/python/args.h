// Arguments from Python: a row's signature text ("input, dim=None, *, dtype=None -> values, indices") gives names and
// defaults, its C++ function type gives the conversions. Positional and keyword arguments are bound by hand, because
// keywords cost pybind11 290 ns. Next: ops.cpp.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "ops/ops.h"
#include "python/tensor.h"

namespace lamina::python {

inline constexpr int kMaxArgs = 20;  // more than any row has, and than 16 sizes written one by one

struct Param {
  PyObject* name;      // interned
  PyObject* fallback;  // default value, or nullptr: required
  bool keyword_only;
};
struct Signature {
  std::vector<Param> params;
  std::vector<std::string> returns;  // names of a named tuple's fields
  int positional = 0;
};
Signature parse_signature(const char* text);

// Writes one value per parameter (borrowed; `holder` keeps a collected tuple of varargs alive). `varargs` is the
// position of a parameter that takes all remaining integers (or tensors), or -1. False: does not fit; with `op`,
// TypeError instead.
bool bind_arguments(const Signature& signature, int varargs, PyObject* const* args, Py_ssize_t n_args,
                    PyObject* kwnames, PyObject** values, pybind11::object& holder, const char* op);

bool truth(PyObject* o);           // bool(o), which may raise
const char* utf8(PyObject* text);  // of a str the user gave; UnicodeEncodeError
[[noreturn]] void wrong_type(const char* op, PyObject* name, const char* expected, PyObject* value);

// --- conversions: fits() is a quick test for overloads, get() converts or throws ---
struct Where {
  const char* op;
  PyObject* name;
};

bool is_integer(PyObject* o);
bool is_number(PyObject* o);           // of Python, NumPy or a 0-d tensor: what an operand may be
bool converts_to_number(PyObject* o);  // by __float__: what the data of tensor() may be
int64_t to_int64(PyObject* o, Where w);
double to_double(PyObject* o, Where w);
Scalar to_scalar(PyObject* o, Where w);
bool is_int_sequence(PyObject* o);
std::vector<int64_t> to_integers(PyObject* o, Where w);
Shape to_shape(PyObject* o, Where w);
bool is_tensor_sequence(PyObject* o);
TensorList to_tensors(PyObject* o, Where w);
bool is_device(PyObject* o);
Generator* to_generator(PyObject* o, Where w);
bool is_generator(PyObject* o);

template <class T>
struct From;

template <>
struct From<Tensor> {
  static constexpr const char* kType = "Tensor";
  static bool fits(PyObject* o) { return is_tensor(o); }
  static const Tensor& get(PyObject* o, Where w) {
    if (!is_tensor(o)) [[unlikely]]
      wrong_type(w.op, w.name, kType, o);
    return unwrap(o);
  }
};
template <>
struct From<Operand> {
  static constexpr const char* kType = "Tensor | Number";
  static bool fits(PyObject* o) { return is_tensor(o) || is_number(o); }
  static Operand get(PyObject* o, Where w) {
    Tensor x = operand(o);
    if (!x.defined()) wrong_type(w.op, w.name, "Tensor or number", o);
    return x;
  }
};
template <>
struct From<TensorList> {
  static constexpr const char* kType = "Sequence[Tensor]";
  static bool fits(PyObject* o) { return is_tensor_sequence(o); }
  static TensorList get(PyObject* o, Where w) { return to_tensors(o, w); }
};
template <>
struct From<int64_t> {
  static constexpr const char* kType = "int";
  static bool fits(PyObject* o) { return is_integer(o); }
  static int64_t get(PyObject* o, Where w) { return to_int64(o, w); }
};
template <>
struct From<double> {
  static constexpr const char* kType = "float";
  static bool fits(PyObject* o) { return is_number(o); }
  static double get(PyObject* o, Where w) { return to_double(o, w); }
};
template <>
struct From<bool> {
  static constexpr const char* kType = "bool";
  static bool fits(PyObject* o) { return PyBool_Check(o); }
  static bool get(PyObject* o, Where w) {
    if (o == Py_True || o == Py_False) return o == Py_True;
    if (!is_integer(o)) wrong_type(w.op, w.name, kType, o);
    return to_int64(o, w) != 0;
  }
};
template <>
struct From<Scalar> {
  static constexpr const char* kType = "Number";
  static bool fits(PyObject* o) { return is_number(o); }
  static Scalar get(PyObject* o, Where w) { return to_scalar(o, w); }
};
template <>
struct From<DType> {
  static constexpr const char* kType = "dtype";
  static bool fits(PyObject* o) { return is_dtype(o); }
  static DType get(PyObject* o, Where w) {
    if (!is_dtype(o)) wrong_type(w.op, w.name, "lamina.dtype", o);
    return dtype_from(o);
  }
};
template <>
struct From<Device> {
  static constexpr const char* kType = "device | str";
  static bool fits(PyObject* o) { return is_device(o); }
  static Device get(PyObject* o, Where) { return device_from(o); }
};
template <>
struct From<Shape> {
  static constexpr const char* kType = "int | Sequence[int]";
  static bool fits(PyObject* o) { return is_integer(o) || is_int_sequence(o); }
  static Shape get(PyObject* o, Where w) { return to_shape(o, w); }
};
template <>
struct From<Sizes> {
  static constexpr const char* kType = "int | Sequence[int]";
  static bool fits(PyObject* o) { return From<Shape>::fits(o); }
  static Sizes get(PyObject* o, Where w) { return to_shape(o, w); }
};
template <>
struct From<Tensors> {
  static constexpr const char* kType = "Tensor | Sequence[Tensor]";
  static bool fits(PyObject* o) { return is_tensor_sequence(o); }
  static Tensors get(PyObject* o, Where w) { return to_tensors(o, w); }
};
template <>
struct From<ShapePair> {
  static constexpr const char* kType = "Sequence[int | Sequence[int]]";
  static bool fits(PyObject* o) { return (PyTuple_Check(o) || PyList_Check(o)) && PySequence_Size(o) == 2; }
  static ShapePair get(PyObject* o, Where w) {
    if (!fits(o)) wrong_type(w.op, w.name, "two sequences of ints", o);
    return {to_shape(PySequence_Fast_GET_ITEM(o, 0), w), to_shape(PySequence_Fast_GET_ITEM(o, 1), w)};
  }
};
template <>
struct From<std::vector<int64_t>> {
  static constexpr const char* kType = "Sequence[int]";
  static bool fits(PyObject* o) { return is_int_sequence(o); }
  static std::vector<int64_t> get(PyObject* o, Where w) { return to_integers(o, w); }
};
template <>
struct From<std::string> {
  static constexpr const char* kType = "str";
  static bool fits(PyObject* o) { return PyUnicode_Check(o); }
  static std::string get(PyObject* o, Where w) {
    if (!PyUnicode_Check(o)) wrong_type(w.op, w.name, kType, o);
    return utf8(o);
  }
};
template <>
struct From<Generator*> {
  static constexpr const char* kType = "Generator | None";
  static bool fits(PyObject* o) { return o == Py_None || is_generator(o); }
  static Generator* get(PyObject* o, Where w) { return o == Py_None ? nullptr : to_generator(o, w); }
};
template <class T>
struct From<std::optional<T>> {
  static constexpr const char* kType = From<T>::kType;  // the stub adds "| None"
  static bool fits(PyObject* o) { return o == Py_None || From<T>::fits(o); }
  static std::optional<T> get(PyObject* o, Where w) {
    if (o == Py_None) return std::nullopt;
    return From<T>::get(o, w);
  }
};
template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

// --- results ---
PyObject* wrap_list(const Tensor* tensors, size_t n);
PyObject* wrap_named(const Tensor* tensors, size_t n, const char* op, const Signature& signature);

// Work worth letting other Python threads run for.
class ReleaseGil {
 public:
  explicit ReleaseGil(bool yes) : state_(yes ? PyEval_SaveThread() : nullptr) {}
  ~ReleaseGil() {
    if (state_) PyEval_RestoreThread(state_);
  }
  ReleaseGil(const ReleaseGil&) = delete;
  ReleaseGil& operator=(const ReleaseGil&) = delete;

 private:
  PyThreadState* state_;
};
// The only element of x. For one on a device that means waiting for all its work, while other threads go on.
inline double item_double(const Tensor& x) {
  ReleaseGil release(!x.device().is_cpu());
  return x.item_double();
}
inline int64_t item_int(const Tensor& x) {
  ReleaseGil release(!x.device().is_cpu());
  return x.item_int();
}
inline constexpr int64_t kReleaseGilElements = 8192;
template <class T>
bool is_large(const T& x) {
  if constexpr (std::is_base_of_v<Tensor, T>)
    return x.defined() && x.numel() >= kReleaseGilElements;
  else if constexpr (std::is_same_v<T, OptTensor>)
    return x && is_large(*x);
  else if constexpr (std::is_base_of_v<TensorList, T>) {
    for (const Tensor& y : x)
      if (is_large(y)) return true;
    return false;
  } else if constexpr (std::is_base_of_v<Shape, T>) {
    return x.size() > 0 && x.numel() >= kReleaseGilElements;
  } else {
    return false;
  }
}

}  // namespace lamina::python
