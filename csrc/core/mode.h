// The thread's mode: one byte that the door of every operator tests, and that every new tensor in inference_mode bears.
// See autograd/apply.h.
#pragma once
#include <cstdint>

namespace lamina {

enum Mode : uint8_t {
  kGrad = 1,       // record the tape (on by default)
  kInference = 2,  // record nothing; tensors made now may never enter the tape
  kAnomaly = 4,    // remember where forward calls were made; check gradients for NaN
};

// initial-exec: one instruction to reach, against a function call for a shared library's default model.
extern thread_local uint8_t mode_ __attribute__((tls_model("initial-exec")));

inline bool grad_enabled() { return (mode_ & (kGrad | kInference)) == kGrad; }
inline bool inference_mode() { return mode_ & kInference; }

class ModeGuard {
 public:
  ModeGuard(uint8_t set, uint8_t clear) : previous_(mode_) { mode_ = uint8_t((mode_ & ~clear) | set); }
  ~ModeGuard() { mode_ = previous_; }
  ModeGuard(const ModeGuard&) = delete;
  ModeGuard& operator=(const ModeGuard&) = delete;

 private:
  uint8_t previous_;
};
struct NoGrad : ModeGuard {
  NoGrad() : ModeGuard(0, kGrad) {}
};
struct EnableGrad : ModeGuard {
  explicit EnableGrad(bool on = true) : ModeGuard(on ? kGrad : 0, on ? 0 : kGrad) {}
};

}  // namespace lamina
