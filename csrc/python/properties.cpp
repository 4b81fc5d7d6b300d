// Attributes of the Python tensor, its hot methods (METH_FASTCALL), and dtype and device objects.
#include <pybind11/stl.h>

#include <cstring>
#include <tuple>

#include "autograd/apply.h"
#include "core/backend.h"
#include "python/args.h"

namespace py = pybind11;

namespace lamina::python {

// --- dtype ---

namespace {
struct DTypeObject {
  DType dtype;
};
PyObject* dtype_objects[kDTypes];
PyTypeObject* dtype_type = nullptr;
PyTypeObject* device_type = nullptr;
}  // namespace

PyObject* dtype_object(DType dtype) { return dtype_objects[int(dtype)]; }
bool is_dtype(PyObject* o) {
  return Py_TYPE(o) == dtype_type || o == reinterpret_cast<PyObject*>(&PyFloat_Type) ||
         o == reinterpret_cast<PyObject*>(&PyLong_Type) || o == reinterpret_cast<PyObject*>(&PyBool_Type);
}
DType dtype_from(PyObject* o) {
  for (int i = 0; i < kDTypes; ++i)
    if (dtype_objects[i] == o) return DType(i);
  if (o == reinterpret_cast<PyObject*>(&PyFloat_Type)) return DType::F64;
  if (o == reinterpret_cast<PyObject*>(&PyLong_Type)) return DType::I64;
  LM_CHECK(o == reinterpret_cast<PyObject*>(&PyBool_Type), TypeError, "dtype: got ", Py_TYPE(o)->tp_name,
           "; need a lamina dtype such as lamina.float32");
  return DType::Bool;
}

// --- device ---

bool is_device(PyObject* o) { return PyUnicode_Check(o) || Py_TYPE(o) == device_type; }
Device device_from(PyObject* o) {
  if (Py_TYPE(o) == device_type) return py::cast<Device>(py::handle(o));
  LM_CHECK(PyUnicode_Check(o), TypeError, "device: got ", Py_TYPE(o)->tp_name, "; need a string such as 'cpu'");
  std::string text = utf8(o);
  Device device;
  std::string type = text.substr(0, text.find(':'));
  LM_CHECK(type == "cpu" || type == "cuda", RuntimeError, "device: got '", text,
           "'; need 'cpu', 'cuda' or 'cuda:INDEX'");
  if (type == "cuda") device = current_cuda_device();
  if (type.size() < text.size()) {
    std::string index = text.substr(type.size() + 1);
    LM_CHECK(!index.empty() && index.size() <= 2 && index.find_first_not_of("0123456789") == std::string::npos,
             RuntimeError, "device: got '", text, "'; need an index such as in 'cuda:0'");
    device.index = int8_t(std::stoi(index));
  }
  if (!device.is_cpu()) backend(device);  // says why it cannot be used
  return device;
}

Device cuda_device_from(PyObject* o) {
  if (o == Py_None) return current_cuda_device();
  Device device;
  if (PyLong_Check(o)) {
    const long index = PyLong_AsLong(o);
    if (index == -1 && PyErr_Occurred()) throw PythonError();
    LM_CHECK(index >= 0 && index < 64, ValueError, "cuda: device index is ", index, "; need 0 to 63");
    device = {DeviceType::CUDA, int8_t(index)};
  } else {
    device = device_from(o);
  }
  LM_CHECK(device.is_cuda(), ValueError, "cuda: device is ", device, "; need a CUDA device");
  return device;
}

// The defaults that `with device(...)` blocks of this thread will restore.
std::vector<Device>& outer_devices() {
  static thread_local std::vector<Device> stack;
  return stack;
}

// --- attributes ---

namespace {

template <class F>
int guarded_set(F&& f) {
  PyObject* ok = guarded([&]() -> PyObject* {
    f();
    return Py_None;
  });
  return ok ? 0 : -1;
}

PyObject* shape_tuple(const Shape& shape) {
  PyObject* out = PyTuple_New(shape.size());
  for (int i = 0; i < shape.size(); ++i) PyTuple_SET_ITEM(out, i, PyLong_FromLongLong(shape[i]));
  return out;
}

PyObject* get_shape(PyObject* o, void*) { return shape_tuple(unwrap(o).sizes()); }
PyObject* get_dtype(PyObject* o, void*) { return Py_NewRef(dtype_object(unwrap(o).dtype())); }
PyObject* get_is_cuda(PyObject* o, void*) { return PyBool_FromLong(unwrap(o).device().is_cuda()); }
PyObject* get_device(PyObject* o, void*) { return py::cast(unwrap(o).device()).release().ptr(); }
PyObject* get_ndim(PyObject* o, void*) { return PyLong_FromLong(unwrap(o).dim()); }
PyObject* get_itemsize(PyObject* o, void*) { return PyLong_FromLongLong(unwrap(o).itemsize()); }
PyObject* get_nbytes(PyObject* o, void*) { return PyLong_FromLongLong(unwrap(o).itemsize() * unwrap(o).numel()); }
PyObject* get_version(PyObject* o, void*) { return PyLong_FromUnsignedLong(unwrap(o).version()); }
PyObject* get_is_leaf(PyObject* o, void*) { return PyBool_FromLong(unwrap(o).is_leaf()); }
PyObject* get_requires_grad(PyObject* o, void*) { return PyBool_FromLong(unwrap(o).requires_grad()); }
PyObject* get_output_nr(PyObject* o, void*) { return PyLong_FromLong(unwrap(o)->output_index); }
PyObject* get_base(PyObject* o, void*) {
  const Ref<TensorImpl>& base = unwrap(o)->base;
  return guarded([&] { return wrap(Tensor(base)); });
}
PyObject* get_transposed(PyObject* o, void*) {
  return guarded([&] {
    const Tensor& x = unwrap(o);
    Shape dims(x.dim(), 0);
    for (int i = 0; i < x.dim(); ++i) dims[i] = x.dim() - 1 - i;
    return wrap(permute(x, Sizes(dims)));
  });
}
PyObject* get_matrix_transposed(PyObject* o, void*) {
  return guarded([&] {
    LM_CHECK(unwrap(o).dim() >= 2, ValueError, "mT: a tensor of shape ", unwrap(o).sizes(),
             " has no matrices; need 2 dimensions");
    return wrap(transpose(unwrap(o), -2, -1));
  });
}

int set_requires_grad(PyObject* o, PyObject* value, void*) {
  return guarded_set([&] {
    const Tensor& x = unwrap(o);
    LM_CHECK(value && PyBool_Check(value), TypeError, "requires_grad: got ",
             value ? Py_TYPE(value)->tp_name : "a deletion", "; need a bool");
    bool wanted = value == Py_True;
    LM_CHECK(!x->grad_fn || wanted, RuntimeError,
             "requires_grad: only leaf tensors can be taken out of the tape; use detach()");
    LM_CHECK(!wanted || x.is_floating(), TypeError,
             "requires_grad: only floating-point tensors can require gradients, this is ", x.dtype());
    if (wanted && !inference_mode()) check_not_inference(x, "requires_grad");  // inside, modules make parameters
    if (!x->grad_fn) x->requires_grad = wanted;
  });
}

PyObject* get_grad(PyObject* o, void*) {
  const Tensor& x = unwrap(o);
  return guarded([&] {
    if (x->grad_fn && x->hooks) return wrap(static_cast<TensorHooks*>(x->hooks.get())->retained);
    return wrap(Tensor(x->grad));
  });
}
int set_grad(PyObject* o, PyObject* value, void*) {
  return guarded_set([&] {
    const Tensor& x = unwrap(o);
    if (!value || value == Py_None) {
      x->grad.reset();
      if (x->hooks) static_cast<TensorHooks*>(x->hooks.get())->retained = Tensor();
      return;
    }
    LM_CHECK(is_tensor(value), TypeError, "grad: need a Tensor or None, got ", Py_TYPE(value)->tp_name);
    const Tensor& grad = unwrap(value);
    LM_CHECK(grad.sizes() == x.sizes(), ValueError, "grad: the gradient has shape ", grad.sizes(), ", the tensor ",
             x.sizes(), "; need equal shapes");
    LM_CHECK(grad.dtype() == x.dtype(), TypeError, "grad: the gradient has dtype ", grad.dtype(), ", the tensor ",
             x.dtype(), "; need equal dtypes");
    LM_CHECK(!grad.is(x), ValueError, "grad: a tensor cannot be its own gradient");
    x->grad = grad.ref();
  });
}

// `data`: the same elements outside the tape, and outside its version checks, as in PyTorch.
PyObject* get_data(PyObject* o, void*) {
  return guarded([&] { return wrap(unwrap(o).alias()); });
}
int set_data(PyObject* o, PyObject* value, void*) {
  return guarded_set([&] {
    LM_CHECK(value && is_tensor(value), TypeError, "data: got ", value ? Py_TYPE(value)->tp_name : "a deletion",
             "; need a Tensor");
    const Tensor &x = unwrap(o), &y = unwrap(value);
    LM_CHECK(!x->grad_fn, RuntimeError, "data: only the data of a leaf tensor can be replaced");
    LM_CHECK(!x->requires_grad || y.is_floating(), TypeError, "data: a tensor that requires grad cannot become ",
             y.dtype());
    x->storage = y->storage;
    x->offset = y->offset;
    x->sizes = y->sizes;
    x->strides = y->strides;
    x->dtype = y->dtype;
    x->contiguous = y->contiguous;
    x->base.reset();
  });
}

struct NodeObject {
  Ref<Node> node;
};
PyObject* get_grad_fn(PyObject* o, void*) {
  return guarded([&]() -> PyObject* {
    const Tensor& x = unwrap(o);
    if (x->base) refresh_view(x);
    if (!x->grad_fn) return Py_NewRef(Py_None);
    return py::cast(NodeObject{Ref<Node>(static_cast<Node*>(x->grad_fn.get()))}).release().ptr();
  });
}

// --- hot methods ---

PyObject* method_size(PyObject* o, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    const Tensor& x = unwrap(o);
    if (n == 0) return shape_tuple(x.sizes());
    static PyObject* name = PyUnicode_InternFromString("dim");
    LM_CHECK(n == 1, TypeError, "size() takes at most 1 argument, got ", n);
    LM_CHECK(x.dim() > 0, IndexError, "size: a 0-d tensor has no dimensions");
    return PyLong_FromLongLong(x.size(wrap_dim(to_int64(args[0], {"size", name}), x.dim(), "size")));
  });
}
PyObject* method_stride(PyObject* o, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    const Tensor& x = unwrap(o);
    if (n == 0) return shape_tuple(x.strides());
    static PyObject* name = PyUnicode_InternFromString("dim");
    LM_CHECK(n == 1, TypeError, "stride() takes at most 1 argument, got ", n);
    LM_CHECK(x.dim() > 0, IndexError, "stride: a 0-d tensor has no dimensions");
    return PyLong_FromLongLong(x.stride(wrap_dim(to_int64(args[0], {"stride", name}), x.dim(), "stride")));
  });
}
PyObject* method_dim(PyObject* o, PyObject*) { return PyLong_FromLong(unwrap(o).dim()); }
PyObject* method_numel(PyObject* o, PyObject*) { return PyLong_FromLongLong(unwrap(o).numel()); }
PyObject* method_element_size(PyObject* o, PyObject*) { return PyLong_FromLongLong(unwrap(o).itemsize()); }
PyObject* method_data_ptr(PyObject* o, PyObject*) { return PyLong_FromVoidPtr(unwrap(o).data()); }
PyObject* method_storage_offset(PyObject* o, PyObject*) { return PyLong_FromLongLong(unwrap(o)->offset); }
PyObject* method_is_contiguous(PyObject* o, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  return guarded([&]() -> PyObject* {
    const Py_ssize_t named = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    if (n + named == 0) return PyBool_FromLong(unwrap(o).is_contiguous());
    LM_CHECK(n + named == 1 && (!named || !std::strcmp(utf8(PyTuple_GET_ITEM(kwnames, 0)), "memory_format")), TypeError,
             "is_contiguous() takes at most one argument, memory_format");
    static PyObject* name = PyUnicode_InternFromString("memory_format");
    return PyBool_FromLong(is_contiguous(unwrap(o), From<std::string>::get(args[0], {"is_contiguous", name})));
  });
}
PyObject* method_is_floating_point(PyObject* o, PyObject*) { return PyBool_FromLong(unwrap(o).is_floating()); }
PyObject* method_item(PyObject* o, PyObject*) {
  return guarded([&]() -> PyObject* {
    const Tensor& x = unwrap(o);
    if (x.is_floating()) return PyFloat_FromDouble(item_double(x));
    int64_t value = item_int(x);
    return x.dtype() == DType::Bool ? PyBool_FromLong(value != 0) : PyLong_FromLongLong(value);
  });
}
// The same elements outside the tape. Shares the version counter: a change through it is noticed.
PyObject* method_detach(PyObject* o, PyObject*) {
  return guarded([&] { return wrap(unwrap(o).alias()); });
}
PyObject* method_detach_(PyObject* o, PyObject*) {
  return guarded([&] {
    const Tensor& x = unwrap(o);
    LM_CHECK(!x->base || !x->grad_fn, RuntimeError,
             "detach_: a view in the tape cannot be detached in place; use detach()");
    x->grad_fn.reset();
    x->requires_grad = false;
    return Py_NewRef(o);
  });
}
// f(values) with the arguments of a method bound to `signature`, whose first parameter is the tensor.
template <class F>
PyObject* with_arguments(const char* name, const Signature& signature, PyObject* o, PyObject* const* args, Py_ssize_t n,
                         PyObject* kwnames, F&& f) {
  return guarded([&]() -> PyObject* {
    PyObject *all[kMaxArgs], *values[kMaxArgs];
    Py_ssize_t total = n + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    LM_CHECK(total < kMaxArgs, TypeError, name, "() takes at most ", signature.params.size() - 1, " arguments, got ",
             total);
    all[0] = o;
    for (Py_ssize_t i = 0; i < total; ++i) all[i + 1] = args[i];
    py::object holder;
    bind_arguments(signature, -1, all, n + 1, kwnames, values, holder, name);
    return f(values);
  });
}
PyObject* method_requires_grad_(PyObject* o, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  static const Signature signature = parse_signature("input, requires_grad=True");
  return with_arguments("requires_grad_", signature, o, args, n, kwnames, [&](PyObject** values) {
    return set_requires_grad(o, values[1], nullptr) < 0 ? nullptr : Py_NewRef(o);
  });
}

// to(dtype), to(device), to(device, dtype), to(other), then non_blocking, copy: x itself when nothing changes.
PyObject* method_to(PyObject* o, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  return guarded([&]() -> PyObject* {
    const Tensor& x = unwrap(o);
    DType dtype = x.dtype();
    Device device = x.device();
    bool flags[2] = {}, &non_blocking = flags[0], &copy = flags[1];
    int positional_flags = 0;
    std::string format;
    auto take = [&](PyObject* value) {
      if (value == Py_None) return;
      if (is_tensor(value))
        std::tie(dtype, device) = std::make_pair(unwrap(value).dtype(), unwrap(value).device());
      else if (is_dtype(value))
        dtype = dtype_from(value);
      else
        device = device_from(value);
    };
    for (Py_ssize_t i = 0; i < n; ++i) {
      if (PyBool_Check(args[i]) && i > 0 && positional_flags < 2)
        flags[positional_flags++] = args[i] == Py_True;
      else
        take(args[i]);
    }
    for (Py_ssize_t k = 0; kwnames && k < PyTuple_GET_SIZE(kwnames); ++k) {
      std::string key = utf8(PyTuple_GET_ITEM(kwnames, k));
      PyObject* value = args[n + k];
      if (key == "dtype" || key == "device" || key == "other")
        take(value);
      else if (key == "copy")
        copy = truth(value);
      else if (key == "non_blocking")
        non_blocking = truth(value);
      else if (key == "memory_format")
        format = value == Py_None ? "" : From<std::string>::get(value, {"to", PyTuple_GET_ITEM(kwnames, k)});
      else
        fail<TypeError>("to() got an unexpected keyword argument '", key, "'");
    }
    if (format == "preserve_format") format.clear();
    const bool reorder = !format.empty() && !is_contiguous(x, format);
    if (dtype == x.dtype() && device == x.device() && !copy && !reorder) return Py_NewRef(o);
    Tensor out;
    {
      ReleaseGil release(is_large(x) || device != x.device());
      const bool same = dtype == x.dtype() && device == x.device() && !reorder;
      // The copy between devices comes last: without waiting, nothing may read its result yet.
      Tensor ready = same ? clone(x) : cast(x, dtype);
      if (!format.empty()) ready = contiguous(ready, format);
      out = to_device(ready, device, non_blocking);
    }
    return wrap(out);
  });
}
template <DType kTo>
PyObject* method_cast(PyObject* o, PyObject*) {
  return guarded([&]() -> PyObject* { return unwrap(o).dtype() == kTo ? Py_NewRef(o) : wrap(cast(unwrap(o), kTo)); });
}
PyObject* moved(PyObject* o, Device device, bool non_blocking = false) {
  const Tensor& x = unwrap(o);
  if (x.device() == device) return Py_NewRef(o);
  Tensor out;
  {
    ReleaseGil release(true);
    out = to_device(x, device, non_blocking);
  }
  return wrap(out);
}
PyObject* method_cpu(PyObject* o, PyObject*) {
  return guarded([&] { return moved(o, Device()); });
}
PyObject* method_cuda(PyObject* o, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  static const Signature signature = parse_signature("input, device=None, non_blocking=False");
  return with_arguments("cuda", signature, o, args, n, kwnames, [&](PyObject** values) {
    const Device device = cuda_device_from(values[1]);
    backend(device);
    return moved(o, device, truth(values[2]));
  });
}
PyObject* method_pin_memory(PyObject* o, PyObject*) {
  return guarded([&] {
    const Tensor& x = unwrap(o);
    Tensor out;
    {
      ReleaseGil release(is_large(x));
      out = pin_memory(x);
    }
    return wrap(out);
  });
}
PyObject* method_is_pinned(PyObject* o, PyObject*) {
  return guarded([&] { return PyBool_FromLong(is_pinned(unwrap(o))); });
}
PyObject* method_type(PyObject* o, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    const Tensor& x = unwrap(o);
    if (n == 0) return PyUnicode_FromFormat("lamina.%s", dtype_name(x.dtype()));
    DType dtype = dtype_from(args[0]);
    return dtype == x.dtype() ? Py_NewRef(o) : wrap(cast(x, dtype));
  });
}
PyObject* method_type_as(PyObject* o, PyObject* other) {
  return guarded([&]() -> PyObject* {
    LM_CHECK(is_tensor(other), TypeError, "type_as: need a Tensor, got ", Py_TYPE(other)->tp_name);
    return wrap(cast(unwrap(o), unwrap(other).dtype()));
  });
}
PyObject* method_retain_grad(PyObject* o, PyObject*) {
  return guarded([&]() -> PyObject* {
    const Tensor& x = unwrap(o);
    LM_CHECK(x.requires_grad(), RuntimeError, "retain_grad: this tensor does not require grad");
    if (!x.is_leaf()) hooks_of(x).retains_grad = true;
    return Py_NewRef(Py_None);
  });
}
PyObject* method_fill_(PyObject* o, PyObject* value) {
  return guarded([&] {
    Tensor self = unwrap(o), number = operand(value);
    LM_CHECK(number.defined() && number.dim() == 0, TypeError, "fill_: need a number or a 0-d tensor, got ",
             Py_TYPE(value)->tp_name);
    inplace(self, [&](const Tensor& x) { return expand(cast(number, x.dtype()), Sizes(x.sizes())); }, "fill_");
    return Py_NewRef(o);
  });
}
PyObject* method_zero_(PyObject* o, PyObject*) {
  return guarded([&] {
    Tensor self = unwrap(o);
    inplace(self, [&](const Tensor& x) { return full_tensor(x.sizes(), 0, x.dtype(), x.device()); }, "zero_");
    return Py_NewRef(o);
  });
}
PyObject* method_copy_(PyObject* o, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  static const Signature signature = parse_signature("input, source, non_blocking=False");
  return with_arguments("copy_", signature, o, args, n, kwnames, [&](PyObject** values) {
    LM_CHECK(is_tensor(values[1]), TypeError, "copy_: need a Tensor, got ", Py_TYPE(values[1])->tp_name);
    Tensor self = unwrap(o);
    const Tensor& source = unwrap(values[1]);
    const bool non_blocking = truth(values[2]);
    // The tape may let go of Python's objects.
    const bool taped = grad_enabled() && (self.requires_grad() || source.requires_grad());
    ReleaseGil release(!taped && (is_large(self) || self.device() != source.device()));
    inplace(
        self,
        [&](const Tensor& x) {
          LM_CHECK(broadcast(x.sizes(), source.sizes(), "copy_") == x.sizes(), ValueError, "copy_: a source of shape ",
                   source.sizes(), " does not broadcast to ", x.sizes());
          Tensor value = cast(source, x.dtype());
          // In the tape the gradient has to find its way back; else the elements go straight into x.
          if (grad_enabled() && value.requires_grad()) value = to_device(value, x.device(), non_blocking);
          return expand(value, Sizes(x.sizes()));
        },
        "copy_", non_blocking);
    return Py_NewRef(o);
  });
}

}  // namespace

#define GET(name, get) {name, get, nullptr, nullptr, nullptr}
PyGetSetDef tensor_getset[] = {
    GET("shape", get_shape),
    GET("dtype", get_dtype),
    GET("device", get_device),
    GET("is_cuda", get_is_cuda),
    GET("ndim", get_ndim),
    GET("itemsize", get_itemsize),
    GET("nbytes", get_nbytes),
    GET("_version", get_version),
    GET("is_leaf", get_is_leaf),
    GET("output_nr", get_output_nr),
    GET("_base", get_base),
    GET("grad_fn", get_grad_fn),
    GET("T", get_transposed),
    GET("mT", get_matrix_transposed),
    {"requires_grad", get_requires_grad, set_requires_grad, "Whether gradients flow to this tensor.", nullptr},
    {"grad", get_grad, set_grad, "The accumulated gradient, or None.", nullptr},
    {"data", get_data, set_data, "The same elements outside the tape.", nullptr},
    {}};
#undef GET

#define FAST(fn) reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(fn))
PyMethodDef tensor_methods[] = {
    {"size", FAST(method_size), METH_FASTCALL, "size(dim=None): the shape, or one size."},
    {"stride", FAST(method_stride), METH_FASTCALL, "stride(dim=None): steps in elements."},
    {"dim", method_dim, METH_NOARGS, "Number of dimensions."},
    {"ndimension", method_dim, METH_NOARGS, "Number of dimensions."},
    {"numel", method_numel, METH_NOARGS, "Number of elements."},
    {"nelement", method_numel, METH_NOARGS, "Number of elements."},
    {"element_size", method_element_size, METH_NOARGS, "Bytes of one element."},
    {"data_ptr", method_data_ptr, METH_NOARGS, "Address of the first element."},
    {"storage_offset", method_storage_offset, METH_NOARGS, "Offset of the first element in its storage, in elements."},
    {"is_contiguous", FAST(method_is_contiguous), METH_FASTCALL | METH_KEYWORDS,
     "is_contiguous(memory_format='contiguous_format'): whether the elements lie in that order without gaps."},
    {"is_floating_point", method_is_floating_point, METH_NOARGS, "Whether the dtype is a floating-point one."},
    {"item", method_item, METH_NOARGS, "The only element as a Python number."},
    {"detach", method_detach, METH_NOARGS, "The same elements outside the tape."},
    {"detach_", method_detach_, METH_NOARGS, "Takes this tensor out of the tape."},
    {"requires_grad_", FAST(method_requires_grad_), METH_FASTCALL | METH_KEYWORDS,
     "requires_grad_(requires_grad=True)"},
    {"to", FAST(method_to), METH_FASTCALL | METH_KEYWORDS,
     "to(dtype), to(device), to(device, dtype), to(other), with non_blocking=False, copy=False, memory_format=None: "
     "converted; itself when nothing changes. non_blocking: from or to pinned memory, does not wait for the device."},
    {"float", method_cast<DType::F32>, METH_NOARGS, "As float32."},
    {"double", method_cast<DType::F64>, METH_NOARGS, "As float64."},
    {"half", method_cast<DType::F16>, METH_NOARGS, "As float16."},
    {"bfloat16", method_cast<DType::BF16>, METH_NOARGS, "As bfloat16."},
    {"long", method_cast<DType::I64>, METH_NOARGS, "As int64."},
    {"int", method_cast<DType::I32>, METH_NOARGS, "As int32."},
    {"short", method_cast<DType::I16>, METH_NOARGS, "As int16."},
    {"char", method_cast<DType::I8>, METH_NOARGS, "As int8."},
    {"byte", method_cast<DType::U8>, METH_NOARGS, "As uint8."},
    {"bool", method_cast<DType::Bool>, METH_NOARGS, "As bool: whether each element is not zero."},
    {"cpu", method_cpu, METH_NOARGS, "On the CPU."},
    {"cuda", FAST(method_cuda), METH_FASTCALL | METH_KEYWORDS,
     "cuda(device=None, non_blocking=False): on a CUDA device, the current one unless given."},
    {"pin_memory", method_pin_memory, METH_NOARGS,
     "In page-locked memory, which copies from and to a CUDA device reach without waiting; itself if it is there."},
    {"is_pinned", method_is_pinned, METH_NOARGS, "Whether the elements lie in page-locked memory."},
    {"type", FAST(method_type), METH_FASTCALL, "type(dtype=None): the dtype's name, or a conversion."},
    {"type_as", method_type_as, METH_O, "type_as(other): converted to other's dtype."},
    {"retain_grad", method_retain_grad, METH_NOARGS, "Keep .grad of this non-leaf tensor in backward."},
    {"fill_", method_fill_, METH_O, "fill_(value): every element in place."},
    {"zero_", method_zero_, METH_NOARGS, "Every element to zero, in place."},
    {"copy_", FAST(method_copy_), METH_FASTCALL | METH_KEYWORDS,
     "copy_(source, non_blocking=False): elements of source, broadcast and converted, in place."},
    {}};

void bind_properties(py::module_& m) {
  auto dtype = py::class_<DTypeObject>(m, "dtype", "An element type, such as lamina.float32.");
  dtype.def_property_readonly("is_floating_point", [](const DTypeObject& d) { return is_floating(d.dtype); })
      .def_property_readonly("is_signed", [](const DTypeObject& d) { return d.dtype > DType::U8; })
      .def_property_readonly("is_complex", [](const DTypeObject&) { return false; })
      .def_property_readonly("itemsize", [](const DTypeObject& d) { return item_size(d.dtype); })
      .def_property_readonly("name", [](const DTypeObject& d) { return dtype_name(d.dtype); })
      .def("__repr__", [](const DTypeObject& d) { return str("lamina.", dtype_name(d.dtype)); })
      .def("__reduce__", [m](const DTypeObject& d) {
        return py::make_tuple(py::module_::import("lamina._core").attr("_dtype"), py::make_tuple(dtype_name(d.dtype)));
      });
  dtype_type = reinterpret_cast<PyTypeObject*>(dtype.ptr());
  for (int i = 0; i < kDTypes; ++i) {
    dtype_objects[i] = py::cast(DTypeObject{DType(i)}).release().ptr();
    m.attr(dtype_name(DType(i))) = py::handle(dtype_objects[i]);
  }
  m.def("_dtype",
        [m](const std::string& name) -> py::object { return py::module_::import("lamina._core").attr(name.c_str()); });
  const char* aliases[][2] = {{"float", "float32"}, {"double", "float64"}, {"half", "float16"},
                              {"long", "int64"},    {"int", "int32"},      {"short", "int16"}};
  for (auto& [alias, name] : aliases) m.attr(alias) = m.attr(name);

  auto device = py::class_<Device>(m, "device", "Where a tensor lives: lamina.device('cpu').");
  device.def(py::init([](py::object text) { return device_from(text.ptr()); }))
      .def_property_readonly("type", [](const Device& d) { return d.is_cpu() ? "cpu" : "cuda"; })
      .def_property_readonly(
          "index",
          [](const Device& d) -> py::object { return d.is_cpu() ? py::none() : py::object(py::int_(d.index)); })
      .def("__str__", [](const Device& d) { return str(d); })
      .def("__repr__", [](const Device& d) { return str("device(type='", d, "')"); })
      .def("__eq__", [](const Device& d, py::object o) { return is_device(o.ptr()) && device_from(o.ptr()) == d; })
      .def("__hash__", [](const Device& d) { return int(d.type) * 128 + d.index; })
      .def("__enter__",
           [](const Device& d) {
             outer_devices().push_back(default_device());
             set_default_device(d);
             return d;
           })
      .def("__exit__", [](const Device&, const py::args&) {
        set_default_device(outer_devices().back());
        outer_devices().pop_back();
      });
  m.def("get_default_device", &default_device, "Where tensors are made when no device is named.");
  m.def(
      "set_default_device",
      [](py::object device) { set_default_device(device.is_none() ? Device() : device_from(device.ptr())); },
      py::arg("device"), "Where this thread makes tensors from now on when no device is named; None for the CPU.");
  device_type = reinterpret_cast<PyTypeObject*>(device.ptr());

  py::class_<NodeObject>(m, "Node", "An operator recorded on the tape.")
      .def("name", [](const NodeObject& n) { return n.node->name(); })
      .def("__repr__", [](const NodeObject& n) { return str("<", n.node->name(), " backward>"); })
      .def_property_readonly("next_functions", [](const NodeObject& n) {
        py::list out;
        for (int i = 0; i < n.node->n_edges; ++i) {
          const Edge& edge = n.node->edges[i];
          py::object next = edge.node ? py::cast(NodeObject{edge.node}) : py::object(py::none());
          if (edge.leaf) next = py::reinterpret_steal<py::object>(wrap(Tensor(edge.leaf)));
          out.append(py::make_tuple(next, edge.index));
        }
        return py::tuple(out);
      });

  // Parameter and other subclasses: the same elements in a new object of type `cls`.
  auto make_subclass = [](py::type cls, const Tensor& data, bool requires_grad) {
    LM_CHECK(PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(cls.ptr()), tensor_type), TypeError,
             "_make_subclass: cls is ", reinterpret_cast<PyTypeObject*>(cls.ptr())->tp_name,
             "; need a subclass of Tensor");
    LM_CHECK(!requires_grad || data.is_floating(), TypeError,
             "requires_grad: only floating-point tensors can require gradients, this is ", data.dtype());
    Tensor x = data.alias();
    x->wrapped = false;
    x->requires_grad = requires_grad;
    return py::reinterpret_steal<py::object>(wrap_as(reinterpret_cast<PyTypeObject*>(cls.ptr()), x));
  };
  py::object type = py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(tensor_type));
  type.attr("_make_subclass") =
      py::module_::import("builtins")
          .attr("staticmethod")(
              py::cpp_function(make_subclass, py::arg("cls"), py::arg("data"), py::arg("requires_grad") = false));
  m.def("get_default_dtype", &default_dtype);
  m.def("set_default_dtype", &set_default_dtype, py::arg("dtype"));
  m.def("promote_types", &promote, py::arg("type1"), py::arg("type2"),
        "The smallest dtype that both can be converted to.");
  // Down the ladder float > integer > bool nothing may be cast.
  auto can_cast = [](DType from, DType to) {
    return !(is_floating(from) && is_integral(to)) && (to != DType::Bool || from == DType::Bool);
  };
  m.def("can_cast", can_cast, py::arg("from_"), py::arg("to"),
        "Whether PyTorch's rules allow converting one dtype to the other in place.");
  auto result_dtype = [](const py::object& a, const py::object& b) {
    TensorList tensors{operand(a.ptr()), operand(b.ptr())};
    for (const Tensor& x : tensors)
      LM_CHECK(x.defined(), TypeError, "result_type: need two Tensors or numbers, got ", Py_TYPE(a.ptr())->tp_name,
               " and ", Py_TYPE(b.ptr())->tp_name);
    return result_type(tensors);
  };
  m.def("result_type", result_dtype, py::arg("tensor1"), py::arg("tensor2"),
        "The dtype that an operation on two tensors or numbers computes in.");
}

}  // namespace lamina::python
