// The extension module lamina._core.
#include <pybind11/pybind11.h>

#include "core/pool.h"
#include "cpu/kernel.h"

PYBIND11_MODULE(_core, m) {
  m.attr("__version__") = LAMINA_VERSION;
  m.def("isa", &lamina::isa_name);
  m.def("set_num_threads", &lamina::set_num_threads);
  m.def("get_num_threads", &lamina::get_num_threads);
}
