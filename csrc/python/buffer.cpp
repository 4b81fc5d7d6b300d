// The buffer protocol both ways: a tensor's memory as a memoryview, and the memory of NumPy arrays, bytearrays and the
// like as a tensor. The one idea: a storage made from a buffer holds the buffer, and a buffer made from a tensor holds
// its storage, so memory lives as long as anybody looks at it. Next: interop.cpp.
#include <cstring>
#include <memory>

#include "python/interop.h"

namespace py = pybind11;

namespace lamina::python {
namespace {

// --- formats of the struct module ---

// 'l' rather than 'q': NumPy's int64 is the C type long where that has 64 bits.
const char* format_of(DType dtype) {
  static constexpr const char* kFormats[kDTypes] = {"?", "B",     "b", "h", "i", sizeof(long) == 8 ? "l" : "q",
                                                    "e", nullptr, "f", "d"};
  return kFormats[int(dtype)];
}

std::optional<DType> dtype_of_format(const char* format, Py_ssize_t itemsize) {
  if (!format) return DType::U8;
  bool native = *format == '@' || *format == '=' || *format == '<';  // this library runs on little-endian machines
  if (native || ((*format == '>' || *format == '!') && itemsize == 1)) ++format;
  if (!format[0] || format[1]) return std::nullopt;
  switch (format[0]) {
    case '?':
      return DType::Bool;
    case 'e':
      return DType::F16;
    case 'f':
      return DType::F32;
    case 'd':
      return DType::F64;
    case 'B':
      return DType::U8;
    case 'b':
      return DType::I8;
    case 'h':
    case 'i':
    case 'l':
    case 'q':
    case 'n':
      return itemsize == 2 ? DType::I16 : itemsize == 4 ? DType::I32 : DType::I64;
    default:
      return std::nullopt;
  }
}

// --- out: a tensor's memory as a buffer ---

struct Export {
  Ref<Storage> storage;  // stays alive even when the tensor's `data` is replaced
  Py_ssize_t shape[kMaxDims], strides[kMaxDims];
};

bool is_column_major(const Tensor& x) {
  int64_t step = 1;
  for (int i = 0; i < x.dim(); ++i) {
    if (x.size(i) > 1 && x.stride(i) != step) return false;
    step *= x.size(i);
  }
  return true;
}

void fill_buffer(PyObject* self, Py_buffer* view, int flags) {
  const Tensor& x = unwrap(self);
  view->obj = nullptr;
  if (!format_of(x.dtype())) buffer_error("buffer: bfloat16 has no format code; use x.view(lamina.int16) or x.float()");
  if (x.requires_grad())
    buffer_error("buffer: the tensor requires grad, and writes through a buffer are not recorded; use x.detach()");
  if (!x.device().is_cpu()) buffer_error(str("buffer: the tensor is on ", x.device(), "; use x.cpu()"));
  auto asks = [flags](int flag) { return (flags & flag) == flag; };
  bool rows = x.is_contiguous(), columns = is_column_major(x);
  bool fits = asks(PyBUF_C_CONTIGUOUS)     ? rows
              : asks(PyBUF_F_CONTIGUOUS)   ? columns
              : asks(PyBUF_ANY_CONTIGUOUS) ? rows || columns
                                           : rows || asks(PyBUF_STRIDES);
  if (!fits)
    buffer_error(str("buffer: the tensor of shape ", x.sizes(), " has strides ", x.strides(), "; use x.contiguous()"));
  Export* out = new Export{x->storage, {}, {}};
  for (int i = 0; i < x.dim(); ++i) {
    out->shape[i] = x.size(i);
    out->strides[i] = x.stride(i) * x.itemsize();
  }
  *view = {x.data(),
           Py_NewRef(self),
           Py_ssize_t(x.numel() * x.itemsize()),
           Py_ssize_t(x.itemsize()),
           /*readonly=*/0,
           x.dim(),
           asks(PyBUF_FORMAT) ? const_cast<char*>(format_of(x.dtype())) : nullptr,
           asks(PyBUF_ND) ? out->shape : nullptr,
           asks(PyBUF_STRIDES) ? out->strides : nullptr,
           nullptr,
           out};
}

// --- in: a buffer's memory as a tensor ---

PyObject* ndarray_type() {
  static PyObject* type = nullptr;
  if (!type) {
    py::object numpy = py::reinterpret_steal<py::object>(PyImport_GetModule(py::str("numpy").ptr()));
    if (!numpy) {
      PyErr_Clear();
      return nullptr;
    }
    type = py::object(numpy.attr("ndarray")).release().ptr();
  }
  return type;
}

// The last view may go in any thread, with or without the GIL, and after the interpreter's end, when nothing can be
// done.
void give_back(void* context) {
  if (!Py_IsInitialized()) return;
  PyGILState_STATE state = PyGILState_Ensure();
  Py_buffer* view = static_cast<Py_buffer*>(context);
  PyBuffer_Release(view);
  delete view;
  PyGILState_Release(state);
}

struct BufferDeleter {
  void operator()(Py_buffer* view) const { give_back(view); }
};
using Buffer = std::unique_ptr<Py_buffer, BufferDeleter>;

std::string dtype_text(PyObject* object, const Py_buffer* view) {
  if (py::hasattr(object, "dtype")) return str("dtype ", std::string(py::str(py::handle(object).attr("dtype"))));
  return str("format '", view && view->format ? view->format : "B", "'");
}

[[noreturn]] void unsupported(PyObject* object, const Py_buffer* view, const char* op) {
  fail<TypeError>(op, ": ", Py_TYPE(object)->tp_name, " of ", dtype_text(object, view), "; need one of ", dtype_list(),
                  ", in this machine's byte order (NumPy: astype())");
}

bool is_bfloat16_array(PyObject* object) {
  return std::string(py::str(py::handle(object).attr("dtype"))) == "bfloat16";
}

}  // namespace

void buffer_error(const std::string& message) {
  PyErr_SetString(PyExc_BufferError, message.c_str());
  throw PythonError();
}

std::string dtype_list() {
  std::string out = "bool";
  for (int i = 1; i < kDTypes; ++i) out += str(", ", DType(i));
  return out;
}

int get_buffer(PyObject* self, Py_buffer* view, int flags) {
  PyObject* done = guarded([&]() -> PyObject* {
    fill_buffer(self, view, flags);
    return Py_None;
  });
  return done ? 0 : -1;
}
void release_buffer(PyObject*, Py_buffer* view) { delete static_cast<Export*>(view->internal); }

bool is_ndarray(PyObject* object) {
  PyObject* type = ndarray_type();
  return type && PyObject_TypeCheck(object, reinterpret_cast<PyTypeObject*>(type));
}

const char* unshareable(const ForeignArray& a) {
  int64_t itemsize = item_size(a.dtype);
  if (a.readonly) return "is read-only, and tensors can be written to";
  if (reinterpret_cast<uintptr_t>(a.data) % itemsize) return "does not begin at a multiple of its element size";
  for (int i = 0; i < a.sizes.size(); ++i) {
    if (a.sizes[i] <= 1) continue;
    if (a.strides[i] < 0) return "has negative strides, and a tensor's are not";
    if (a.strides[i] % itemsize) return "has strides that are no multiples of its element size";
  }
  return nullptr;
}

Tensor look_at(const ForeignArray& a, Storage::Release release, void* context) {
  int64_t itemsize = item_size(a.dtype), last = 0;
  Shape strides = a.strides;
  for (int i = 0; i < strides.size(); ++i) {
    strides[i] = a.sizes[i] <= 1 ? 1 : strides[i] / itemsize;
    last += (a.sizes[i] - 1) * strides[i];
  }
  size_t nbytes = a.sizes.numel() ? size_t(last + 1) * itemsize : 0;
  return from_storage(Storage::external(a.data, nbytes, {}, release, context), a.sizes, strides, a.dtype);
}

void copy_foreign(const Tensor& out, const ForeignArray& array) {
  if (out.numel() == 0) return;
  ReleaseGil release(is_large(out));
  ForeignArray source = array;
  source.readonly = false;  // it is only read
  if (!unshareable(source)) return copy_into(out, look_at(source, nullptr, nullptr));
  // Negative or odd strides, which no tensor has: byte by byte.
  int64_t itemsize = out.itemsize(), n = out.numel(), index[kMaxDims] = {};
  char* to = static_cast<char*>(out.data());
  const char* from = static_cast<const char*>(array.data);
  for (int64_t i = 0; i < n; ++i, to += itemsize) {
    std::memcpy(to, from, size_t(itemsize));
    for (int d = array.sizes.size() - 1; d >= 0; --d) {
      from += array.strides[d];
      if (++index[d] < array.sizes[d]) break;
      from -= array.strides[d] * array.sizes[d];
      index[d] = 0;
    }
  }
}

Tensor import_buffer(PyObject* object, Sharing sharing, const char* op) {
  Py_buffer* raw = new Py_buffer;
  if (PyObject_GetBuffer(object, raw, PyBUF_FULL_RO) < 0) {
    delete raw;
    if (!is_ndarray(object)) throw PythonError();
    PyErr_Clear();  // NumPy's extended types have no format
    if (!is_bfloat16_array(object)) unsupported(object, nullptr, op);
    Tensor x = import_buffer(py::object(py::handle(object).attr("view")("int16")).ptr(), sharing, op);
    x->dtype = DType::BF16;
    return x;
  }
  Buffer view(raw);
  std::optional<DType> dtype = dtype_of_format(view->format, view->itemsize);
  if (!dtype || view->itemsize != item_size(*dtype)) unsupported(object, raw, op);
  LM_CHECK(view->ndim <= kMaxDims, ValueError, op, ": an array of ", view->ndim, " dimensions; need at most ",
           kMaxDims);
  ForeignArray array{view->buf, *dtype, {}, {}, bool(view->readonly)};
  for (int i = 0; i < view->ndim; ++i) array.sizes.push_back(view->shape ? view->shape[i] : view->len / view->itemsize);
  for (int i = 0; i < view->ndim; ++i)
    array.strides.push_back(view->strides ? view->strides[i] : row_major(array.sizes)[i] * view->itemsize);
  const char* reason = view->suboffsets ? "is made of pointers to rows" : unshareable(array);
  LM_CHECK(sharing != Sharing::kAlways || !reason, ValueError, op, ": a ", Py_TYPE(object)->tp_name, " of shape ",
           array.sizes, " ", reason, "; pass a copy, or use lamina.tensor()");
  if (sharing != Sharing::kNever && !reason && array.sizes.numel() > 0)
    return look_at(array, give_back, view.release());
  Tensor out = empty_tensor(array.sizes, *dtype);
  if (!view->suboffsets)
    copy_foreign(out, array);
  else if (PyBuffer_ToContiguous(out.data(), raw, raw->len, 'C') < 0)
    throw PythonError();
  return out;
}

bool is_array(PyObject* o) {
  if (PyFloat_CheckExact(o) || PyLong_Check(o) || PyUnicode_Check(o) || PyType_Check(o)) return false;
  return PyObject_CheckBuffer(o) || py::hasattr(o, "__dlpack__") || py::hasattr(o, "__array__") ||
         py::hasattr(o, "__array_interface__");
}

Tensor import_array(PyObject* object, Sharing sharing, const char* op) {
  if (!is_array(object)) return Tensor();
  if (PyObject_CheckBuffer(object)) return import_buffer(object, sharing, op);
  if (py::hasattr(object, "__dlpack__")) return import_dlpack(object, sharing, op);
  py::object array = py::module_::import("numpy").attr("asarray")(py::handle(object));
  return import_buffer(array.ptr(), sharing, op);
}

}  // namespace lamina::python
