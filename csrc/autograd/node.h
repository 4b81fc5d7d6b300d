// Node: one recorded operator. It keeps what its backward rule asks for and points at the nodes that made its inputs.
// A tensor made by node n as its i-th output carries (grad_fn = n, output_index = i). Next: apply.h, engine.h.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace lamina {

struct Node;

// Where a gradient goes: to a node's output, or into a leaf's .grad. Both empty: nowhere.
struct Edge {
  Ref<Node> node;
  Ref<TensorImpl> leaf;
  uint32_t index = 0;
  bool empty() const { return !node && !leaf; }
};
Edge gradient_edge(const Tensor& x);

// Gradients of a node's inputs: up to four inline.
class Grads {
 public:
  Grads() = default;
  explicit Grads(size_t n) { resize(n); }
  Grads(std::initializer_list<Tensor> list) {
    resize(list.size());
    size_t i = 0;
    for (const Tensor& x : list) (*this)[i++] = x;
  }
  void resize(size_t n) {
    n_ = n;
    if (n > kInline) more_.resize(n);
  }
  size_t size() const { return n_; }
  Tensor& operator[](size_t i) { return n_ > kInline ? more_[i] : few_[i]; }
  const Tensor& operator[](size_t i) const { return n_ > kInline ? more_[i] : few_[i]; }
  Tensor* begin() { return n_ > kInline ? more_.data() : few_; }
  Tensor* end() { return begin() + n_; }

 private:
  static constexpr size_t kInline = 4;
  size_t n_ = 0;
  Tensor few_[kInline];
  std::vector<Tensor> more_;
};

// Hooks of one tensor, and its gradient when retain_grad() asked for it. Shared by the tensor and by the node that made
// it: a node that held the tensor itself would be a cycle.
using GradHook = std::function<Tensor(const Tensor& grad)>;  // an undefined result keeps the gradient
struct TensorHooks final : Opaque {
  std::vector<std::pair<int64_t, GradHook>> hooks;
  std::vector<std::pair<int64_t, std::function<void()>>> after_accumulate;
  bool retains_grad = false;
  Tensor retained;
  void destroy() override { delete this; }
};
TensorHooks& hooks_of(const Tensor& x);  // made on first use, and known to the node

struct Node : Opaque {
  uint16_t outputs = 1;
  Edge* edges = nullptr;
  int n_edges = 0;
  std::vector<std::pair<uint32_t, Ref<TensorHooks>>> watches;  // (output, hooks), for outputs that have any
  std::string origin;  // where the forward call was made; only under detect_anomaly

  virtual const char* name() const = 0;
  // grads: one per output, undefined where no gradient arrived. Returns one per edge.
  virtual Grads backward(Tensor* grads) = 0;
  virtual void release() = 0;  // drop what was saved
  // Deletes without recursion: a chain of 100,000 nodes must not overflow the stack.
  void destroy() final;

 protected:
  virtual void free_self() = 0;
};

}  // namespace lamina
