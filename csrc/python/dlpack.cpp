// DLPack both ways: tensors to and from NumPy, PyTorch, JAX and others without copying. The one idea: whoever exports
// hands out a structure with a deleter; whoever consumes it renames the capsule, so that each is deleted exactly once.
// Protocol: https://dmlc.github.io/dlpack/latest/python_spec.html. Next: dlpack.h (the structures), interop.h.
#include "python/dlpack.h"

#include <pybind11/stl.h>

#include <cstring>

#include "python/interop.h"

namespace py = pybind11;

namespace lamina::python {
namespace {

template <class M>
constexpr const char* kName = nullptr;
template <>
constexpr const char* kName<dlpack::Managed> = "dltensor";
template <>
constexpr const char* kName<dlpack::ManagedVersioned> = "dltensor_versioned";
template <class M>
constexpr const char* kUsedName = nullptr;
template <>
constexpr const char* kUsedName<dlpack::Managed> = "used_dltensor";
template <>
constexpr const char* kUsedName<dlpack::ManagedVersioned> = "used_dltensor_versioned";

dlpack::DataType type_of(DType dtype) {
  dlpack::TypeCode code = is_floating(dtype) ? dlpack::kFloat : dlpack::kInt;
  if (dtype == DType::Bool) code = dlpack::kBool;
  if (dtype == DType::U8) code = dlpack::kUInt;
  if (dtype == DType::BF16) code = dlpack::kBFloat;
  return {code, uint8_t(8 * item_size(dtype)), 1};
}

DType dtype_from(dlpack::DataType type, const char* op) {
  for (int i = 0; i < kDTypes; ++i) {
    dlpack::DataType t = type_of(DType(i));
    if (t.code == type.code && t.bits == type.bits && t.lanes == type.lanes) return DType(i);
  }
  static constexpr const char* kCodes[] = {"int", "uint", "float", "opaque", "bfloat", "complex", "bool"};
  std::string name = type.code < 7 ? kCodes[type.code] : str("code ", int(type.code), ", bits ");
  fail<TypeError>(op, ": DLPack dtype ", name, int(type.bits), type.lanes == 1 ? "" : " in vectors",
                  " is not supported; need one of ", dtype_list());
}

// --- out ---

template <class M>
struct Exported {
  M managed;
  Tensor tensor;  // keeps the memory alive
  int64_t shape[kMaxDims], strides[kMaxDims];
};

// A capsule nobody consumed deletes its structure itself.
template <class M>
void destroy_capsule(PyObject* capsule) {
  if (!PyCapsule_IsValid(capsule, kName<M>)) return;
  M* managed = static_cast<M*>(PyCapsule_GetPointer(capsule, kName<M>));
  if (managed->deleter) managed->deleter(managed);
}

template <class M>
py::object make_capsule(const Tensor& x, bool copied) {
  auto* out = new Exported<M>{{}, x.alias(), {}, {}};
  for (int i = 0; i < x.dim(); ++i) {
    out->shape[i] = x.size(i);
    out->strides[i] = x.stride(i);
  }
  out->managed.array = {x.data(), {dlpack::kCPU, 0}, x.dim(), type_of(x.dtype()), out->shape, out->strides, 0};
  out->managed.context = out;
  out->managed.deleter = [](M* self) { delete static_cast<Exported<M>*>(self->context); };
  if constexpr (std::is_same_v<M, dlpack::ManagedVersioned>) {
    out->managed.version = dlpack::kVersion;
    out->managed.flags = copied ? uint64_t(dlpack::kCopied) : 0;
  }
  PyObject* capsule = PyCapsule_New(&out->managed, kName<M>, &destroy_capsule<M>);
  if (!capsule) {
    delete out;
    throw PythonError();
  }
  return py::reinterpret_steal<py::object>(capsule);
}

py::object export_dlpack(const Tensor& x, py::object stream, py::object max_version, py::object dl_device,
                         py::object copy) {
  if (x.requires_grad())
    buffer_error("__dlpack__: the tensor requires grad, and the consumer would not record; use x.detach()");
  if (!x.device().is_cpu()) buffer_error(str("__dlpack__: the tensor is on ", x.device(), "; use x.cpu()"));
  LM_CHECK(stream.is_none(), ValueError, "__dlpack__: stream is ", std::string(py::repr(stream)),
           "; need None for a tensor on the CPU");
  if (!dl_device.is_none()) {
    auto [type, id] = py::cast<std::pair<int, int>>(dl_device);
    if (type != dlpack::kCPU)
      buffer_error(str("__dlpack__: the tensor is on cpu, dl_device is (", type, ", ", id, "); need (1, 0)"));
  }
  bool copied = !copy.is_none() && py::cast<bool>(copy);
  Tensor source = copied ? copy_dense(x.alias()) : x;
  bool versioned = !max_version.is_none() && py::cast<std::pair<int, int>>(max_version).first >= 1;
  return versioned ? make_capsule<dlpack::ManagedVersioned>(source, copied)
                   : make_capsule<dlpack::Managed>(source, copied);
}

// --- in ---

template <class M>
Tensor adopt(PyObject* capsule, Sharing sharing, const char* op) {
  M* managed = static_cast<M*>(PyCapsule_GetPointer(capsule, kName<M>));
  bool readonly = false;
  if constexpr (std::is_same_v<M, dlpack::ManagedVersioned>) {
    if (managed->version.major != dlpack::kVersion.major)  // the rest of the structure may look different
      buffer_error(
          str(op, ": DLPack version ", managed->version.major, ".", managed->version.minor, "; need version 1"));
    readonly = managed->flags & dlpack::kReadOnly;
  }
  const dlpack::Array& a = managed->array;
  LM_CHECK(a.device.type == dlpack::kCPU || a.device.type == dlpack::kCUDAHost, RuntimeError, op,
           ": DLPack device type ", a.device.type, "; need 1 (cpu)");
  LM_CHECK(a.ndim >= 0 && a.ndim <= kMaxDims, ValueError, op, ": an array of ", a.ndim, " dimensions; need at most ",
           kMaxDims);
  ForeignArray array{static_cast<char*>(a.data) + a.byte_offset, dtype_from(a.dtype, op), {}, {}, readonly};
  for (int i = 0; i < a.ndim; ++i) array.sizes.push_back(a.shape[i]);
  checked_numel(array.sizes, op);
  Shape strides = row_major(array.sizes);
  for (int i = 0; i < a.ndim; ++i)
    array.strides.push_back((a.strides ? a.strides[i] : strides[i]) * item_size(array.dtype));
  const char* reason = unshareable(array);
  LM_CHECK(sharing != Sharing::kAlways || !reason, ValueError, op, ": copy=False, but the array of shape ", array.sizes,
           " ", reason);
  if (array.sizes.numel() == 0) return empty_tensor(array.sizes, array.dtype);
  if (sharing == Sharing::kNever || reason) {  // the capsule stays unconsumed and deletes itself
    Tensor out = empty_tensor(array.sizes, array.dtype);
    copy_foreign(out, array);
    return out;
  }
  if (PyCapsule_SetName(capsule, kUsedName<M>) < 0) throw PythonError();
  // A deleter may be called without the GIL: one that needs it takes it.
  return look_at(
      array,
      [](void* context) {
        M* self = static_cast<M*>(context);
        if (self->deleter) self->deleter(self);
      },
      managed);
}

Tensor from_capsule(PyObject* capsule, Sharing sharing, const char* op) {
  if (PyCapsule_IsValid(capsule, kName<dlpack::ManagedVersioned>))
    return adopt<dlpack::ManagedVersioned>(capsule, sharing, op);
  if (PyCapsule_IsValid(capsule, kName<dlpack::Managed>)) return adopt<dlpack::Managed>(capsule, sharing, op);
  const char* name = PyCapsule_GetName(capsule);
  PyErr_Clear();
  LM_CHECK(!name || std::strncmp(name, "used_", 5), ValueError, op,
           ": this DLPack capsule was consumed before; each can be used once");
  fail<TypeError>(op, ": a capsule named '", name ? name : "", "'; need 'dltensor' or 'dltensor_versioned'");
}

py::object from_dlpack(py::object x, py::object device, py::object copy) {
  LM_CHECK(device.is_none() || device_from(device.ptr()).is_cpu(), RuntimeError, "from_dlpack: need device cpu");
  Sharing sharing = copy.is_none() ? Sharing::kIfPossible : py::cast<bool>(copy) ? Sharing::kNever : Sharing::kAlways;
  return py::cast(PyCapsule_CheckExact(x.ptr()) ? from_capsule(x.ptr(), sharing, "from_dlpack")
                                                : import_dlpack(x.ptr(), sharing, "from_dlpack"));
}

}  // namespace

Tensor import_dlpack(PyObject* object, Sharing sharing, const char* op) {
  py::handle x(object);
  LM_CHECK(!PyType_Check(object) && py::hasattr(x, "__dlpack__"), TypeError, op, ": a ", Py_TYPE(object)->tp_name,
           " has no __dlpack__; need an array of another library, or a capsule");
  if (py::hasattr(x, "__dlpack_device__")) {
    int type = py::cast<int>(x.attr("__dlpack_device__")()[py::int_(0)]);
    LM_CHECK(type == dlpack::kCPU || type == dlpack::kCUDAHost, RuntimeError, op, ": DLPack device type ", type,
             "; need 1 (cpu): copy the array to the CPU first");
  }
  py::object capsule;
  try {
    capsule =
        x.attr("__dlpack__")(py::arg("max_version") = py::make_tuple(dlpack::kVersion.major, dlpack::kVersion.minor));
  } catch (py::error_already_set& e) {
    if (!e.matches(PyExc_TypeError)) throw;
    capsule = x.attr("__dlpack__")();  // written before version 1
  }
  LM_CHECK(PyCapsule_CheckExact(capsule.ptr()), TypeError, op, ": __dlpack__ of a ", Py_TYPE(object)->tp_name,
           " returned a ", Py_TYPE(capsule.ptr())->tp_name, "; need a capsule");
  return from_capsule(capsule.ptr(), sharing, op);
}

void bind_dlpack(py::module_& m) {
  add_method("__dlpack__", &export_dlpack, "A DLPack capsule that shares this tensor's memory.", py::kw_only(),
             py::arg("stream") = py::none(), py::arg("max_version") = py::none(), py::arg("dl_device") = py::none(),
             py::arg("copy") = py::none());
  add_method(
      "__dlpack_device__", [](const Tensor&) { return std::make_pair(int(dlpack::kCPU), 0); }, "(1, 0): the CPU.");
  m.def("from_dlpack", &from_dlpack, py::arg("x"), py::kw_only(), py::arg("device") = py::none(),
        py::arg("copy") = py::none(),
        "from_dlpack(x, *, device=None, copy=None)\n\n"
        "A tensor on the memory of an array of another library, or of a DLPack capsule.\n\n"
        "copy=None copies only what a tensor cannot share (read-only memory, negative strides); copy=False raises "
        "ValueError\n"
        "there.");
}

}  // namespace lamina::python
