// Note [In place]
// `x.exp_()` is: y = exp(x'), with x' a handle to x's elements and place in the tape *before* the change; then x takes
// y's elements (version + 1) and y's grad_fn. A node that saves x' itself saves a copy (`changing`); one that saved x
// before notices the version and raises on backward.
// When x is a view, its base must see the change too: the base becomes the output of WriteView, whose inputs are the
// old base and y. x and every other view of the base, also views of views, now have an outdated place in the tape; each
// gets a new one, the output of ReadView of the base, when it is used next (refresh_view), as in PyTorch.
#include "autograd/apply.h"
#include "ops/ops.h"

namespace lamina {

namespace {

// Where a view lies in its base. Any tensor stands for the base that has its sizes: gradients come in other orders.
struct ViewLayout {
  Shape sizes, strides;
  int64_t offset;  // from the base's first element
  Shape base_sizes, base_strides;

  Tensor of(const Tensor& base) const { return base.with_layout(sizes, strides, base->offset + offset); }
  Tensor copied_base(const Tensor& base) const {
    Tensor out = empty_strided_tensor(base_sizes, base_strides, base.dtype(), base.device());
    copy_into(out, base);
    return out;
  }
};

ViewLayout layout_of(const Tensor& view, const Tensor& base) {
  LM_CHECK(is_dense(base.sizes(), base.strides()) && base.dtype() == view.dtype(), RuntimeError,
           "in-place change of a tensor in the tape with views: the base is ", base.dtype(), " of shape ", base.sizes(),
           " and strides ", base.strides(), ", the view ", view.dtype(),
           "; need one dtype, and a base without gaps; clone() it first");
  return {view.sizes(), view.strides(), view->offset - base->offset, base.sizes(), base.strides()};
}

struct ReadView {  // base -> view
  static constexpr const char* kName = "as_strided";
  ViewLayout view;
  Tensor forward(Ctx&, const Tensor& base) const {
    return view.of(base.strides() == view.base_strides ? base : view.copied_base(base));
  }
  Grads backward(Ctx&, const Tensor& grad) const;
};

struct WriteView {  // (base, value) -> base with the view's elements replaced by value
  static constexpr const char* kName = "copy_slices";
  ViewLayout view;
  Tensor forward(Ctx&, const Tensor& base, const Tensor& value) const {
    Tensor out = view.copied_base(base);
    copy_into(view.of(out), value);
    return out;
  }
  Grads backward(Ctx& ctx, const Tensor& grad) const {
    Grads out(2);
    if (ctx.needs(0)) out[0] = apply(WriteView{view}, grad, full_tensor(view.sizes, 0, grad.dtype(), grad.device()));
    if (ctx.needs(1)) out[1] = apply(ReadView{view}, grad);
    return out;
  }
};

Grads ReadView::backward(Ctx&, const Tensor& grad) const {
  return {apply(WriteView{view}, full_tensor(view.base_sizes, 0, grad.dtype(), grad.device()), grad)};
}

// Hooks stay with the tensor: they watch its new node.
void move_hooks(const Tensor& x) {
  if (!x->hooks || !x->grad_fn) return;
  Node* node = static_cast<Node*>(x->grad_fn.get());
  node->watches.emplace_back(x->output_index, Ref<TensorHooks>(static_cast<TensorHooks*>(x->hooks.get())));
}

}  // namespace

void refresh_view(const Tensor& x) {
  const bool outdated = x->grad_fn && x->view_version != x.version();
  if (!x->base || (!outdated && !x.follows_base())) return;
  const Tensor base(x->base);
  const EnableGrad guard;
  const Tensor fresh = apply(ReadView{layout_of(x, base)}, base);
  x->grad_fn = fresh->grad_fn;
  x->output_index = fresh->output_index;
  x->view_version = x.version();
  move_hooks(x);
}

Tensor before_inplace(const Tensor& self, const char* op) {
  for (int i = 0; i < self.dim(); ++i)
    LM_CHECK(self.stride(i) != 0 || self.size(i) <= 1, RuntimeError, op,
             ": cannot write in place to an expanded tensor of shape ", self.sizes(), " and strides ", self.strides(),
             ": several elements share one place; clone() it first");
  if (grad_enabled()) {
    LM_CHECK(
        !self->requires_grad, RuntimeError, op,
        ": a leaf tensor that requires grad cannot be changed in place; use no_grad() or an out-of-place operator");
    if (self->base) {
      refresh_view(self);
      Tensor base(self->base);
      LM_CHECK(!base->requires_grad, RuntimeError, op,
               ": a view of a leaf that requires grad cannot be changed in place; use no_grad()");
      LM_CHECK(!base->grad_fn || self->grad_fn, RuntimeError, op,
               ": this view was made under no_grad of a tensor in the tape; in-place changes would be lost");
      check_tape_input(self, op);
    }
  }
  Tensor x = self.alias();
  x->grad_fn = self->grad_fn;
  x->output_index = self->output_index;
  x->view_version = self->view_version;
  x->requires_grad = self->requires_grad;
  x->changing = true;
  return x;
}

void assign_inplace(Tensor& self, const Tensor& result, const char* op, bool non_blocking) {
  LM_CHECK(result.sizes() == self.sizes(), ValueError, op, ": the result has shape ", result.sizes(),
           ", the tensor changed in place has ", self.sizes(), "; need equal shapes");
  LM_CHECK(is_floating(self.dtype()) || !is_floating(result.dtype()), TypeError, op, ": the result has dtype ",
           result.dtype(), ", which cannot be stored in place in ", self.dtype());
  LM_CHECK(self.dtype() != DType::Bool || result.dtype() == DType::Bool, TypeError, op, ": the result has dtype ",
           result.dtype(), ", which cannot be stored in place in ", self.dtype());
  bool taped = grad_enabled() && result.requires_grad() && self.is_floating();
  if (taped) check_not_inference(self, op);
  Tensor value = taped && result.dtype() != self.dtype() ? cast(result, self.dtype()) : result;
  if (self->base && (taped || self.requires_grad()) && grad_enabled()) {
    Tensor base(self->base);
    Tensor changed = apply(WriteView{layout_of(self, base)}, base, value);
    copy_into(self, value);
    self.bump_version();
    base->grad_fn = changed->grad_fn;
    base->output_index = changed->output_index;
    base->view_version = self.version();
    return refresh_view(self);
  }
  copy_into(self, value, non_blocking);
  self.bump_version();
  if (!grad_enabled()) return;
  self->view_version = self.version();
  self->grad_fn = taped ? value->grad_fn : Ref<Opaque>();
  self->output_index = taped ? value->output_index : 0;
  // The result may be a leaf itself (copy_ of a parameter): then the tape needs a node in between.
  if (taped && !value->grad_fn) {
    Tensor node = mul(value, Tensor(1.0));
    self->grad_fn = node->grad_fn;
    self->output_index = node->output_index;
  }
  move_hooks(self);
}

}  // namespace lamina
