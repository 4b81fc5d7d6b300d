// Values from Python objects: numbers, nested lists with arrays in them, and tolist(), the way back. The one idea: a
// nested list is walked twice by the same walker, first to check its shape and find its dtype, then to write elements.
// Lists may change between and during the walks (an element's __float__ may run any code), so each walk checks lengths
// again. Next: data.cpp, the functions on top.
#include <limits>

#include "autograd/apply.h"
#include "ops/ops.h"
#include "python/interop.h"

namespace py = pybind11;

namespace lamina::python {

bool is_nested(PyObject* o) { return PyList_Check(o) || PyTuple_Check(o); }

namespace {

// Sequences that are neither text nor arrays: ranges, deques, a user's class.
bool is_other_sequence(PyObject* o) {
  return PySequence_Check(o) && !PyUnicode_Check(o) && !PyDict_Check(o) && !PyType_Check(o);
}

void copy_converted(const Tensor& to, const Tensor& from) {
  ReleaseGil release(is_large(to));
  copy_into(to, from);
}

// --- one element ---

// `where()` is the place of the element, for a message.
template <class T, class Where>
T from_double(double value, Where&& where) {
  if constexpr (std::is_same_v<T, bool>) {
    return value != 0;
  } else if constexpr (std::is_integral_v<T>) {
    // Truncates, so that everything between low - 1 and high fits; next to -2^63 doubles are farther apart than 1.
    double low = double(std::numeric_limits<T>::min());
    double high = std::is_unsigned_v<T> ? double(std::numeric_limits<T>::max()) + 1 : -low;
    LM_CHECK(value < high && (sizeof(T) == 8 ? value >= low : value > low - 1), ValueError, where(), " is ", value,
             ", which does not fit in ", dtype_of<T>);
    return T(value);
  } else if constexpr (std::is_same_v<T, double>) {
    return value;
  } else {
    return T(float(value));
  }
}

template <class T, class Where>
T from_int(PyObject* o, Where&& where) {
  int overflow = 0;
  long long value = PyLong_AsLongLongAndOverflow(o, &overflow);
  if (value == -1 && !overflow && PyErr_Occurred()) throw PythonError();
  if constexpr (std::is_same_v<T, bool>) {
    return overflow || value != 0;
  } else if constexpr (std::is_integral_v<T>) {
    LM_CHECK(!overflow && value >= std::numeric_limits<T>::min() && value <= std::numeric_limits<T>::max(), ValueError,
             where(), " is ", std::string(py::str(py::handle(o))), ", which does not fit in ", dtype_of<T>);
    return T(value);
  } else {
    double real = overflow ? PyLong_AsDouble(o) : double(value);
    if (real == -1 && PyErr_Occurred()) throw PythonError();
    return from_double<T>(real, where);
  }
}

template <class T, class Where>
T from_number(PyObject* o, Where&& where) {
  if (PyFloat_Check(o)) return from_double<T>(PyFloat_AS_DOUBLE(o), where);
  if (PyLong_Check(o)) return from_int<T>(o, where);
  py::object number = py::reinterpret_steal<py::object>(is_integer(o) ? PyNumber_Index(o) : PyNumber_Float(o));
  if (!number) throw PythonError();
  return from_number<T>(number.ptr(), where);
}

// --- nested sequences ---

class NestedReader {
 public:
  NestedReader(PyObject* data, const char* op, const char* name) : data_(data), op_(op), name_(name) {}

  Tensor read(std::optional<DType> dtype) {
    if (sizes_.empty()) find_shape();
    walk(data_, 0, [this](PyObject* o) { inspect(o); });
    Shape sizes = sizes_;
    for (int64_t n : block_sizes_) sizes.push_back(n);
    Tensor out = empty_tensor(sizes, dtype ? *dtype : inferred());
    dispatch_all(out.dtype(), [&]<class T>() { write(out, out.data<T>()); });
    return out;
  }

 private:
  // The lengths down the chain of first items; what stands at its end tells the shape of every leaf.
  void find_shape() {
    PyObject* o = data_;
    py::object keep;
    while (is_nested(o) || (!is_array(o) && !converts_to_number(o) && is_other_sequence(o))) {
      Py_ssize_t n = PySequence_Size(o);
      if (n < 0) throw PythonError();
      LM_CHECK(sizes_.size() < kMaxDims, ValueError, op_, ": ", name_, " is nested deeper than ", kMaxDims, " levels");
      sizes_.push_back(n);
      if (n == 0) return;
      keep = py::reinterpret_steal<py::object>(PySequence_GetItem(o, 0));
      if (!keep) throw PythonError();
      o = keep.ptr();
    }
    if (is_block(o)) block_sizes_ = block(o).sizes();
  }

  void check_shape(const Shape& expected) {
    find_shape();
    Shape have = sizes_;
    for (int64_t n : block_sizes_) have.push_back(n);
    LM_CHECK(have == expected, ValueError, op_, ": data is ragged: ", name_, " has shape ", have,
             ", the array before it ", expected, "; need equal shapes");
  }

  // Calls leaf(item) for every item at the innermost level, in order.
  template <class Leaf>
  void walk(PyObject* o, int depth, Leaf&& leaf) {
    if (depth == sizes_.size()) return leaf(o);
    py::object sequence = items(o, depth);
    PyObject* s = sequence.ptr();
    int64_t n = sizes_[depth];
    if (PySequence_Fast_GET_SIZE(s) != n)
      ragged(depth, str("has length ", PySequence_Fast_GET_SIZE(s)), str("has length ", n));
    for (int64_t i = 0; i < n; ++i) {
      check_unchanged(i < PySequence_Fast_GET_SIZE(s));
      at_[depth] = i;
      PyObject* item = PySequence_Fast_GET_ITEM(s, i);
      if (PyFloat_CheckExact(item) || PyLong_CheckExact(item)) {  // runs no code of the user's
        if (depth + 1 != sizes_.size()) ragged(depth + 1, "is a number", "is a sequence");
        leaf(item);
      } else {
        py::object keep = py::reinterpret_borrow<py::object>(item);
        walk(item, depth + 1, leaf);
      }
    }
  }

  // Arrays may stand where the first item was a list: then their rows do.
  py::object items(PyObject* o, int depth) {
    py::object fast;
    if (is_nested(o) || is_array(o) || (!converts_to_number(o) && is_other_sequence(o)))
      fast = py::reinterpret_steal<py::object>(PySequence_Fast(o, "need a sequence"));
    if (fast) return fast;
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_TypeError)) throw PythonError();
    PyErr_Clear();
    ragged(depth, str("is a ", Py_TYPE(o)->tp_name), "is a sequence");
  }

  void inspect(PyObject* o) {
    if (PyFloat_CheckExact(o))
      floats_ = true;
    else if (PyLong_CheckExact(o))
      ints_ = true;
    else if (PyBool_Check(o))
      bools_ = true;
    else if (is_block(o))
      return inspect_block(block(o));
    else if (converts_to_number(o))
      (is_integer(o) ? ints_ : floats_) = true;
    else if (is_nested(o) || is_other_sequence(o))
      ragged(sizes_.size(), str("is a ", Py_TYPE(o)->tp_name), "is a number");
    else
      fail<TypeError>(op_, ": ", position(sizes_.size()), " is a ", Py_TYPE(o)->tp_name,
                      "; need numbers, arrays or tensors");
    if (!block_sizes_.empty()) ragged(sizes_.size(), "is a number", str("has shape ", block_sizes_));
  }
  void inspect_block(const Tensor& x) {
    if (x.sizes() != block_sizes_) ragged(sizes_.size(), str("has shape ", x.sizes()), str("has shape ", block_sizes_));
    blocks_.push_back(x);
    array_type_ = array_type_ ? promote(*array_type_, x.dtype()) : x.dtype();
  }

  template <class T>
  void write(const Tensor& out, T* to) {
    int64_t block_numel = block_sizes_.numel();
    size_t next_block = 0;
    T* end = to + out.numel();
    auto where = [this] { return str(op_, ": ", position(sizes_.size())); };
    walk(data_, 0, [&](PyObject* o) {
      if (is_block(o)) {
        check_unchanged(next_block < blocks_.size() && block_numel <= end - to);
        const Tensor& x = blocks_[next_block++];
        copy_converted(out.with_layout(x.sizes(), row_major(x.sizes()), to - out.data<T>()), x);
        to += block_numel;
      } else {
        check_unchanged(to < end && converts_to_number(o));
        *to++ = from_number<T>(o, where);
      }
    });
    check_unchanged(to == end);
  }
  void check_unchanged(bool same) const { LM_CHECK(same, ValueError, op_, ": ", name_, " changed while it was read"); }

  DType inferred() const {
    std::optional<DType> out = array_type_;
    auto add = [&](bool seen, DType dtype) {
      if (seen) out = out ? promote(*out, dtype) : dtype;
    };
    add(bools_, DType::Bool);
    add(ints_, DType::I64);
    add(floats_, default_dtype());
    return out.value_or(default_dtype());
  }

  // Arrays, tensors and NumPy's numbers know their dtype and are copied whole; so are lists beside arrays.
  bool is_block(PyObject* o) const { return is_nested(o) ? !block_sizes_.empty() : is_array(o); }
  Tensor block(PyObject* o) const {
    if (is_tensor(o)) return unwrap(o).alias();
    if (is_nested(o)) {
      std::string name = position(sizes_.size());
      NestedReader reader(o, op_, name.c_str());
      reader.check_shape(block_sizes_);  // before it is read: a list may hold itself
      return reader.read(std::nullopt);
    }
    Tensor x = import_array(o, Sharing::kIfPossible, op_);
    LM_CHECK(x.defined(), TypeError, op_, ": cannot read a ", Py_TYPE(o)->tp_name);
    return x;
  }

  // "data[1][0]"
  std::string position(int depth) const {
    std::string out = name_;
    for (int i = 0; i < depth; ++i) out += str('[', at_[i], ']');
    return out;
  }
  [[noreturn]] void ragged(int depth, const std::string& found, const std::string& expected) const {
    std::string first = name_;
    for (int i = 0; i < depth; ++i) first += "[0]";
    fail<ValueError>(op_, ": ", name_, " is ragged: ", position(depth), " ", found, ", ", first, " ", expected,
                     "; need equal lengths at every level");
  }

  PyObject* data_;
  const char *op_, *name_;
  Shape sizes_, block_sizes_;
  int64_t at_[kMaxDims + 1] = {};  // where the walk is
  bool bools_ = false, ints_ = false, floats_ = false;
  std::optional<DType> array_type_;
  TensorList blocks_;
};

// --- tolist ---

template <class T>
PyObject* to_python(T value) {
  if constexpr (std::is_same_v<T, bool>)
    return Py_NewRef(value ? Py_True : Py_False);
  else if constexpr (std::is_integral_v<T>)
    return PyLong_FromLongLong(value);
  else if constexpr (std::is_same_v<T, double>)
    return PyFloat_FromDouble(value);
  else
    return PyFloat_FromDouble(double(float(value)));
}

template <class T>
PyObject* nested_list(const Tensor& x, const T* data, int dim) {
  if (dim == x.dim()) return to_python(*data);
  int64_t n = x.size(dim), stride = x.stride(dim);
  py::object out = py::reinterpret_steal<py::object>(PyList_New(n));
  if (!out) throw PythonError();
  bool innermost = dim + 1 == x.dim();
  for (int64_t i = 0; i < n; ++i) {
    PyObject* item = innermost ? to_python(data[i * stride]) : nested_list(x, data + i * stride, dim + 1);
    if (!item) throw PythonError();
    PyList_SET_ITEM(out.ptr(), i, item);
  }
  return out.release().ptr();
}

}  // namespace

Tensor tensor_from_data(PyObject* data, std::optional<DType> dtype, const char* op, const char* name) {
  if (is_nested(data)) return NestedReader(data, op, name).read(dtype);
  if (is_tensor(data)) {
    const Tensor& x = unwrap(data);
    Tensor out = empty_tensor(x.sizes(), dtype.value_or(x.dtype()), x.device());
    copy_converted(out, x);
    return out;
  }
  if (PyFloat_CheckExact(data) || PyLong_Check(data)) return NestedReader(data, op, name).read(dtype);
  Tensor x = import_array(data, dtype ? Sharing::kIfPossible : Sharing::kNever, op);
  if (x.defined()) {
    if (!dtype) return x;
    Tensor out = empty_tensor(x.sizes(), *dtype);
    copy_converted(out, x);
    return out;
  }
  LM_CHECK(converts_to_number(data) || (is_other_sequence(data) && !PyBytes_Check(data)), TypeError, op, ": ", name,
           " is a ", Py_TYPE(data)->tp_name,
           "; need a number, nested lists of numbers, a tensor, an array or a buffer");
  return NestedReader(data, op, name).read(dtype);
}

PyObject* tolist(PyObject* self, PyObject*) {
  return guarded([&] {
    const NoGrad guard;
    Tensor x = unwrap(self);
    if (!x.device().is_cpu()) {
      ReleaseGil release(true);
      x = to_device(x, Device());
    }
    return dispatch_all(x.dtype(), [&]<class T>() { return nested_list(x, x.data<T>(), 0); });
  });
}

}  // namespace lamina::python
