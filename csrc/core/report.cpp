// See report.h.
#include "core/report.h"

#include <atomic>

#include "core/device.h"
#include "core/errors.h"

namespace lamina {
namespace {

template <class V>
[[noreturn]] void complain(const Complaint& c, V value, const char* where, const std::string& source) {
  std::ostringstream out;
  out << c.op << ": ";
  const int64_t* number = c.numbers;
  for (const char* p = c.text; *p; ++p) {
    if (*p == '#')
      out << value;
    else if (*p == '@')
      out << where;
    else if (*p == '%')
      out << *number++;
    else
      out << *p;
  }
  out << source;
  switch (c.kind) {
    case Complaint::Value:
      throw ValueError(out.str());
    case Complaint::Index:
      throw IndexError(out.str());
    default:
      throw RuntimeError(out.str());
  }
}

}  // namespace

void fail(const Complaint& complaint, int64_t value, const char* where) { complain(complaint, value, where, ""); }
void fail(const Complaint& complaint, double value, const char* where) { complain(complaint, value, where, ""); }

void throw_reported(DeviceReport& report, int device) {
  const std::atomic_ref<uint32_t> state(report.state);
  uint32_t complete = DeviceReport::Complete;
  // Begun again while it is read: neither the device nor another thread touches it.
  if (state.load() != complete || !state.compare_exchange_strong(complete, DeviceReport::Begun)) return;
  const DeviceReport found = report;
  state.store(DeviceReport::Empty);
  const std::string source = str(" (found on ", Device{DeviceType::CUDA, int8_t(device)}, " while running)");
  if (found.is_integer) complain(found.complaint, found.integer, "", source);
  complain(found.complaint, found.number, "", source);
}

}  // namespace lamina
