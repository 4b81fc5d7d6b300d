// The extension module lamina._core: everything native, bound in the order it depends on each other.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "core/allocator.h"
#include "core/pool.h"
#include "core/rng.h"
#include "kernel/isa.h"
#include "python/args.h"
#include "python/tensor.h"

namespace py = pybind11;

namespace lamina::python {

static PyTypeObject* generator_type = nullptr;
bool is_generator(PyObject* o) { return PyObject_TypeCheck(o, generator_type); }
Generator* to_generator(PyObject* o, Where w) {
  if (!is_generator(o)) wrong_type(w.op, w.name, "Generator", o);
  return py::cast<Generator*>(py::handle(o));
}

// The stream of random numbers, as PyTorch's Generator.
static void bind_random(py::module_& m) {
  auto generator =
      py::class_<Generator>(m, "Generator", "A stream of random numbers (Philox): Generator().manual_seed(0).");
  auto state_tuple = [](const Generator& g) { return py::make_tuple(g.state().seed, g.state().offset); };
  auto set_state = [](Generator& g, const py::tuple& state) {
    LM_CHECK(state.size() == 2, ValueError, "set_state: the state has ", state.size(), " entries; need (seed, offset)");
    g.set_state({py::cast<uint64_t>(state[0]), py::cast<uint64_t>(state[1])});
  };
  auto seeded = [](int64_t seed) { return uint64_t(seed); };  // negative seeds are allowed, as in PyTorch
  generator
      .def(py::init([](py::object device) {
             if (!device.is_none()) device_from(device.ptr());  // only the CPU exists: anything else raises
             return std::make_unique<Generator>();
           }),
           py::arg("device") = py::none())
      .def(
          "manual_seed", [seeded](Generator& g, int64_t seed) -> Generator& { return g.manual_seed(seeded(seed)), g; },
          py::return_value_policy::reference)
      .def("seed", &Generator::seed)
      .def("initial_seed", &Generator::initial_seed)
      .def("get_state", state_tuple)
      .def("set_state", set_state, py::arg("state"));
  generator_type = reinterpret_cast<PyTypeObject*>(generator.ptr());
  m.attr("default_generator") = py::cast(&default_generator(), py::return_value_policy::reference);
  m.def(
      "manual_seed", [seeded](int64_t seed) -> Generator& { return manual_seed(seeded(seed)), default_generator(); },
      py::arg("seed"), py::return_value_policy::reference, "Restarts the default stream of random numbers.");
  m.def("seed", [] { return default_generator().seed(); }, "A fresh seed from the system for the default generator.");
  m.def("initial_seed", [] { return default_generator().initial_seed(); });
  m.def("get_rng_state", [state_tuple] { return state_tuple(default_generator()); });
  m.def(
      "set_rng_state", [set_state](const py::tuple& state) { set_state(default_generator(), state); },
      py::arg("state"));
}

static void bind_memory(py::module_& m) {
  m.def(
      "memory_stats",
      [] {
        MemoryStats stats = memory_stats();
        py::dict out;
        out["allocated"] = stats.allocated;
        out["peak"] = stats.peak;
        out["cached"] = stats.cached;
        out["slabs"] = stats.slabs;
        out["allocations"] = stats.allocations;
        out["system_calls"] = stats.system_calls;
        return out;
      },
      "Bytes and counts of the allocator.");
  m.def("reset_peak_memory", &reset_peak_memory);
  m.def("empty_cache", &empty_cache, "Returns cached memory to the system.");
}

}  // namespace lamina::python

using namespace lamina;

PYBIND11_MODULE(_core, m) {
  m.doc() = "Lamina's native engine: tensors, operators, autograd.";
  lamina::python::make_tensor_type(m);
  lamina::python::bind_properties(m);
  lamina::python::bind_random(m);
  lamina::python::bind_memory(m);
  lamina::python::bind_cuda(m);
  lamina::python::bind_operators(m);
  lamina::python::bind_autograd(m);
  lamina::python::bind_interop(m);
  lamina::python::bind_optimizers(m);
  m.def("set_num_threads", &set_num_threads, py::arg("n"), "Threads that one operator may use.");
  m.def("get_num_threads", &get_num_threads, "Threads that one operator may use.");
  m.def("cpu_capability", &isa_name, "The instruction set the kernels run on: base, avx2 or avx512.");
}
