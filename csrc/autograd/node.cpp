// Edges, saved tensors, and the parts of the door that need not be inline. See node.h and apply.h.
#include "autograd/node.h"

#include "autograd/apply.h"
#include "autograd/engine.h"
#include "ops/ops.h"

namespace lamina {

Edge gradient_edge(const Tensor& x) {
  Edge edge;
  if (!x.defined()) return edge;
  if (x->base) refresh_view(x);
  if (x->grad_fn) {
    edge.node = Ref<Node>(static_cast<Node*>(x->grad_fn.get()));
    edge.index = x->output_index;
  } else if (x->requires_grad) {
    edge.leaf = x.ref();
  }
  return edge;
}

TensorHooks& hooks_of(const Tensor& x) {
  if (x->base) refresh_view(x);
  if (!x->hooks) {
    Ref<TensorHooks> hooks(new TensorHooks);
    x->hooks = Ref<Opaque>(hooks.get());
    if (x->grad_fn) static_cast<Node*>(x->grad_fn.get())->watches.emplace_back(x->output_index, hooks);
  }
  return *static_cast<TensorHooks*>(x->hooks.get());
}

// Dropping the last handle to a node drops its edges, which may drop the next node, and so on. The outermost call frees
// a queue that the inner ones only append to, so the depth stays constant.
void Node::destroy() {
  static thread_local std::vector<Node*>* queue = nullptr;
  if (queue) {
    queue->push_back(this);
    return;
  }
  std::vector<Node*> pending{this};
  queue = &pending;
  while (!pending.empty()) {
    Node* node = pending.back();
    pending.pop_back();
    node->free_self();
  }
  queue = nullptr;
}

void Ctx::push(SavedTensor s) {
  if (n_ < int(few_.size()))
    few_[n_] = std::move(s);
  else
    more_.push_back(std::move(s));
  ++n_;
}

void check_not_inference(const Tensor& x, const char* op) {
  LM_CHECK(!x->inference, RuntimeError, op,
           ": a tensor made in inference_mode cannot enter the tape or be kept for backward; clone() it first");
}

void Ctx::push_input(const Tensor& x) {
  if (!x.defined()) return push({});
  check_not_inference(x, node_->name());
  Tensor kept = x;
  // Without its base, which may come to be changed in place by this very node. A leaf has to stay itself: its
  // gradient is collected there.
  if (x->changing || (x->base && !x->requires_grad)) {
    kept = x->changing ? copy_dense(x) : x.alias();
    kept->grad_fn = x->grad_fn;
    kept->output_index = x->output_index;
    kept->view_version = x->view_version;
  }
  const uint32_t version = kept.version();
  push({std::move(kept), version, false, 0});
}

Tensor Ctx::saved(int i) const {
  LM_CHECK(
      !freed_, RuntimeError, node_->name(),
      ": backward through the graph a second time, but its saved tensors were freed; need retain_graph=True in the "
      "first backward");
  const SavedTensor& s = i < int(few_.size()) ? few_[i] : more_[i - few_.size()];
  if (!s.tensor.defined()) return s.tensor;
  LM_CHECK(s.tensor.version() == s.version, RuntimeError, node_->name(), ": a tensor of shape ", s.tensor.sizes(),
           " needed for its gradient was changed in place: it is at version ", s.tensor.version(),
           ", saved at version ", s.version, "; clone() it before the change");
  if (!s.is_output || !grad_enabled()) return s.tensor;
  Tensor output = s.tensor.alias();
  output->grad_fn = Ref<Opaque>(node_);
  output->output_index = s.output_index;
  return output;
}

void Ctx::release() {
  if (n_ == 0) return;
  freed_ = true;
  few_ = {};
  more_.clear();
}

void EdgeWriter::add(const Tensor& x) {
  if (wants_tape(x)) {
    check_tape_input(x, node.name());
    node.edges[i] = gradient_edge(x);
    if (i < 64) ctx.needs_ |= 1ull << i;
  }
  ++i;
}

void check_tape_input(const Tensor& x, const char* op) { check_not_inference(x, op); }

void attach(const Tensor& out, Node* node, int index, const char* op) {
  if (!out.defined() || !out.is_floating()) return;
  check_not_inference(out, op);
  out->grad_fn = Ref<Opaque>(node);
  out->output_index = uint16_t(index);
  out->view_version = out.version();
}

}  // namespace lamina
