// x[key] and x[key] = value: Python's keys become a list of Index (ops/index.h), which does the work. Keys made of one
// integer or one slice, the common ones, take a short way. Errors: IndexError for what is out of range, TypeError for
// what cannot index. Next: ops/index.h.
#include "ops/index.h"

#include "core/mode.h"
#include "python/interop.h"

namespace py = pybind11;

namespace lamina::python {
namespace {

constexpr Py_ssize_t kFew = 4;

[[noreturn]] void wrong_key(const std::string& what) {
  fail<TypeError>("index: got ", what,
                  "; need integers, slices, None, Ellipsis, bools, or arrays or lists of integers or bools");
}

Index from_integer(PyObject* key) {
  int overflow = 0;
  int64_t value = PyLong_AsLongLongAndOverflow(key, &overflow);
  LM_CHECK(!overflow, IndexError, "index: ", std::string(py::str(py::handle(key))), " does not fit in 64 bits");
  return Index::integer(value);
}

// Bounds may be None and anything with __index__: NumPy's integers, tensors of one integer.
Index from_slice(PyObject* key) {
  Py_ssize_t start, stop, step;
  if (PySlice_Unpack(key, &start, &stop, &step) < 0) throw PythonError();
  LM_CHECK(step > 0, ValueError, "index: a slice with step ", step, "; need a step > 0 (flip() reverses)");
  return Index::slice(start, stop, step);
}

Index from_tensor(const Tensor& x) {
  if (x.is_floating()) wrong_key(str("a ", x.dtype(), " tensor of shape ", x.sizes()));
  if (x.dim() == 0 && x.dtype() == DType::Bool) return Index::boolean(item_int(x) != 0);
  if (x.dim() == 0) return Index::integer(item_int(x));
  LM_CHECK(x.dtype() != DType::U8, TypeError, "index: a uint8 tensor of shape ", x.sizes(),
           " could be a mask or positions; use .bool() for a mask, .long() for positions");
  return Index::of(x);
}

Index parse_one(PyObject* key) {
  if (PyBool_Check(key)) return Index::boolean(key == Py_True);
  if (PyLong_Check(key)) return from_integer(key);
  if (PySlice_Check(key)) return from_slice(key);
  if (key == Py_None) return Index::none();
  if (key == Py_Ellipsis) return Index::ellipsis();
  if (is_tensor(key)) return from_tensor(unwrap(key));
  if (PyList_Check(key) || PyTuple_Check(key)) {
    Tensor x = tensor_from_data(key, std::nullopt, "index", "index");
    return from_tensor(x.numel() == 0 ? cast(x, DType::I64) : x);  // [] selects nothing
  }
  if (PyIndex_Check(key) && !is_ndarray(key)) {  // NumPy's integers
    if (py::object number = py::reinterpret_steal<py::object>(PyNumber_Index(key))) return from_integer(number.ptr());
    PyErr_Clear();  // NumPy's bool says it is an index, and is not
  }
  if (PyBytes_Check(key) || PyUnicode_Check(key) || PyFloat_Check(key))
    wrong_key(str("a ", Py_TYPE(key)->tp_name, ", ", std::string(py::repr(key))));
  Tensor x = import_array(key, Sharing::kIfPossible, "index");
  if (!x.defined()) wrong_key(str("a ", Py_TYPE(key)->tp_name));
  return from_tensor(x);
}

// The key as a list, of which short ones need no allocation.
class Key {
 public:
  explicit Key(PyObject* key) {
    if (!PyTuple_Check(key)) {
      few_[0] = parse_one(key);
      size_ = 1;
      return;
    }
    size_ = size_t(PyTuple_GET_SIZE(key));
    if (size_ > kFew) many_.resize(size_);
    for (size_t i = 0; i < size_; ++i)
      (size_ > kFew ? many_[i] : few_[i]) = parse_one(PyTuple_GET_ITEM(key, Py_ssize_t(i)));
  }
  std::span<const Index> list() const { return {size_ > kFew ? many_.data() : few_, size_}; }
  bool is_view() const {
    for (const Index& index : list())
      if (index.kind == Index::kTensor || index.kind == Index::kBool) return false;
    return true;
  }

 private:
  Index few_[kFew];
  std::vector<Index> many_;
  size_t size_ = 0;
};

Tensor get(const Tensor& x, PyObject* key) {
  if (PyLong_CheckExact(key)) {
    int overflow = 0;
    int64_t at = PyLong_AsLongLongAndOverflow(key, &overflow);
    if (!overflow) return select(x, 0, at);
  }
  Key parsed(key);
  ReleaseGil release(!parsed.is_view() && is_large(x));
  return index_get(x, parsed.list());
}

// After `x[key] += y` Python assigns to x[key] the view that the addition has already changed: nothing is left to do. A
// detached view is another matter: it takes these elements of x out of the tape.
bool is_already_there(const Tensor& x, const Key& key, const Tensor& value) {
  if (!(x->storage == value->storage) || !key.is_view() || x.dtype() != value.dtype()) return false;
  if (x.requires_grad() != value.requires_grad()) return false;
  if (value.requires_grad() && value->view_version != value.version()) return false;
  NoGrad guard;
  Tensor place = index_get(x.alias(), key.list());
  return place.sizes() == value.sizes() && place.strides() == value.strides() && place->offset == value->offset;
}

Tensor value_of(PyObject* o) {
  if (is_tensor(o)) return unwrap(o);
  Tensor x = import_array(o, Sharing::kIfPossible, "index assignment");
  if (!x.defined()) x = number_tensor(o);
  return x.defined() ? x : tensor_from_data(o, std::nullopt, "index assignment", "value");
}

}  // namespace

PyObject* get_item(PyObject* self, PyObject* key) {
  return guarded([&] { return naming("index", [&] { return wrap(get(unwrap(self), key)); }); });
}

int set_item(PyObject* self, PyObject* key, PyObject* value) {
  PyObject* done = guarded([&]() -> PyObject* {
    LM_CHECK(value, TypeError, "index: elements of a tensor cannot be deleted");
    Tensor x = unwrap(self), v = value_of(value);
    if (!is_tensor(value)) v = to_device(v, x.device());
    Key parsed(key);
    if (is_already_there(x, parsed, v)) return Py_None;
    ReleaseGil release(is_large(v));
    if (v->storage == x->storage) v = clone(v);  // x[1:] = x[:-1] reads before it writes
    index_put(x, parsed.list(), v);
    return Py_None;
  });
  return done ? 0 : -1;
}

namespace {

// PyTorch's function form of assignment: one tensor of integers or bools per dimension, None for a whole dimension.
void put(Tensor x, py::object indices, const Tensor& values, bool accumulate) {
  LM_CHECK(is_nested(indices.ptr()), TypeError, "index_put: indices is a ", Py_TYPE(indices.ptr())->tp_name,
           "; need a tuple of tensors");
  std::vector<Index> list;
  for (py::handle index : indices)
    list.push_back(index.is_none() ? Index::slice(std::nullopt, std::nullopt) : parse_one(index.ptr()));
  ReleaseGil release(is_large(values));
  index_put(x, list, values, accumulate);
}

}  // namespace

// By hand and not from the table: a whole dimension may be given as None, and the in-place form copies nothing.
void bind_indexing() {
  auto in_place = [](py::object self, py::object indices, const Tensor& values, bool accumulate) {
    LM_CHECK(is_tensor(self.ptr()), TypeError, "index_put_: got ", Py_TYPE(self.ptr())->tp_name, "; need a Tensor");
    put(unwrap(self.ptr()), indices, values, accumulate);
    return self;
  };
  auto copied = [](const Tensor& x, py::object indices, const Tensor& values, bool accumulate) {
    Tensor out = clone(x);
    put(out, indices, values, accumulate);
    return out;
  };
  add_method("index_put_", in_place, "x[indices] = values, or += with accumulate, in place.", py::arg("indices"),
             py::arg("values"), py::arg("accumulate") = false);
  add_method("index_put", copied, "A copy of x in which x[indices] = values, or += with accumulate.",
             py::arg("indices"), py::arg("values"), py::arg("accumulate") = false);
  add_method(
      "__reversed__", [](const Tensor& x) { return x.dim() ? flip(x, Sizes(Shape{0})) : x; },
      "The rows in reverse order.");
}

}  // namespace lamina::python
