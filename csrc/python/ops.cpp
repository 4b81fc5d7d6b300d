// Binds every row of ops.def as a function and a method, with its docstring, from one template: the row's signature
// text gives names and defaults, its C++ type the conversions (args.h). `op_table()` hands the rows to tests, docs,
// stubs and benchmarks. Rows of the same name are overloads, tried in order.
#include <pybind11/stl.h>

#include <cmath>
#include <cstring>
#include <deque>
#include <stdexcept>
#include <string_view>
#include <unordered_map>

#include "ops/check.h"
#include "python/args.h"
#include "python/examples.h"

namespace py = pybind11;

namespace lamina::python {
namespace {

using FastCall = PyObject* (*)(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* kwnames);

enum Flags { FUNCTION = 1, METHOD = 2, BOTH = 3, INPLACE = 4, NOGRAD = 8, RANDOM = 16 };

struct Row {
  const char* name;
  const char* kind;  // "unary", "binary" or "op"
  const char* signature_text;
  int flags;
  const char *oracle, *samples, *doc;
  PyObject* (*invoke)(const Row& row, PyObject* const* values);
  PyObject* (*invoke_inplace)(const Row& row, PyObject* const* values);
  bool (*fits)(PyObject* const* values);
  std::vector<std::string> (*types)();
  const char* result;
  int varargs;
  FastCall function, method, inplace_method;
  Signature signature = {};
  Row* next = nullptr;   // the next overload
  bool creates = false;  // makes a new leaf: takes a device
};

template <class Args>
inline constexpr int find_varargs = -1;
template <class... Args>
inline constexpr int find_varargs<std::tuple<Args...>> = [] {
  constexpr bool is_sizes[] = {std::is_same_v<Args, Sizes> || std::is_same_v<Args, Tensors>..., false};
  for (int i = 0; i < int(sizeof...(Args)); ++i)
    if (is_sizes[i]) return i;
  return -1;
}();

template <class T>
std::string type_text() {
  return std::string(From<T>::kType) + (is_optional<T> ? " | None" : "");
}

// How a C++ function of the table is called with Python values.
template <class Fn, Fn fn>
struct Call;
template <class R, class... Args, R (*fn)(Args...)>
struct Call<R (*)(Args...), fn> {
  using Indices = std::index_sequence_for<Args...>;
  static constexpr int kVarargs = find_varargs<std::tuple<std::decay_t<Args>...>>;
  static constexpr bool kTakesSelf =
      std::is_base_of_v<Tensor, std::decay_t<std::tuple_element_t<0, std::tuple<Args..., void>>>>;
  static constexpr const char* kResult = std::is_same_v<R, Tensor>         ? "Tensor"
                                         : std::is_same_v<R, bool>         ? "bool"
                                         : std::is_same_v<R, TensorOrList> ? "Any"
                                                                           : "tuple[Tensor, ...]";

  static std::vector<std::string> types() { return {type_text<std::decay_t<Args>>()...}; }
  static bool fits(PyObject* const* values) { return fits_all(values, Indices()); }
  static PyObject* invoke(const Row& row, PyObject* const* values) { return call_with(row, values, Indices()); }
  static PyObject* invoke_inplace(const Row& row, PyObject* const* values) {
    return change_with(row, values, Indices());
  }

 private:
  template <size_t... I>
  static bool fits_all(PyObject* const* values, std::index_sequence<I...>) {
    return (From<std::decay_t<Args>>::fits(values[I]) && ...);
  }
  template <size_t... I>
  static auto convert(const Row& row, PyObject* const* values, std::index_sequence<I...>) {
    using Values = std::tuple<decltype(From<std::decay_t<Args>>::get(nullptr, Where{}))...>;
    return Values{From<std::decay_t<Args>>::get(values[I], Where{row.name, row.signature.params[I].name})...};
  }
  template <size_t... I>
  static PyObject* call_with(const Row& row, PyObject* const* values, std::index_sequence<I...> indices) {
    auto arguments = convert(row, values, indices);
    R result = [&] {
      ReleaseGil release((is_large(std::get<I>(arguments)) || ...));
      return fn(std::get<I>(arguments)...);
    }();
    if constexpr (std::is_same_v<R, Tensor>)
      return wrap(result);
    else if constexpr (std::is_same_v<R, bool>)
      return PyBool_FromLong(result);
    else if constexpr (std::is_same_v<R, TensorList>)
      return wrap_list(result.data(), result.size());
    else if constexpr (std::is_same_v<R, TensorOrList>)
      return std::holds_alternative<Tensor>(result)
                 ? wrap(std::get<Tensor>(result))
                 : wrap_list(std::get<TensorList>(result).data(), std::get<TensorList>(result).size());
    else
      return wrap_named(result.data(), result.size(), row.name, row.signature);
  }
  // `x.exp_()`: the result is computed from a copy of the handle, then x takes its elements and its place in the tape.
  template <size_t... I>
  static PyObject* change_with(const Row& row, PyObject* const* values, std::index_sequence<I...> indices) {
    if constexpr (std::is_same_v<R, Tensor> && kTakesSelf) {
      auto arguments = convert(row, values, indices);
      Tensor self = unwrap(values[0]);
      inplace(
          self,
          [&](const Tensor& x) {
            ReleaseGil release(is_large(x));
            auto argument = [&]<size_t i>() -> decltype(auto) {
              if constexpr (i == 0)
                return std::decay_t<std::tuple_element_t<0, std::tuple<Args...>>>(x);
              else
                return std::get<i>(arguments);
            };
            return fn(argument.template operator()<I>()...);
          },
          row.name);
      return Py_NewRef(values[0]);
    } else {
      return nullptr;
    }
  }
};

// Elementwise functions of two operands accept a number on either side.
template <Tensor (*fn)(const Tensor&, const Tensor&)>
Tensor with_numbers(const Operand& a, const Operand& b) {
  LM_CHECK(!a->wrapped || !b->wrapped, TypeError, "got two numbers; need a Tensor as at least one operand");
  return fn(a, b);
}

extern Row rows[];

// Creation functions make leaves and may make them in pinned memory: `requires_grad=True` and `pin_memory=True` are the
// binding's, not the row's. Returns the value, and the keyword names without it in `names`, with `args` moved together.
bool take_flag(PyObject* name, PyObject** args, Py_ssize_t n, py::object& names) {
  Py_ssize_t count = PyTuple_GET_SIZE(names.ptr()), at = 0;
  while (at < count && PyTuple_GET_ITEM(names.ptr(), at) != name) ++at;
  if (at == count) return false;
  bool value = truth(args[n + at]);
  py::object rest = py::reinterpret_steal<py::object>(PyTuple_New(count - 1));
  for (Py_ssize_t i = 0, j = 0; i < count; ++i) {
    if (i == at) continue;
    args[n + j] = args[n + i];
    PyTuple_SET_ITEM(rest.ptr(), j++, Py_NewRef(PyTuple_GET_ITEM(names.ptr(), i)));
  }
  names = std::move(rest);
  return value;
}

PyObject* dispatch(Row* row, bool inplace, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  PyObject* values[kMaxArgs];
  py::object holder;
  auto run = [&](Row* r) { return inplace ? r->invoke_inplace(*r, values) : r->invoke(*r, values); };
  Row* near = nullptr;  // takes these names, but not these types
  for (Row* r = row; r; r = r->next) {
    if (inplace && !r->invoke_inplace) continue;
    bool last = !r->next;  // the last overload explains what is wrong, if none came nearer
    const char* op = last && !near ? r->name : nullptr;
    if (!bind_arguments(r->signature, r->varargs, args, n, kwnames, values, holder, op)) continue;
    if (last || r->fits(values)) return run(r);
    if (!near) near = r;
  }
  if (near) {
    bind_arguments(near->signature, near->varargs, args, n, kwnames, values, holder, near->name);
    return run(near);  // raises: an argument has another type
  }
  fail<TypeError>(row->name, "_(): no in-place form takes these arguments");
}

// Says which operator the user called, where one it is made of raised: "lerp: mul: shapes ...".
template <class Kind>
[[noreturn]] void named(const char* op, const Kind& error) {
  std::string message = error.what();
  fail<Kind>(message.starts_with(op) ? std::string() : str(op, ": "), message);
}

PyObject* dispatch_named(Row* row, bool inplace, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  try {
    return dispatch(row, inplace, args, n, kwnames);
  } catch (const ValueError& e) {
    named(row->name, e);
  } catch (const TypeError& e) {
    named(row->name, e);
  } catch (const IndexError& e) {
    named(row->name, e);
  } catch (const RuntimeError& e) {
    named(row->name, e);
  } catch (const OutOfMemoryError& e) {
    named(row->name, e);
  } catch (const std::bad_alloc&) {
    fail<OutOfMemoryError>(row->name, ": out of memory: need more for the list of results than the system gives");
  } catch (const std::length_error&) {
    fail<ValueError>(row->name, ": the number of results does not fit in memory; need fewer");
  }
}

PyObject* call(Row* row, bool inplace, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  return guarded([&]() -> PyObject* {
    if (!kwnames || !row->creates) return dispatch_named(row, inplace, args, n, kwnames);
    PyObject* copy[kMaxArgs];
    Py_ssize_t total = n + PyTuple_GET_SIZE(kwnames);
    LM_CHECK(total <= kMaxArgs, TypeError, row->name, "() got too many arguments: ", total);
    for (Py_ssize_t i = 0; i < total; ++i) copy[i] = args[i];
    static PyObject *leaf = PyUnicode_InternFromString("requires_grad"),
                    *pin = PyUnicode_InternFromString("pin_memory");
    py::object names = py::reinterpret_borrow<py::object>(kwnames);
    const bool requires_grad = take_flag(leaf, copy, n, names), pinned = take_flag(pin, copy, n, names);
    py::object out = py::reinterpret_steal<py::object>(dispatch_named(row, inplace, copy, n, names.ptr()));
    if (pinned) out = py::cast(lamina::pin_memory(unwrap(out.ptr())));
    if (requires_grad) out.attr("requires_grad") = true;
    return out.release().ptr();
  });
}

template <int I>
PyObject* function_entry(PyObject*, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  return call(&rows[I], false, args, n, kwnames);
}
// A method is the same call with self in front; vectorcall leaves no room there, so the arguments are moved.
template <int I, bool kInplace>
PyObject* method_entry(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  PyObject* all[kMaxArgs + 1];
  Py_ssize_t total = n + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
  if (total >= kMaxArgs) {
    PyErr_Format(PyExc_TypeError, "%s() got too many arguments: %zd", rows[I].name, total);
    return nullptr;
  }
  all[0] = self;
  for (Py_ssize_t i = 0; i < total; ++i) all[i + 1] = args[i];
  return call(&rows[I], kInplace, all, n + 1, kwnames);
}

template <class Fn, Fn fn, int I>
Row make_row(const char* name, const char* kind, const char* signature, int flags, const char* oracle,
             const char* samples, const char* doc) {
  using C = Call<Fn, fn>;
  return {name,
          kind,
          signature,
          flags,
          oracle,
          samples,
          doc,
          &C::invoke,
          flags & INPLACE ? &C::invoke_inplace : nullptr,
          &C::fits,
          &C::types,
          C::kResult,
          C::kVarargs,
          &function_entry<I>,
          &method_entry<I, false>,
          &method_entry<I, true>};
}

constexpr int kFirst = __COUNTER__ + 1;
Row rows[] = {
#define UNARY(name, Functor, oracle, domain, doc)                                                                   \
  make_row<Tensor (*)(const Tensor&), &lamina::name, __COUNTER__ - kFirst>(#name, "unary", "input", BOTH | INPLACE, \
                                                                           oracle, #domain, doc),
#define UNARY_ATTRS(name, Functor, PARAMS, signature, oracle, domain, doc)                    \
  make_row<Tensor (*)(const Tensor&, LM_PARAMS PARAMS), &lamina::name, __COUNTER__ - kFirst>( \
      #name, "unary", "input, " signature, BOTH | INPLACE, oracle, #domain, doc),
#define BINARY(name, Functor, oracle, domain_a, domain_b, doc)                                              \
  make_row<Tensor (*)(const Operand&, const Operand&), &with_numbers<&lamina::name>, __COUNTER__ - kFirst>( \
      #name, "binary", "input, other", BOTH | INPLACE, oracle, #domain_a "; " #domain_b, doc),
#define OP(R, name, PARAMS, signature, flags, oracle, samples, doc)                                                   \
  make_row<R(*) PARAMS, static_cast<R(*) PARAMS>(&lamina::name), __COUNTER__ - kFirst>(#name, "op", signature, flags, \
                                                                                       oracle, samples, doc),
#include "ops.def"
};

// The docstring: calls, first line, formula, examples; overloads one after the other.
const char* docstring(const Row& first, CallForm form) {
  static std::deque<std::string> kept;  // a PyMethodDef points at its text forever
  std::string& text = kept.emplace_back();
  for (const Row* row = &first; row; row = row->next) {
    std::string_view signature = row->signature_text;
    signature = signature.substr(0, signature.find(" ->"));
    if (form != CallForm::function) {  // without self
      size_t comma = signature.find(", ");
      signature = comma == signature.npos ? "" : signature.substr(comma + 2);
    }
    text.append(row->name).append(form == CallForm::inplace ? "_(" : "(").append(signature).append(")\n");
  }
  for (const Row* row = &first; row; row = row->next) {
    text.append("\n").append(row->doc).append("\n");
    if (*row->oracle && std::strncmp(row->oracle, "ref.", 4))
      text.append("\nFormula (NumPy): ``").append(row->oracle).append("``\n");
  }
  text += "\nExample::\n\n";
  for (const Row* row = &first; row; row = row->next)
    text.append("    ").append(example(row->name, row->signature_text, row->samples, form));
  return text.c_str();
}

PyMethodDef* method_def(const Row& row, FastCall fn, CallForm form) {
  static std::deque<PyMethodDef> defs;
  static std::deque<std::string> names;
  const char* name = form == CallForm::inplace ? names.emplace_back(str(row.name, "_")).c_str() : row.name;
  return &defs.emplace_back(PyMethodDef{name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(fn)),
                                        METH_FASTCALL | METH_KEYWORDS, docstring(row, form)});
}

void add_method(const Row& row, FastCall fn, CallForm form) {
  PyMethodDef* def = method_def(row, fn, form);
  py::object descriptor = py::reinterpret_steal<py::object>(PyDescr_NewMethod(tensor_type, def));
  py::setattr(reinterpret_cast<PyObject*>(tensor_type), def->ml_name, descriptor);
}

py::list op_table() {
  py::list out;
  for (const Row& row : rows) {
    py::dict entry;
    entry["name"] = row.name;
    entry["kind"] = row.kind;
    entry["signature"] = row.signature_text;
    entry["types"] = row.types();
    entry["result"] = row.result;
    entry["function"] = bool(row.flags & FUNCTION);
    entry["method"] = bool(row.flags & METHOD);
    entry["inplace"] = bool(row.flags & INPLACE);
    entry["differentiable"] = !(row.flags & (NOGRAD | RANDOM));
    entry["varargs"] = row.varargs;
    entry["creates"] = row.creates;
    entry["random"] = bool(row.flags & RANDOM);
    entry["oracle"] = row.oracle;
    entry["samples"] = row.samples;
    entry["doc"] = row.doc;
    out.append(entry);
  }
  return out;
}

}  // namespace

void bind_operators(py::module_& m) {
  std::unordered_map<std::string, Row*> first, last;
  for (Row& row : rows) {
    row.signature = parse_signature(row.signature_text);
    row.creates = std::strstr(row.signature_text, "device=");
    if (Row*& tail = last[row.name])
      tail->next = &row;
    else
      first[row.name] = &row;
    last[row.name] = &row;
  }
  for (auto& [name, row] : first) {
    if (row->flags & FUNCTION) {
      PyMethodDef* def = method_def(*row, row->function, CallForm::function);
      m.attr(def->ml_name) =
          py::reinterpret_steal<py::object>(PyCFunction_NewEx(def, nullptr, m.attr("__name__").ptr()));
    }
    if (row->flags & METHOD) add_method(*row, row->method, CallForm::method);
    if (row->flags & INPLACE) add_method(*row, row->inplace_method, CallForm::inplace);
  }
  m.def("op_table", &op_table, "The rows of the operator table, as dicts.");
  // Of a loss in Python, which could not look without waiting for the device.
  m.def("_check_variances", [](const Tensor& var) {
    const char* text = "var has a negative entry; need variances >= 0";
    check_values(var, 0, HUGE_VAL, NaN::Allowed, {Complaint::Value, "gaussian_nll_loss", text, {}}, nullptr);
  });
}

}  // namespace lamina::python
