// The engine: reverse mode over the recorded nodes. See engine.cpp.
#pragma once
#include "autograd/node.h"

namespace lamina {

struct BackwardOptions {
  bool retain_graph = false;  // keep saved tensors for another walk
  bool create_graph = false;  // record the walk itself, for higher derivatives
};

// Adds d(sum of roots . grads)/d(leaf) into every leaf's .grad; an undefined grad stands for ones and needs a
// one-element root.
void run_backward(const TensorList& roots, const TensorList& grads, BackwardOptions options);
// The gradients of `inputs` (leaves or not) instead; nothing is accumulated. Undefined where unconnected.
TensorList run_grad(const TensorList& roots, const TensorList& grads, const TensorList& inputs,
                    BackwardOptions options);

// detect_anomaly: returns a text naming the caller's line. Set by the Python binding.
extern std::string (*describe_caller)();

}  // namespace lamina
