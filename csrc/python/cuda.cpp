// CUDA devices for lamina/cuda.py: counts, memory, streams, events, graphs, all through the backend's table.
#include <pybind11/stl.h>

#include "core/backend.h"
#include "core/capture.h"
#include "core/errors.h"
#include "python/tensor.h"

namespace py = pybind11;

namespace lamina::python {
namespace {

Device cuda(int index) {
  LM_CHECK(index >= 0 && index < 64, ValueError, "cuda: device index is ", index, "; need 0 to 63");
  return {DeviceType::CUDA, int8_t(index)};
}
const Backend& of(int index) { return backend(cuda(index)); }

std::string why_unavailable() {
  try {
    backend(cuda(0));
  } catch (const RuntimeError& e) {
    return e.what();
  }
  return "";
}

struct CudaStream {
  Stream stream;
  bool owned = false;

  CudaStream(Stream stream, bool owned) : stream(stream), owned(owned) {}
  CudaStream(const CudaStream&) = delete;
  ~CudaStream() {
    if (owned) on().destroy_stream(stream);
  }
  const Backend& on() const { return backend(stream.device); }
};

struct CudaEvent {
  void* event = nullptr;
  Device device;
  bool timing;

  explicit CudaEvent(bool enable_timing) : timing(enable_timing) {}
  CudaEvent(const CudaEvent&) = delete;
  ~CudaEvent() {
    if (event) backend(device).destroy_event(event);
  }
  void* recorded(const char* op) const {
    LM_CHECK(event, RuntimeError, "Event.", op, ": the event was never recorded; need record() first");
    return event;
  }
  void record(Stream stream) {
    const Backend& b = backend(stream.device);
    if (!event) event = b.create_event(stream.device.index, timing);
    device = stream.device;
    b.record_event(event, stream);
  }
};

void wait_for(Stream stream, Stream other) {
  const Backend& b = backend(stream.device);
  void* event = b.create_event(other.device.index, false);
  b.record_event(event, other);
  b.wait_event(stream, event);
  b.destroy_event(event);
}

}  // namespace

void bind_cuda(py::module_& m) {
  m.def("_cuda_device_count", [] { return why_unavailable().empty() ? of(0).device_count() : 0; });
  m.def("_cuda_why_unavailable", &why_unavailable);
  m.def("_cuda_device_name", [](int device) { return of(device).device_name(int8_t(device)); });
  m.def(
      "_cuda_synchronize", [](int device) { of(device).synchronize_device(int8_t(device)); },
      py::call_guard<py::gil_scoped_release>());
  m.def("_cuda_memory_stats", [](int device) {
    py::dict out;
    for (auto& [name, value] : of(device).memory_stats(int8_t(device))) out[name] = value;
    return out;
  });
  m.def("_cuda_reset_peaks", [](int device) { of(device).reset_peaks(int8_t(device)); });
  m.def("_cuda_empty_cache", [](int device) { of(device).empty_cache(int8_t(device)); });

  py::class_<CudaStream>(m, "CudaStream", "A queue of work on a CUDA device: Stream(device=0, priority=0).")
      .def(py::init([](int device, int priority) {
             return std::make_unique<CudaStream>(
                 Stream{cuda(device), of(device).create_stream(int8_t(device), priority)}, true);
           }),
           py::arg("device") = 0, py::arg("priority") = 0)
      .def_property_readonly("device", [](const CudaStream& s) { return s.stream.device; })
      .def_property_readonly("device_index", [](const CudaStream& s) { return int(s.stream.device.index); })
      .def_property_readonly("cuda_stream", [](const CudaStream& s) { return uintptr_t(s.stream.handle); })
      .def("query", [](const CudaStream& s) { return s.on().stream_done(s.stream); })
      .def(
          "synchronize", [](const CudaStream& s) { s.on().synchronize(s.stream); },
          py::call_guard<py::gil_scoped_release>())
      .def("wait_stream", [](const CudaStream& s, const CudaStream& other) { wait_for(s.stream, other.stream); })
      .def("wait_event",
           [](const CudaStream& s, const CudaEvent& e) { s.on().wait_event(s.stream, e.recorded("wait")); })
      .def("__eq__", [](const CudaStream& a, const CudaStream& b) {
        return a.stream.device == b.stream.device && a.stream.handle == b.stream.handle;
      });
  m.def("_cuda_current_stream",
        [](int device) { return std::make_unique<CudaStream>((of(device), stream_of(cuda(device))), false); });
  m.def("_cuda_set_stream", [](const CudaStream& s) { s.on().set_current_stream(s.stream); });

  py::class_<CudaEvent>(m, "CudaEvent", "A mark in a stream: Event(enable_timing=False).")
      .def(py::init<bool>(), py::arg("enable_timing") = false)
      .def(
          "record", [](CudaEvent& e, const CudaStream* s) { e.record(s ? s->stream : (of(0), stream_of(cuda(0)))); },
          py::arg("stream") = py::none())
      .def("query", [](const CudaEvent& e) { return backend(e.device).event_done(e.recorded("query")); })
      .def(
          "synchronize", [](const CudaEvent& e) { backend(e.device).synchronize_event(e.recorded("synchronize")); },
          py::call_guard<py::gil_scoped_release>())
      .def("elapsed_time", [](const CudaEvent& start, const CudaEvent& end) {
        LM_CHECK(start.timing && end.timing, RuntimeError,
                 "Event.elapsed_time: an event was made without timing; need Event(enable_timing=True) for both");
        return backend(start.device).elapsed_ms(start.recorded("elapsed_time"), end.recorded("elapsed_time"));
      });

  py::class_<CapturedGraph>(m, "CudaGraph", "What a stream is given between CudaGraph(stream) and end().")
      .def(py::init([](const CudaStream& s) { return std::make_unique<CapturedGraph>(s.stream); }))
      .def("end", &CapturedGraph::end)
      .def("abandon", &CapturedGraph::abandon)
      .def("launch", [](CapturedGraph& g, const CudaStream& s) { g.launch(s.stream); });
}

}  // namespace lamina::python
