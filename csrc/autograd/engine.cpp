// Reverse mode in three steps: find every node the roots reach and count how many edges lead to each; then, starting at
// the roots, run a node's backward rule once all gradients of its outputs have arrived, and add what it returns to the
// nodes behind it. Iterative, so depth is limited by memory only; the order is fixed by the graph alone.
#include "autograd/engine.h"

#include <unordered_map>

#include "autograd/apply.h"
#include "ops/ops.h"

namespace lamina {

std::string (*describe_caller)() = nullptr;

void note_origin(Node& node) {
  if (describe_caller) node.origin = describe_caller();
}

namespace {

// A node, or a leaf tensor that collects a gradient.
struct Task {
  Node* node = nullptr;
  TensorImpl* leaf = nullptr;
  int waiting = 0;     // edges whose gradient has not arrived
  bool needed = true;  // leads to a requested input (run_grad)
  Grads grads;         // per output
};

// Pointer -> task, by open addressing: a walk over a small graph must cost nanoseconds a node.
class TaskIndex {
 public:
  TaskIndex() : slots_(64) {}
  int& operator[](const void* key) {
    if ((count_ + 1) * 2 > slots_.size()) grow();
    Slot& slot = find(key);
    if (!slot.key) {
      slot = {key, -1};
      ++count_;
    }
    return slot.task;
  }

 private:
  struct Slot {
    const void* key = nullptr;
    int task = -1;
  };
  Slot& find(const void* key) {
    size_t mask = slots_.size() - 1, i = (reinterpret_cast<uintptr_t>(key) >> 6) * 0x9E3779B97F4A7C15ull >> 20;
    for (;; ++i)
      if (Slot& slot = slots_[i & mask]; slot.key == key || !slot.key) return slot;
  }
  void grow() {
    std::vector<Slot> old(slots_.size() * 2);
    old.swap(slots_);
    for (const Slot& slot : old)
      if (slot.key) find(slot.key) = slot;
  }
  std::vector<Slot> slots_;
  size_t count_ = 0;
};

class Walk {
 public:
  Walk(BackwardOptions options, bool accumulate) : options_(options), accumulate_(accumulate) {}

  // Which gradients to hand out instead of accumulating: (task, output) -> position in `inputs`.
  void request(const TensorList& inputs) {
    results_.resize(inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      Edge edge = gradient_edge(inputs[i]);
      LM_CHECK(!edge.empty(), RuntimeError, "grad: input ", i, " of shape ", inputs[i].sizes(),
               " does not require grad; need requires_grad=True before it is used");
      requests_.emplace(edge.node ? static_cast<void*>(edge.node.get()) : edge.leaf.get(), Request{edge.index, int(i)});
    }
  }

  TensorList run(const TensorList& roots, const TensorList& grads) {
    std::vector<Edge> edges;
    for (const Tensor& root : roots) edges.push_back(gradient_edge(root));
    for (const Edge& edge : edges) discover(edge);
    if (!accumulate_) mark_needed();
    for (size_t i = 0; i < edges.size(); ++i) deliver(edges[i], grads[i]);
    EnableGrad mode(options_.create_graph);
    // A root that another root depends on becomes ready when its last gradient arrives.
    for (const Edge& edge : edges)
      if (int t = task_of(edge); tasks_[t].waiting == 0) {
        tasks_[t].waiting = -1;  // the same root may be given twice
        ready_.push_back(t);
      }
    while (!ready_.empty()) {
      int t = ready_.back();
      ready_.pop_back();
      tasks_[t].leaf ? finish_leaf(t) : step(t);
    }
    return std::move(results_);
  }

 private:
  struct Request {
    uint32_t output;
    int position;
  };

  static const void* key_of(const Edge& edge) {
    return edge.node ? static_cast<const void*>(edge.node.get()) : edge.leaf.get();
  }
  int task_of(const Edge& edge) { return index_[key_of(edge)]; }

  int add_task(const Edge& edge) {
    int t = int(tasks_.size());
    index_[key_of(edge)] = t;
    Task& task = tasks_.emplace_back();
    task.node = edge.node.get();
    task.leaf = edge.node ? nullptr : edge.leaf.get();
    task.grads.resize(task.node ? task.node->outputs : 1);
    return t;
  }

  void discover(const Edge& root) {
    if (root.empty() || task_of(root) >= 0) return;
    std::vector<int> stack{add_task(root)};
    while (!stack.empty()) {
      int t = stack.back();
      stack.pop_back();
      Node* node = tasks_[t].node;
      for (int i = 0; node && i < node->n_edges; ++i) {
        const Edge& edge = node->edges[i];
        if (edge.empty()) continue;
        int next = task_of(edge);
        if (next < 0) stack.push_back(next = add_task(edge));
        ++tasks_[next].waiting;
      }
    }
  }

  // Only nodes that lead to a requested input are run. A node is needed if a node behind it is: visit in topological
  // order (by counts), then backwards.
  void mark_needed() {
    std::vector<int> waiting(tasks_.size()), order;
    for (size_t t = 0; t < tasks_.size(); ++t)
      if (!(waiting[t] = tasks_[t].waiting)) order.push_back(int(t));
    for (size_t i = 0; i < order.size(); ++i)
      for_each_edge(order[i], [&](int next) {
        if (--waiting[next] == 0) order.push_back(next);
      });
    for (size_t i = order.size(); i-- > 0;) {
      Task& task = tasks_[order[i]];
      task.needed = requests_.count(task.node ? static_cast<void*>(task.node) : task.leaf) > 0;
      for_each_edge(order[i], [&](int next) { task.needed |= tasks_[next].needed; });
    }
  }
  template <class F>
  void for_each_edge(int t, F f) {
    Node* node = tasks_[t].node;
    for (int i = 0; node && i < node->n_edges; ++i)
      if (!node->edges[i].empty()) f(task_of(node->edges[i]));
  }

  void deliver(const Edge& edge, Tensor grad) {
    if (edge.empty() || !grad.defined()) return;
    Tensor& slot = tasks_[task_of(edge)].grads[edge.index];
    slot = slot.defined() ? sum_gradients(std::move(slot), grad) : std::move(grad);
  }
  Tensor sum_gradients(Tensor a, const Tensor& b) {
    bool own = !options_.create_graph && a.ref().use_count() == 1 && a->storage.use_count() == 1;
    if (own && a.dtype() == b.dtype() && a.sizes() == b.sizes() && is_dense(a.sizes(), a.strides()))
      return add_into(a, b);
    return add(a, b);
  }

  void step(int t) {
    Node* node = tasks_[t].node;
    Grads out(size_t(node->n_edges));
    bool arrived = false;
    for (Tensor& grad : tasks_[t].grads) arrived |= grad.defined();
    if (arrived && tasks_[t].needed) {
      run_hooks(*node, tasks_[t].grads);
      hand_out(node, tasks_[t].grads);
      if (!only_requested(t)) {
        out = naming(node->name(), [&] { return node->backward(tasks_[t].grads.begin()); });
        if (mode_ & kAnomaly) check_finite(*node, out);
        if (!options_.retain_graph) node->release();
      }
    }
    tasks_[t].grads = Grads();  // free the buffers while walking
    for (int i = 0; i < node->n_edges; ++i) {
      const Edge& edge = node->edges[i];
      if (edge.empty()) continue;
      int next = task_of(edge);
      if (tasks_[next].needed) deliver(edge, i < int(out.size()) ? std::move(out[i]) : Tensor());
      if (--tasks_[next].waiting == 0) ready_.push_back(next);
    }
  }
  // A requested node with nothing needed behind it need not run.
  bool only_requested(int t) {
    if (accumulate_) return false;
    bool behind = false;
    for_each_edge(t, [&](int next) { behind |= tasks_[next].needed; });
    return !behind;
  }

  void run_hooks(Node& node, Grads& grads) {
    for (size_t w = 0; w < node.watches.size(); ++w) {  // a hook may add a watch
      auto [output, hooks] = node.watches[w];
      apply_hooks(*hooks, grads[output]);
      if (hooks->retains_grad && accumulate_) hooks->retained = detached(grads[output]);
    }
  }
  static void apply_hooks(TensorHooks& hooks, Tensor& grad) {
    if (!grad.defined()) return;
    for (size_t i = 0; i < hooks.hooks.size(); ++i)
      if (Tensor replaced = hooks.hooks[i].second(grad); replaced.defined()) grad = replaced;
  }
  Tensor detached(const Tensor& grad) const { return options_.create_graph || !grad.defined() ? grad : grad.alias(); }

  void hand_out(void* key, Grads& grads) {
    auto [begin, end] = requests_.equal_range(key);
    for (auto it = begin; it != end; ++it) results_[it->second.position] = grads[it->second.output];
  }

  void finish_leaf(int t) {
    TensorImpl* leaf = tasks_[t].leaf;
    Tensor grad = std::move(tasks_[t].grads[0]);
    if (!grad.defined()) return;
    auto* hooks = static_cast<TensorHooks*>(leaf->hooks.get());
    if (hooks) apply_hooks(*hooks, grad);
    if (!accumulate_) {
      Grads one{grad};
      return hand_out(leaf, one);
    }
    accumulate(leaf, std::move(grad));
    if (hooks)
      for (auto& [id, hook] : hooks->after_accumulate) hook();
  }

  void accumulate(TensorImpl* leaf, Tensor grad) {
    if (!leaf->grad) {
      // The first gradient is moved in, unless somebody else can see it or it repeats elements (an expanded view).
      bool own =
          grad.ref().use_count() == 1 && grad->storage.use_count() == 1 && is_dense(grad.sizes(), grad.strides());
      if (options_.create_graph)
        leaf->grad = grad.ref();
      else
        leaf->grad = (own ? grad : copy_dense(grad)).ref();
      return;
    }
    Tensor total(leaf->grad);
    if (options_.create_graph || total.requires_grad() || !is_dense(total.sizes(), total.strides()))
      leaf->grad = add(total, grad).ref();
    else
      add_into(total, grad);
  }

  static void check_finite(const Node& node, Grads& grads) {
    for (size_t i = 0; i < grads.size(); ++i)
      LM_CHECK(!grads[i].defined() || !has_nan(grads[i]), RuntimeError, node.name(),
               ": its backward gave NaN for input ", i, "; the forward call was made at:\n", node.origin);
  }

  BackwardOptions options_;
  bool accumulate_;
  std::vector<Task> tasks_;
  TaskIndex index_;
  std::vector<int> ready_;
  std::unordered_multimap<const void*, Request> requests_;
  TensorList results_;
};

TensorList root_gradients(const TensorList& roots, const TensorList& grads, const char* op) {
  LM_CHECK(grads.empty() || grads.size() == roots.size(), ValueError, op, ": got ", grads.size(), " gradients for ",
           roots.size(), " tensors; need one each");
  TensorList out;
  for (size_t i = 0; i < roots.size(); ++i) {
    const Tensor& root = roots[i];
    LM_CHECK(root.requires_grad(), RuntimeError, op, ": tensor ", i, " of shape ", root.sizes(),
             " does not require grad and has no grad_fn; need a result of tensors with requires_grad=True");
    Tensor grad = i < grads.size() ? grads[i] : Tensor();
    if (!grad.defined()) {
      LM_CHECK(root.numel() == 1, RuntimeError, op, ": grad can be created only for one-element outputs, got shape ",
               root.sizes(), "; pass a gradient of that shape");
      grad = ones_tensor(root.sizes(), root.dtype(), root.device());
    }
    LM_CHECK(grad.sizes() == root.sizes(), ValueError, op, ": the gradient has shape ", grad.sizes(),
             ", the tensor has ", root.sizes(), "; need equal shapes");
    LM_CHECK(grad.device() == root.device(), RuntimeError, op, ": the gradient is on ", grad.device(),
             ", the tensor on ", root.device(), "; need one device");
    out.push_back(grad.dtype() == root.dtype() ? grad : cast(grad, root.dtype()));
  }
  return out;
}

}  // namespace

void run_backward(const TensorList& roots, const TensorList& grads, BackwardOptions options) {
  TensorList seeds = root_gradients(roots, grads, "backward");
  Walk(options, true).run(roots, seeds);
}

TensorList run_grad(const TensorList& roots, const TensorList& grads, const TensorList& inputs,
                    BackwardOptions options) {
  TensorList seeds = root_gradients(roots, grads, "grad");
  Walk walk(options, false);
  walk.request(inputs);
  return walk.run(roots, seeds);
}

}  // namespace lamina
