// CUDA devices for lamina/cuda.py: counts, memory, streams, events, graphs, all through the backend's table.
#include <pybind11/stl.h>

#include "core/backend.h"
#include "core/capture.h"
#include "core/errors.h"
#include "python/interop.h"

namespace py = pybind11;

namespace lamina::python {
namespace {

// A device as every function here takes it: an index, 'cuda:1', a lamina.device, or None for the current one.
Device cuda(const py::object& device) { return cuda_device_from(device.ptr()); }
const Backend& of(Device device) { return backend(device); }
Stream current_stream(Device device) {
  of(device);  // says why there is none
  return stream_of(device);
}

std::string why_unavailable() {
  try {
    backend({DeviceType::CUDA});
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
  bool timing, blocking;

  CudaEvent(bool enable_timing, bool blocking, bool interprocess) : timing(enable_timing), blocking(blocking) {
    LM_CHECK(!interprocess, ValueError, "Event: interprocess=True, but events of several processes are not supported");
  }
  CudaEvent(const CudaEvent&) = delete;
  ~CudaEvent() {
    if (event) backend(device).destroy_event(event);
  }
  void* recorded(const char* op) const {
    LM_CHECK(event, RuntimeError, "Event.", op, ": the event was never recorded; need record() first");
    return event;
  }
  void wait(Stream stream) const {
    if (event) backend(stream.device).wait_event(stream, event);
  }
  void record(Stream stream) {
    const Backend& b = backend(stream.device);
    LM_CHECK(!event || device == stream.device, RuntimeError, "Event.record: the event belongs to ", device,
             ", the stream to ", stream.device, "; need an event for each device");
    if (!event) event = b.create_event(stream.device.index, timing, blocking);
    device = stream.device;
    b.record_event(event, stream);
  }
};

void wait_for(Stream stream, Stream other) {
  const Backend& b = backend(stream.device);
  void* event = b.create_event(other.device.index, false, false);
  b.record_event(event, other);
  b.wait_event(stream, event);
  b.destroy_event(event);
}

}  // namespace

void bind_cuda(py::module_& m) {
  m.def("_cuda_device_count", [] { return has_cuda() ? backend({DeviceType::CUDA}).device_count() : 0; });
  m.def("_cuda_why_unavailable", &why_unavailable);
  m.def("_cuda_providers", &cuda_providers);
  m.def("_cuda_device", [](const py::object& device) { return cuda(device); });
  m.def("_cuda_current_device", &current_cuda_device);
  m.def("_cuda_set_device",
        [](const py::object& device) { set_current_cuda_device((of(cuda(device)), cuda(device))); });
  m.def("_cuda_device_name", [](const py::object& device) { return of(cuda(device)).device_name(cuda(device).index); });
  m.def("_cuda_device_properties", [](const py::object& device) {
    py::dict out;
    for (auto& [name, value] : of(cuda(device)).device_properties(cuda(device).index)) out[name] = value;
    return out;
  });
  m.def("_cuda_memory_info", [](const py::object& device) { return of(cuda(device)).memory_info(cuda(device).index); });
  m.def("_cuda_synchronize", [](const py::object& device) {
    const Device d = cuda(device);
    ReleaseGil release(true);
    of(d).synchronize_device(d.index);
  });
  m.def("_cuda_memory_stats", [](const py::object& device) {
    py::dict out;
    for (auto& [name, value] : of(cuda(device)).memory_stats(cuda(device).index)) out[name] = value;
    return out;
  });
  m.def("_cuda_reset_peaks", [](const py::object& device) { of(cuda(device)).reset_peaks(cuda(device).index); });
  m.def("_cuda_empty_cache", [](const py::object& device) { of(cuda(device)).empty_cache(cuda(device).index); });

  py::class_<CudaStream>(m, "CudaStream", "A queue of work on a CUDA device: Stream(device=None, priority=0).")
      .def(py::init([](const py::object& device, int priority) {
             const Device d = cuda(device);
             return std::make_unique<CudaStream>(Stream{d, of(d).create_stream(d.index, priority)}, true);
           }),
           py::arg("device") = py::none(), py::arg("priority") = 0)
      .def_property_readonly("device", [](const CudaStream& s) { return s.stream.device; })
      .def_property_readonly("device_index", [](const CudaStream& s) { return int(s.stream.device.index); })
      .def_property_readonly("cuda_stream", [](const CudaStream& s) { return uintptr_t(s.stream.handle); })
      .def("query", [](const CudaStream& s) { return s.on().stream_done(s.stream); })
      .def(
          "synchronize", [](const CudaStream& s) { s.on().synchronize(s.stream); },
          py::call_guard<py::gil_scoped_release>())
      .def("wait_stream", [](const CudaStream& s, const CudaStream& other) { wait_for(s.stream, other.stream); })
      .def("wait_event", [](const CudaStream& s, const CudaEvent& e) { e.wait(s.stream); })
      .def(
          "record_event",
          [](const CudaStream& s, py::object event) {
            if (event.is_none()) event = py::cast(std::make_unique<CudaEvent>(false, false, false));
            event.cast<CudaEvent&>().record(s.stream);
            return event;
          },
          py::arg("event") = py::none(), "Marks what the stream has been given so far; returns the event.")
      .def("__eq__",
           [](const CudaStream& a, const CudaStream& b) {
             return a.stream.device == b.stream.device && a.stream.handle == b.stream.handle;
           })
      .def("__hash__", [](const CudaStream& s) { return uintptr_t(s.stream.handle); })
      .def("__repr__", [](const CudaStream& s) {
        return str("<lamina.cuda.Stream ", s.stream.handle, " on ", s.stream.device, ">");
      });
  m.def("_cuda_current_stream",
        [](const py::object& device) { return std::make_unique<CudaStream>(current_stream(cuda(device)), false); });
  m.def("_cuda_default_stream", [](const py::object& device) {
    return std::make_unique<CudaStream>((of(cuda(device)), Stream{cuda(device), nullptr}), false);
  });
  m.def("_cuda_set_stream", [](const CudaStream& s) { s.on().set_current_stream(s.stream); });
  add_method(
      "record_stream",
      [](const Tensor& x, const CudaStream& s) {
        LM_CHECK(x.device() == s.stream.device, RuntimeError, "record_stream: the tensor is on ", x.device(),
                 ", the stream on ", s.stream.device, "; need one device");
        if (x->storage->kind == Storage::Kind::Backend) s.on().record_stream(s.stream, x->storage->data);
      },
      "Tells that work in `stream` uses this tensor too: its memory is not reused before that work is done.",
      py::arg("stream"));

  py::class_<CudaEvent>(
      m, "CudaEvent",
      "A mark in a stream: Event(enable_timing=False, blocking=False). Waiting for a blocking one sleeps.")
      .def(py::init<bool, bool, bool>(), py::arg("enable_timing") = false, py::arg("blocking") = false,
           py::arg("interprocess") = false)
      .def(
          "record",
          [](CudaEvent& e, const CudaStream* s) { e.record(s ? s->stream : current_stream(current_cuda_device())); },
          py::arg("stream") = py::none())
      .def(
          "wait",
          [](const CudaEvent& e, const CudaStream* s) {
            e.wait(s ? s->stream : current_stream(current_cuda_device()));
          },
          py::arg("stream") = py::none(), "What the stream is given from now on waits for the event.")
      .def("query", [](const CudaEvent& e) { return !e.event || backend(e.device).event_done(e.event); })
      .def(
          "synchronize",
          [](const CudaEvent& e) {
            if (e.event) backend(e.device).synchronize_event(e.event);
          },
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
