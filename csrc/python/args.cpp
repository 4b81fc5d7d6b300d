// Binding of arguments and conversions from Python objects. See args.h.
#include "python/args.h"

#include <cstring>

namespace py = pybind11;

namespace lamina::python {

// --- signatures ---

// A literal of a signature text: None, True, False, a number, 'text', or ().
static PyObject* literal(const std::string& text) {
  if (text == "None") return Py_NewRef(Py_None);
  if (text == "True") return Py_NewRef(Py_True);
  if (text == "False") return Py_NewRef(Py_False);
  if (text == "()") return PyTuple_New(0);
  if (text.front() == '\'') return PyUnicode_InternFromString(text.substr(1, text.size() - 2).c_str());
  if (text == "inf" || text == "-inf") return PyFloat_FromDouble(text[0] == '-' ? -INFINITY : INFINITY);
  if (text.find_first_of(".e") != std::string::npos) return PyFloat_FromDouble(std::stod(text));
  return PyLong_FromLongLong(std::stoll(text));
}

Signature parse_signature(const char* text) {
  Signature out;
  std::string all = text;
  auto trim = [](std::string s) {
    size_t begin = s.find_first_not_of(' '), end = s.find_last_not_of(' ');
    return begin == std::string::npos ? std::string() : s.substr(begin, end - begin + 1);
  };
  auto split = [&](const std::string& s, auto&& each) {
    for (size_t at = 0; at <= s.size() && !s.empty();) {
      size_t comma = std::min(s.find(',', at), s.size());
      each(trim(s.substr(at, comma - at)));
      at = comma + 1;
    }
  };
  if (size_t arrow = all.find("->"); arrow != std::string::npos) {
    split(trim(all.substr(arrow + 2)), [&](const std::string& name) { out.returns.push_back(name); });
    all = trim(all.substr(0, arrow));
  }
  bool keyword_only = false;
  split(all, [&](const std::string& item) {
    if (item == "*") {
      keyword_only = true;
      return;
    }
    size_t equals = item.find('=');
    std::string name = trim(item.substr(0, equals));
    PyObject* fallback = equals == std::string::npos ? nullptr : literal(trim(item.substr(equals + 1)));
    out.params.push_back({PyUnicode_InternFromString(name.c_str()), fallback, keyword_only});
    if (!keyword_only) ++out.positional;
  });
  return out;
}

// NumPy's spellings of PyTorch's parameter names.
static const char* canonical_name(const char* name) {
  static constexpr const char* kAliases[][2] = {{"axis", "dim"},   {"axes", "dims"},      {"keepdims", "keepdim"},
                                                {"x", "input"},    {"self", "input"},     {"size", "shape"},
                                                {"shape", "size"}, {"ddof", "correction"}};
  for (auto& alias : kAliases)
    if (!std::strcmp(name, alias[0])) return alias[1];
  return nullptr;
}

static int find_param(const Signature& signature, PyObject* key) {
  int n = int(signature.params.size());
  for (int i = 0; i < n; ++i)
    if (signature.params[i].name == key) return i;
  const char* name = utf8(key);
  const char* other = canonical_name(name);
  for (int i = 0; i < n; ++i)
    if (!std::strcmp(PyUnicode_AsUTF8(signature.params[i].name), name)) return i;
  for (int i = 0; other && i < n; ++i)
    if (!std::strcmp(PyUnicode_AsUTF8(signature.params[i].name), other)) return i;
  return -1;
}

bool bind_arguments(const Signature& signature, int varargs, PyObject* const* args, Py_ssize_t n_args,
                    PyObject* kwnames, PyObject** values, py::object& holder, const char* op) {
  int n = int(signature.params.size());
  for (int i = 0; i < n; ++i) values[i] = nullptr;
  if (varargs >= 0 && n_args > varargs && (is_tensor(args[varargs]) || is_integer(args[varargs]))) {
    holder = py::reinterpret_steal<py::object>(PyTuple_New(n_args - varargs));
    for (Py_ssize_t i = varargs; i < n_args; ++i) PyTuple_SET_ITEM(holder.ptr(), i - varargs, Py_NewRef(args[i]));
    for (int i = 0; i < varargs; ++i) values[i] = args[i];
    values[varargs] = holder.ptr();
  } else {
    if (n_args > signature.positional) {
      LM_CHECK(!op, TypeError, op, "() takes at most ", signature.positional, " positional arguments, got ", n_args);
      return false;
    }
    for (Py_ssize_t i = 0; i < n_args; ++i) values[i] = args[i];
  }
  for (Py_ssize_t k = 0; kwnames && k < PyTuple_GET_SIZE(kwnames); ++k) {
    PyObject* key = PyTuple_GET_ITEM(kwnames, k);
    int i = find_param(signature, key);
    if (i < 0 || values[i]) {
      LM_CHECK(!op || i < 0, TypeError, op, "() got multiple values for argument '", PyUnicode_AsUTF8(key), "'");
      LM_CHECK(!op, TypeError, op, "() got an unexpected keyword argument '", PyUnicode_AsUTF8(key), "'");
      return false;
    }
    values[i] = args[n_args + k];
  }
  for (int i = 0; i < n; ++i) {
    if (values[i]) continue;
    values[i] = signature.params[i].fallback;
    if (!values[i]) {
      if (i == varargs) {  // f() with no sizes at all: an empty shape
        holder = py::reinterpret_steal<py::object>(PyTuple_New(0));
        values[i] = holder.ptr();
        continue;
      }
      LM_CHECK(!op, TypeError, op, "() missing required argument '", PyUnicode_AsUTF8(signature.params[i].name), "'");
      return false;
    }
  }
  return true;
}

bool truth(PyObject* o) {
  int value = PyObject_IsTrue(o);
  if (value < 0) throw PythonError();
  return value != 0;
}

const char* utf8(PyObject* text) {
  const char* out = PyUnicode_AsUTF8(text);
  if (!out) throw PythonError();  // a lone surrogate: UnicodeEncodeError, which is a ValueError
  return out;
}

void wrong_type(const char* op, PyObject* name, const char* expected, PyObject* value) {
  fail<TypeError>(op, "(): argument '", PyUnicode_AsUTF8(name), "' must be ", expected, ", not ",
                  Py_TYPE(value)->tp_name);
}

// --- numbers ---

// The kind of a NumPy scalar: 'b' bool, 'i' integer, 'f' float, 0 for everything else (complex numbers and dates, too).
// NumPy is not imported for this: where it is not, nothing is one of its scalars.
static char numpy_kind(PyObject* o) {
  static PyObject* types[3] = {};  // numpy.bool_, numpy.integer, numpy.floating; never freed
  if (!types[0]) {
    PyObject* numpy = PyDict_GetItemString(PyImport_GetModuleDict(), "numpy");
    if (!numpy || !PyObject_HasAttrString(numpy, "floating")) return 0;  // absent, or half imported
    types[2] = PyObject_GetAttrString(numpy, "floating");
    types[1] = PyObject_GetAttrString(numpy, "integer");
    types[0] = PyObject_GetAttrString(numpy, "bool_");
  }
  for (int i = 0; i < 3; ++i)
    if (PyObject_TypeCheck(o, reinterpret_cast<PyTypeObject*>(types[i]))) return "bif"[i];
  return 0;
}

// Other objects with __index__ are integers, except those with elements: arrays and foreign tensors.
bool is_integer(PyObject* o) {
  if (PyLong_Check(o)) return true;
  if (PyFloat_Check(o)) return false;
  if (is_tensor(o)) return unwrap(o).dim() == 0 && !unwrap(o).is_floating();
  if (!PyIndex_Check(o)) return false;
  const PyMappingMethods* mapping = Py_TYPE(o)->tp_as_mapping;
  return !mapping || !mapping->mp_subscript || numpy_kind(o) == 'i';
}

bool is_number(PyObject* o) {
  if (PyFloat_Check(o) || PyLong_Check(o)) return true;
  if (is_tensor(o)) return unwrap(o).dim() == 0 && !unwrap(o).requires_grad();
  return numpy_kind(o);
}

bool converts_to_number(PyObject* o) {
  if (is_number(o)) return true;
  const PyTypeObject* type = Py_TYPE(o);
  return !is_tensor(o) && type->tp_as_number && type->tp_as_number->nb_float &&
         !(type->tp_as_sequence && type->tp_as_sequence->sq_item);
}

int64_t to_int64(PyObject* o, Where w) {
  if (!is_integer(o)) wrong_type(w.op, w.name, "int", o);
  py::object index = py::reinterpret_steal<py::object>(PyNumber_Index(o));
  if (!index && PyErr_ExceptionMatches(PyExc_TypeError)) {  // an array of several
    PyErr_Clear();
    wrong_type(w.op, w.name, "int", o);
  }
  if (!index) throw PythonError();
  int overflow = 0;
  int64_t value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow) {
    std::string text = py::str(index);
    fail<ValueError>(w.op, "(): argument '", PyUnicode_AsUTF8(w.name), "' is ", text, "; need a 64-bit integer");
  }
  return value;
}

double to_double(PyObject* o, Where w) {
  if (PyFloat_Check(o)) return PyFloat_AS_DOUBLE(o);
  if (!is_number(o)) wrong_type(w.op, w.name, "float", o);
  double value = PyFloat_AsDouble(o);
  if (value == -1 && PyErr_Occurred()) throw PythonError();
  return value;
}

Scalar to_scalar(PyObject* o, Where w) {
  if (PyBool_Check(o)) return Scalar(o == Py_True);
  if (PyFloat_Check(o)) return Scalar(PyFloat_AS_DOUBLE(o));
  if (!is_number(o)) wrong_type(w.op, w.name, "a number", o);
  if (is_integer(o)) return Scalar(to_int64(o, w));
  if (numpy_kind(o) == 'b') return Scalar(PyObject_IsTrue(o) == 1);
  return Scalar(to_double(o, w));
}

Tensor number_tensor(PyObject* o) {
  if (PyFloat_CheckExact(o)) return Tensor(PyFloat_AS_DOUBLE(o));
  if (!is_number(o)) return Tensor();
  static PyObject* name = PyUnicode_InternFromString("other");
  return to_scalar(o, {"operator", name}).tensor();
}

// --- sequences ---

// Text is a sequence of text, bytes one of ints: neither is meant as sizes.
static bool is_plain_sequence(PyObject* o) {
  return PySequence_Check(o) && !PyUnicode_Check(o) && !PyBytes_Check(o) && !PyByteArray_Check(o) && !is_tensor(o);
}

bool is_int_sequence(PyObject* o) {
  if (!is_plain_sequence(o)) return false;
  if (PyTuple_Check(o) || PyList_Check(o)) {
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i)
      if (!is_integer(PySequence_Fast_GET_ITEM(o, i))) return false;
  }
  return true;
}

std::vector<int64_t> to_integers(PyObject* o, Where w) {
  if (!is_plain_sequence(o)) wrong_type(w.op, w.name, "a sequence of ints", o);
  py::object fast = py::reinterpret_steal<py::object>(PySequence_Fast(o, "need a sequence of ints"));
  if (!fast) throw PythonError();
  std::vector<int64_t> out;
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fast.ptr()); ++i)
    out.push_back(to_int64(PySequence_Fast_GET_ITEM(fast.ptr(), i), w));
  return out;
}

Shape to_shape(PyObject* o, Where w) {
  if (is_integer(o)) return Shape{to_int64(o, w)};
  std::vector<int64_t> values = to_integers(o, w);
  LM_CHECK(values.size() <= size_t(kMaxDims), ValueError, w.op, "(): argument '", PyUnicode_AsUTF8(w.name), "' has ",
           values.size(), " entries; need at most ", kMaxDims, ", as many as a tensor has dimensions");
  return Shape(std::span<const int64_t>(values));
}

bool is_tensor_sequence(PyObject* o) {
  if (!PyTuple_Check(o) && !PyList_Check(o)) return false;
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i)
    if (!is_tensor(PySequence_Fast_GET_ITEM(o, i))) return false;
  return true;
}

TensorList to_tensors(PyObject* o, Where w) {
  if (!is_plain_sequence(o)) wrong_type(w.op, w.name, "a tuple or list of Tensors", o);
  py::object fast = py::reinterpret_steal<py::object>(PySequence_Fast(o, "need a sequence of tensors"));
  if (!fast) throw PythonError();
  TensorList out;
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fast.ptr()); ++i) {
    PyObject* item = PySequence_Fast_GET_ITEM(fast.ptr(), i);
    LM_CHECK(is_tensor(item), TypeError, w.op, "(): argument '", PyUnicode_AsUTF8(w.name),
             "' must hold Tensors, but item ", i, " is ", Py_TYPE(item)->tp_name);
    out.push_back(unwrap(item));
  }
  return out;
}

// --- results ---

PyObject* wrap_list(const Tensor* tensors, size_t n) {
  PyObject* out = PyTuple_New(Py_ssize_t(n));
  for (size_t i = 0; i < n; ++i) PyTuple_SET_ITEM(out, Py_ssize_t(i), wrap(tensors[i]));
  return out;
}

// One structseq type per operator: `values, indices = x.max(dim=1)` and `x.max(dim=1).values`.
PyObject* wrap_named(const Tensor* tensors, size_t n, const char* op, const Signature& signature) {
  if (signature.returns.size() != n) return wrap_list(tensors, n);
  static py::dict types;  // leaked on purpose: lives as long as the interpreter
  static bool kept = (types.inc_ref(), true);
  (void)kept;
  py::object type;
  if (types.contains(op)) {
    type = types[op];
  } else {
    std::vector<PyStructSequence_Field> fields;
    for (const std::string& name : signature.returns) fields.push_back({strdup(name.c_str()), nullptr});
    fields.push_back({nullptr, nullptr});
    std::string* full_name = new std::string(str("lamina.return_types.", op));
    PyStructSequence_Desc desc{full_name->c_str(), nullptr, fields.data(), int(n)};
    type = py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(PyStructSequence_NewType(&desc)));
    types[op] = type;
  }
  PyObject* out = PyStructSequence_New(reinterpret_cast<PyTypeObject*>(type.ptr()));
  for (size_t i = 0; i < n; ++i) PyStructSequence_SetItem(out, Py_ssize_t(i), wrap(tensors[i]));
  return out;
}

}  // namespace lamina::python
