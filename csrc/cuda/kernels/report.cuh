// How a kernel says that it cannot work with a value: Note [Errors found on the device] in core/backend.h. Only this
// path touches host memory.
#pragma once
#include "core/report.h"
#include "cuda/device.cuh"

namespace lamina::cuda {

struct Reporter {
  DeviceReport* report;
  Complaint complaint;

  LM_DEVICE void operator()(int64_t value) const {
    if (!begin()) return;
    report->is_integer = true;
    report->integer = value;
    finish();
  }
  LM_DEVICE void operator()(double value) const {
    if (!begin()) return;
    report->is_integer = false;
    report->number = value;
    finish();
  }
  LM_DEVICE void operator()(bool value) const { (*this)(int64_t(value)); }

 private:
  LM_DEVICE volatile uint32_t& state() const { return report->state; }
  // Only a look where there is a report: a bad tensor may have millions of bad values.
  LM_DEVICE bool begin() const {
    return state() == DeviceReport::Empty && atomicCAS(&report->state, uint32_t{DeviceReport::Empty},
                                                       uint32_t{DeviceReport::Begun}) == uint32_t{DeviceReport::Empty};
  }
  LM_DEVICE void finish() const {
    report->complaint = complaint;
    __threadfence_system();
    state() = DeviceReport::Complete;
  }
};

}  // namespace lamina::cuda
