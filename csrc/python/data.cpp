// lamina.tensor and its relatives as_tensor, asarray, from_numpy and frombuffer. The one idea: share_or_copy decides
// once whether a tensor may look at the memory of what it is made from. Next: interop.h, nested.cpp (lists).
#include "autograd/apply.h"
#include "python/interop.h"

namespace py = pybind11;

namespace lamina::python {
namespace {

PyObject* name_of(const char* name) { return PyUnicode_InternFromString(name); }

std::optional<DType> dtype_argument(PyObject* o, const char* op) {
  static PyObject* name = name_of("dtype");
  return From<std::optional<DType>>::get(o, {op, name});
}
std::optional<Device> device_argument(PyObject* o) {
  if (o == Py_None) return std::nullopt;
  return device_from(o);
}
bool flag_argument(PyObject* o, const char* op) {
  static PyObject* name = name_of("requires_grad");
  return From<bool>::get(o, {op, name});
}
bool pinned_argument(PyObject* o, const char* op) {
  static PyObject* name = name_of("pin_memory");
  return From<bool>::get(o, {op, name});
}

// x on `device`, if one was asked for and it is another.
Tensor place(const Tensor& x, std::optional<Device> device) {
  if (!device || *device == x.device()) return x;
  Tensor out = empty_tensor(x.sizes(), x.dtype(), *device);
  copy_into(out, x);
  return out;
}

// A new tensor as the caller gets it: on its device, a leaf of the tape if wanted.
PyObject* finish(Tensor x, PyObject* device, PyObject* requires_grad, const char* op) {
  x = place(x, device_argument(device));
  if (flag_argument(requires_grad, op)) {
    LM_CHECK(x.is_floating(), TypeError, op, ": requires_grad=True with dtype ", x.dtype(),
             "; only floating-point tensors can require gradients");
    if (!inference_mode()) check_not_inference(x, op);
    x->requires_grad = true;
  }
  return wrap(x);
}

// tensor(data, ...): always a copy
PyObject* call_tensor(PyObject* const* values) {
  Tensor x = tensor_from_data(values[0], dtype_argument(values[1], "tensor"), "tensor");
  if (!is_tensor(values[0])) x = place(x, default_device());
  if (pinned_argument(values[4], "tensor")) x = pin_memory(place(x, device_argument(values[2])));
  return finish(x, values[2], values[3], "tensor");
}

// The same elements where possible: `x` itself, or a view of an array's memory.
Tensor share_or_copy(PyObject* data, std::optional<DType> dtype, Sharing sharing, const char* op) {
  Tensor x = is_tensor(data) ? unwrap(data) : import_array(data, sharing, op);
  if (!x.defined()) {
    LM_CHECK(sharing != Sharing::kAlways, ValueError, op, ": copy=False, but a ", Py_TYPE(data)->tp_name,
             " has no memory that a tensor can share");
    return place(tensor_from_data(data, dtype, op), default_device());
  }
  DType wanted = dtype.value_or(x.dtype());
  LM_CHECK(sharing != Sharing::kAlways || wanted == x.dtype(), ValueError, op, ": ", x.dtype(), " to ", wanted,
           " needs a copy, and copy=False forbids one");
  if (sharing == Sharing::kNever && is_tensor(data) && wanted == x.dtype()) return clone(x);
  return cast(x, wanted);
}

PyObject* call_as_tensor(PyObject* const* values) {
  Tensor x = share_or_copy(values[0], dtype_argument(values[1], "as_tensor"), Sharing::kIfPossible, "as_tensor");
  return wrap(place(x, device_argument(values[2])));
}

PyObject* call_asarray(PyObject* const* values) {
  Sharing sharing = values[3] == Py_None   ? Sharing::kIfPossible
                    : values[3] == Py_True ? Sharing::kNever
                                           : Sharing::kAlways;
  Tensor x = share_or_copy(values[0], dtype_argument(values[1], "asarray"), sharing, "asarray");
  if (!flag_argument(values[4], "asarray")) return wrap(place(x, device_argument(values[2])));
  return finish(is_tensor(values[0]) ? x.alias() : x, values[2], values[4], "asarray");
}

PyObject* call_from_numpy(PyObject* const* values) {
  LM_CHECK(is_ndarray(values[0]), TypeError, "from_numpy: need a numpy.ndarray, got ", Py_TYPE(values[0])->tp_name,
           "; use lamina.tensor()");
  if (py::cast<int64_t>(py::handle(values[0]).attr("size")) == 0)  // no memory to share
    return wrap(import_buffer(values[0], Sharing::kNever, "from_numpy"));
  return wrap(import_buffer(values[0], Sharing::kAlways, "from_numpy"));
}

PyObject* call_frombuffer(PyObject* const* values) {
  static PyObject *count_name = name_of("count"), *offset_name = name_of("offset");
  LM_CHECK(values[1] != Py_None, TypeError, "frombuffer: dtype is None; a buffer has no dtype of its own");
  DType dtype = *dtype_argument(values[1], "frombuffer");
  int64_t count = to_int64(values[2], {"frombuffer", count_name}),
          offset = to_int64(values[3], {"frombuffer", offset_name});
  PyObject* buffer = values[0];
  LM_CHECK(PyObject_CheckBuffer(buffer), TypeError, "frombuffer: a ", Py_TYPE(buffer)->tp_name,
           " has no buffer; need bytearray, memoryview, array.array, ...");
  py::object bytes = py::reinterpret_steal<py::object>(PyMemoryView_FromObject(buffer));
  if (!bytes) throw PythonError();
  LM_CHECK(PyBuffer_IsContiguous(PyMemoryView_GET_BUFFER(bytes.ptr()), 'C'), ValueError,
           "frombuffer: the buffer is not contiguous; need one block of memory");
  int64_t nbytes = PyMemoryView_GET_BUFFER(bytes.ptr())->len, itemsize = item_size(dtype);
  LM_CHECK(offset >= 0 && offset <= nbytes, ValueError, "frombuffer: offset ", offset, " in a buffer of ", nbytes,
           " bytes; need 0 <= offset <= ", nbytes);
  LM_CHECK(count >= -1, ValueError, "frombuffer: count is ", count, "; need count >= 0, or -1 for all");
  if (count < 0) {
    LM_CHECK((nbytes - offset) % itemsize == 0, ValueError, "frombuffer: ", nbytes - offset, " bytes after offset ",
             offset, " are no whole number of ", dtype, " elements of ", itemsize,
             " bytes; need a multiple, or give count");
    count = (nbytes - offset) / itemsize;
  }
  LM_CHECK(count <= (nbytes - offset) / itemsize, ValueError, "frombuffer: ", count, " elements of ", dtype, " need ",
           itemsize, " bytes each, but ", nbytes - offset, " bytes follow offset ", offset);
  if (count == 0) return finish(empty_tensor({0}, dtype), Py_None, values[4], "frombuffer");
  // As bytes, then read as `dtype`: alignment is checked for the element type.
  py::object window = bytes.attr("cast")("B")[py::slice(offset, offset + count * itemsize, 1)];
  Tensor raw = import_buffer(window.ptr(), Sharing::kAlways, "frombuffer");
  LM_CHECK(reinterpret_cast<uintptr_t>(raw.data()) % size_t(itemsize) == 0, ValueError, "frombuffer: offset ", offset,
           " does not begin at a multiple of ", itemsize, " bytes, the size of ", dtype, "; need an aligned buffer");
  for (int64_t i = 0; dtype == DType::Bool && i < count; ++i)  // any other byte is no value of the C++ type
    LM_CHECK(raw.data<uint8_t>()[i] <= 1, ValueError, "frombuffer: element ", i, " is ", int(raw.data<uint8_t>()[i]),
             "; need 0 or 1 for bool");
  return finish(from_storage(raw->storage, {count}, {1}, dtype), Py_None, values[4], "frombuffer");
}

py::object new_tensor(const Tensor& x, py::object data, py::object dtype, py::object device, py::object requires_grad) {
  Tensor out =
      tensor_from_data(data.ptr(), dtype_argument(dtype.ptr(), "new_tensor").value_or(x.dtype()), "new_tensor");
  return py::reinterpret_steal<py::object>(finish(out, device.ptr(), requires_grad.ptr(), "new_tensor"));
}

FastCall tensor_call{
    "tensor", "data, *, dtype=None, device=None, requires_grad=False, pin_memory=False",
    "A new tensor with the values of a number, nested lists, an array or a tensor.\n\n"
    "Without dtype, floats become the default dtype and integers int64; arrays and tensors keep theirs. Lists\n"
    "may hold arrays and tensors of equal shapes. Raises ValueError for ragged lists and for numbers that do not\n"
    "fit the dtype.\n\n"
    ">>> lamina.tensor([[1.0, 2.0], [3.0, 4.0]]).shape\n(2, 2)\n",
    &call_tensor};
FastCall as_tensor_call{
    "as_tensor", "data, dtype=None, device=None",
    "`data` as a tensor: itself, a view of an array's memory where that is possible, else a copy.\n\n"
    ">>> lamina.as_tensor([1, 2])\ntensor([1, 2])\n",
    &call_as_tensor};
FastCall asarray_call{
    "asarray", "obj, *, dtype=None, device=None, copy=None, requires_grad=False",
    "As as_tensor; copy=True always copies, copy=False raises ValueError where a copy would be needed.\n\n"
    ">>> x = lamina.zeros(2)\n>>> lamina.asarray(x, copy=False) is x\nTrue\n",
    &call_asarray};
FastCall from_numpy_call{
    "from_numpy", "ndarray",
    "A tensor that shares the array's memory and keeps the array alive.\n\n"
    "Raises ValueError for arrays that are read-only or have negative strides, TypeError for dtypes no tensor has.\n\n"
    ">>> a = numpy.zeros(2)\n>>> lamina.from_numpy(a)[0] = 5\n>>> float(a[0])\n5.0\n",
    &call_from_numpy};
FastCall frombuffer_call{
    "frombuffer", "buffer, *, dtype, count=-1, offset=0, requires_grad=False",
    "A 1-d tensor that shares the memory of a writable buffer. `offset` is in bytes, `count` in elements.\n\n"
    ">>> lamina.frombuffer(bytearray(8), dtype=lamina.int32)\ntensor([0, 0], dtype=lamina.int32)\n",
    &call_frombuffer};

}  // namespace

void bind_data(py::module_& m) {
  add_function(m, tensor_call, &fast_function<tensor_call>);
  add_function(m, as_tensor_call, &fast_function<as_tensor_call>);
  add_function(m, asarray_call, &fast_function<asarray_call>);
  add_function(m, from_numpy_call, &fast_function<from_numpy_call>);
  add_function(m, frombuffer_call, &fast_function<frombuffer_call>);
  add_method("new_tensor", &new_tensor, "lamina.tensor(data) with this tensor's dtype.", py::arg("data"), py::kw_only(),
             py::arg("dtype") = py::none(), py::arg("device") = py::none(), py::arg("requires_grad") = false);
}

}  // namespace lamina::python
