// The dimensions an elementwise job walks, on any device: as few as its operands allow.
#pragma once
#include <algorithm>
#include <cstdint>

#include "core/shape.h"
#include "kernel/elementwise.h"

namespace lamina {

constexpr int kMaxOperands = 4;  // the output, which is number 0, and inputs

struct Plan {
  int ndim = 0;  // dimension 0 is innermost
  int64_t sizes[kMaxDims];
  int64_t strides[kMaxOperands][kMaxDims];
};

// Sorts dimensions by the output's strides, drops those of one element and merges what is contiguous in all operands.
inline Plan make_plan(int ndim, const int64_t* sizes, const ElementwiseArg* args, int n_args) {
  Plan plan;
  int order[kMaxDims], n = 0;
  for (int d = ndim - 1; d >= 0; --d)
    if (sizes[d] != 1) order[n++] = d;
  std::stable_sort(order, order + n, [&](int a, int b) { return args[0].strides[a] < args[0].strides[b]; });
  for (int i = 0; i < n; ++i) {
    int d = order[i], last = plan.ndim - 1;
    bool merge = last >= 0;
    for (int a = 0; a < n_args && merge; ++a) merge = args[a].strides[d] == plan.strides[a][last] * plan.sizes[last];
    if (merge) {
      plan.sizes[last] *= sizes[d];
      continue;
    }
    plan.sizes[plan.ndim] = sizes[d];
    for (int a = 0; a < n_args; ++a) plan.strides[a][plan.ndim] = args[a].strides[d];
    ++plan.ndim;
  }
  if (plan.ndim == 0) {
    plan.ndim = 1;
    plan.sizes[0] = 1;
    for (int a = 0; a < n_args; ++a) plan.strides[a][0] = 1;
  }
  return plan;
}

}  // namespace lamina
