// The one door: every operator call is `apply(Op{attributes...}, inputs...)`. It tests one thread-local byte; when the
// tape has no interest in the inputs, the call goes straight to `Op::forward`. Tape, NaN check (later: capture,
// profiler, autocast) live here and nowhere else.
//
//   struct Square {
//     static constexpr const char* kName = "square";
//     Tensor forward(Ctx& ctx, const Tensor& x) const { ctx.save(x); return ...; }
//     Grads backward(Ctx& ctx, const Tensor& grad) const { return {mul(grad, mul(ctx.saved(0), Tensor(2.0)))}; }
//   };
// An operator with several outputs returns std::array<Tensor, n> or TensorList, and takes `const Tensor* grads`.
// Forward runs outside the tape; backward is written in differentiable operators. Next: engine.h.
#pragma once
#include <array>
#include <new>
#include <span>
#include <type_traits>

#include "autograd/node.h"
#include "core/mode.h"
#include "core/storage.h"

namespace lamina {

// A tensor kept for backward, with the version it had. Holding a node's own output strongly would be a cycle, so
// outputs are kept as an alias outside the tape and get their grad_fn back when they are read.
struct SavedTensor {
  Tensor tensor;
  uint32_t version = 0;
  bool is_output = false;
  uint16_t output_index = 0;
};

// What an operator may ask of its call: which inputs want a gradient, and a place for what backward needs.
class Ctx {
 public:
  void save(const Tensor& x) {
    if (node_) push_input(x);
  }
  void save_output(const Tensor& y, int index = 0) {
    if (node_) push({y.alias(), y.version(), true, uint16_t(index)});
  }
  // For nodes that are not made by apply(): a Python Function. output >= 0: x is that output of the node.
  void save_for(Node* node, const Tensor& x, int output = -1) {
    node_ = node;
    if (output >= 0)
      save_output(x, output);
    else
      push_input(x);
  }
  int saved_count() const { return n_; }
  // Checks that it was neither freed nor changed in place since.
  Tensor saved(int i) const;
  bool recording() const { return node_ != nullptr; }
  bool needs(int i) const { return i >= 64 || (needs_ >> i & 1); }  // does input i want a gradient?
  void release();

 private:
  template <class, int>
  friend struct OpNode;
  friend struct EdgeWriter;
  void push_input(const Tensor& x);
  void push(SavedTensor s);

  Node* node_ = nullptr;
  uint64_t needs_ = 0;
  int n_ = 0;
  bool freed_ = false;
  std::array<SavedTensor, 2> few_;
  std::vector<SavedTensor> more_;
};

// --- what the door does with each kind of input and output ---
inline bool wants_tape(const Tensor& x) { return x.defined() && x.requires_grad(); }
inline bool wants_tape(const OptTensor& x) { return x && wants_tape(*x); }
inline bool wants_tape(const TensorList& xs) {
  for (const Tensor& x : xs)
    if (wants_tape(x)) return true;
  return false;
}
inline int count_inputs(const Tensor&) { return 1; }
inline int count_inputs(const OptTensor&) { return 1; }
inline int count_inputs(const TensorList& xs) { return int(xs.size()); }

void check_not_inference(const Tensor& x, const char* op);
void check_tape_input(const Tensor& x, const char* op);  // inference tensors may not be recorded
// The place in the tape of a view whose base was changed in place since: it is read from the base anew
// (ops/inplace.cpp).
void refresh_view(const Tensor& x);
struct EdgeWriter {
  Ctx& ctx;
  Node& node;
  int i = 0;
  void add(const Tensor& x);
  void add(const OptTensor& x) { add(x ? *x : Tensor()); }
  void add(const TensorList& xs) {
    for (const Tensor& x : xs) add(x);
  }
};
void attach(const Tensor& out, Node* node, int index, const char* op);  // makes `out` the node's output
void note_origin(Node& node);                                           // anomaly mode: remember the caller

template <class Op, int kEdges>
struct OpNode final : Node {
  Op op;
  Ctx ctx;
  Edge inline_edges[kEdges > 0 ? kEdges : 1];

  OpNode(const Op& o, int n) : op(o) {
    n_edges = n;
    edges = n <= kEdges ? inline_edges : new Edge[n];
    ctx.node_ = this;
  }
  ~OpNode() override {
    if (edges != inline_edges) delete[] edges;
  }
  static OpNode* make(const Op& op, int n) { return new (small_alloc(sizeof(OpNode))) OpNode(op, n); }
  void free_self() override {
    this->~OpNode();
    small_free(this, sizeof(OpNode));
  }
  const char* name() const override {
    if constexpr (requires { Op::name(); })
      return Op::name();  // one struct for many operators, such as Unary
    else
      return Op::kName;
  }
  Grads backward(Tensor* grads) override {
    if constexpr (requires { op.backward(ctx, std::declval<const Tensor&>()); })
      return op.backward(ctx, grads[0]);
    else
      return op.backward(ctx, static_cast<const Tensor*>(grads));
  }
  void release() override { ctx.release(); }
};

template <class Op, class... In>
[[gnu::noinline]] auto apply_recorded(const Op& op, const In&... inputs) {
  constexpr int kEdges = sizeof...(In);
  using Recorded = OpNode<Op, kEdges>;
  Ref<Recorded> node(Recorded::make(op, (count_inputs(inputs) + ... + 0)));
  EdgeWriter edges{node->ctx, *node};
  (edges.add(inputs), ...);
  auto out = [&] {
    NoGrad guard;
    return node->op.forward(node->ctx, inputs...);
  }();
  if (mode_ & kAnomaly) note_origin(*node);
  if constexpr (std::is_same_v<decltype(out), Tensor>) {
    attach(out, node.get(), 0, node->name());
  } else {
    node->outputs = uint16_t(out.size());
    for (size_t i = 0; i < out.size(); ++i) attach(out[i], node.get(), int(i), node->name());
  }
  return out;
}

template <class Op, class... In>
auto apply(Op op, const In&... inputs) {
  if constexpr (requires { &Op::backward; }) {
    if (grad_enabled() && (wants_tape(inputs) || ...)) return apply_recorded(op, inputs...);
  }
  Ctx ctx;
  return op.forward(ctx, inputs...);
}

}  // namespace lamina
