// How an elementwise kernel is chosen and launched. The one idea: whole units of 16 bytes where every operand's
// innermost dimension is dense or repeated and aligned, single elements of any type and strides otherwise; a job too
// large for 32-bit offsets is cut in two until it fits. Next: elementwise_rows.h (the formulas),
// kernels/elementwise.cuh.
#pragma once
#include <cstdlib>
#include <cstring>
#include <type_traits>

#include "cuda/kernels/elementwise.cuh"
#include "cuda/launch.h"
#include "kernel/copy.h"
#include "kernel/elementwise_plan.h"

namespace lamina::cuda {

static_assert(int(Type::kBool) == int(DType::Bool) && int(Type::kI64) == int(DType::I64) &&
              int(Type::kF16) == int(DType::F16) && int(Type::kF64) == int(DType::F64));

inline Divider make_divider(int64_t divisor) {
  Divider d{uint32_t(divisor), 0, 0};
  while ((uint64_t(1) << d.shift) < uint64_t(divisor)) ++d.shift;
  d.multiplier = uint32_t((((uint64_t(1) << d.shift) - uint64_t(divisor)) << 32) / uint64_t(divisor) + 1);
  return d;
}

inline const char* element_at(const ElementwiseArg& arg, int64_t index) {
  return static_cast<const char*>(arg.data) + index * item_size(arg.dtype);
}

// A number in host memory as another type.
void convert_number(DType from, const void* src, DType to, void* dst);

// Calls run(plan, args) for parts of a job, each with fewer than `limit` elements and offsets.
template <class Run>
void for_parts(const Plan& plan, const ElementwiseArg* args, int n_args, const Run& run, int64_t limit = 1 << 30) {
  int64_t total = 1, longest = 0;
  int cut = 0;
  bool fits = true;
  for (int d = 0; d < plan.ndim; ++d) total *= plan.sizes[d];
  for (int a = 0; a < n_args; ++a) {
    int64_t reach = 0;
    for (int d = 0; d < plan.ndim; ++d) {
      const int64_t length = (plan.sizes[d] - 1) * std::abs(plan.strides[a][d]);
      reach += length;
      if (length > longest) longest = length, cut = d;
    }
    fits = fits && reach < limit;
  }
  if (fits && total < limit) return run(plan, args);
  if (plan.sizes[cut] < 2)  // all repeats
    for (int d = 0; d < plan.ndim; ++d)
      if (plan.sizes[d] > plan.sizes[cut]) cut = d;
  Plan part = plan;
  part.sizes[cut] = plan.sizes[cut] / 2;
  if (part.sizes[cut] > 16) part.sizes[cut] &= ~int64_t(15);  // the rest begins as aligned as the whole
  for_parts(part, args, n_args, run, limit);
  ElementwiseArg rest[kMaxOperands];
  for (int a = 0; a < n_args; ++a) {
    rest[a] = args[a];
    rest[a].data = element_at(args[a], part.sizes[cut] * plan.strides[a][cut]);
  }
  part.sizes[cut] = plan.sizes[cut] - part.sizes[cut];
  for_parts(part, rest, n_args, run, limit);
}

// Whether V neighbours of every operand are one aligned access or one element.
inline bool whole_units(const Plan& plan, const ElementwiseArg* args, int n_args, int V) {
  if (plan.ndim > 1 && plan.sizes[0] % V) return false;
  for (int a = 0; a < n_args; ++a) {
    if (args[a].on_host) continue;
    const int64_t inner = plan.strides[a][0];
    if (inner == 0 && a > 0 && plan.sizes[0] > 1) continue;
    if (inner != 1 || reinterpret_cast<uintptr_t>(args[a].data) % uintptr_t(V * item_size(args[a].dtype))) return false;
    for (int d = 1; d < plan.ndim; ++d)
      if (plan.strides[a][d] % V) return false;
  }
  return true;
}

template <int kOperands>
Layout<kOperands> make_layout(const Plan& plan, const ElementwiseArg* args, int V) {
  Layout<kOperands> layout{};
  layout.ndim = plan.ndim;
  layout.units = 1;
  layout.rest = int(plan.sizes[0] % V);
  for (int d = 0; d < plan.ndim; ++d) {
    const int size = int(plan.sizes[d]) / (d == 0 ? V : 1);
    layout.units *= size;
    layout.size[d] = make_divider(std::max(size, 1));
    for (int a = 0; a < kOperands; ++a) layout.stride[a][d] = int(plan.strides[a][d]) * (d == 0 ? V : 1);
  }
  for (int a = 0; a < kOperands; ++a) {
    Operand& operand = layout.operand[a];
    operand = {args[a].data, Type(args[a].dtype), args[a].on_host, plan.strides[a][0] == 0, {}};
    if (args[a].on_host) convert_number(args[a].dtype, args[a].data, args[a].compute, operand.value);
  }
  return layout;
}

// args[0] is the output, then what `f` reads.
template <class T, class R, int V, int kUnits, Types kIn, class F>
void launch_elementwise(Stream stream, const F& f, const Plan& plan, const ElementwiseArg* args) {
  constexpr int kOperands = F::kInputs + 1;
  const Layout<kOperands> layout = make_layout<kOperands>(plan, args, V);
  const unsigned blocks = blocks_for(layout.units, kElementwiseThreads * kUnits);
  launch(elementwise_kernel<F, T, R, V, kUnits, kIn>, std::max(blocks, 1u), kElementwiseThreads, 0, stream, layout, f);
}

inline bool is_empty(const Plan& plan) {
  for (int d = 0; d < plan.ndim; ++d)
    if (plan.sizes[d] == 0) return true;
  return false;
}

// A formula on one type: what differs between rows of the table, so that how a launch is chosen is compiled once.
struct FormulaKernels {
  // Takes a Layout of the formula's operands and the functor by address.
  using Launch = void (*)(Stream stream, unsigned blocks, const void* layout, const void* f);
  int operands;                        // the output and what the formula reads
  int pack;                            // elements of a whole unit
  int whole_units, single_units;       // that a thread has in flight
  Launch launch_whole, launch_single;  // whole units; null where they are not worth it. Single elements of any type
};

// `skipped` is an input that the formula does not read, or -1.
void run_formula(Stream stream, const FormulaKernels& kernels, const void* f, const ElementwiseJob& job, int skipped);

// The rows of the table, defined in elementwise_rows.h, instantiated by unary_*.cu and binary_*.cu.
template <class T>
void unary_row(Stream stream, const ElementwiseJob& job);
template <class T>
void unary_gradient_row(Stream stream, const ElementwiseJob& job);
template <class T>
void binary_row(Stream stream, const ElementwiseJob& job);
template <class T>
void binary_gradient_row(Stream stream, const ElementwiseJob& job);

[[noreturn]] inline void no_such_row(const ElementwiseJob& job) {
  fail<RuntimeError>("cuda: no kernel for formula ", job.formula.id, " of kind ", int(job.formula.kind), " in ",
                     job.in[0].compute);
}

}  // namespace lamina::cuda
