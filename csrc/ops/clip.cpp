// Clipping of gradients: checks, then the flat arrays of all of them in one call of a job (kernel/clip.h) for each
// device.
#include "ops/clip.h"

#include <algorithm>

#include "kernel/clip.h"
#include "ops/ops.h"

namespace lamina {
namespace {

// The arrays of the tensors in one place: on one device, computed in one dtype.
struct Group {
  Device device;
  bool wide;  // F64
  std::vector<FlatArray> arrays = {};
  TensorList kept = {};                                  // copies of what is not dense
  std::vector<std::pair<Tensor, Tensor>> replaced = {};  // such tensors and their copies, written back at the end

  void add(const Tensor& x, bool changed) {
    Tensor dense = x;
    if (!is_dense(x.sizes(), x.strides())) {
      dense = empty_tensor(x.sizes(), x.dtype(), x.device());
      copy_into(dense, x);
      if (changed) replaced.emplace_back(x, dense);
      kept.push_back(dense);
    }
    arrays.push_back({x.dtype(), x.numel(), dense.data()});
  }
  int64_t count() const { return int64_t(arrays.size()); }
  void finish() const {
    for (const auto& [x, copy] : replaced) copy_into(x, copy);
  }
};

std::vector<Group> grouped(const char* op, const TensorList& tensors, bool changed) {
  std::vector<Group> groups;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& x = tensors[i];
    LM_CHECK(x.defined() && x.is_floating(), TypeError, op, ": tensor ", i, " is ",
             x.defined() ? dtype_name(x.dtype()) : "None", "; need a floating-point dtype");
    const bool wide = x.dtype() == DType::F64;
    auto fits = [&](const Group& g) { return g.device == x.device() && g.wide == wide; };
    auto it = std::find_if(groups.begin(), groups.end(), fits);
    if (it == groups.end()) it = groups.insert(it, Group{x.device(), wide});
    it->add(x, changed);
    if (changed) x.bump_version();
  }
  return groups;
}

}  // namespace

Tensor total_norm(const TensorList& tensors, double p) {
  LM_CHECK(p != 0 && p == p, ValueError, "get_total_norm: norm_type is ", p, "; need a number other than 0");
  if (tensors.empty()) return full_tensor({}, 0.0, DType::F32);
  TensorList norms;
  for (const Group& g : grouped("get_total_norm", tensors, false)) {
    norms.push_back(empty_tensor({}, g.wide ? DType::F64 : DType::F32, g.device));
    kernel::norm_of_arrays(stream_of(g.device), p, g.arrays.data(), g.count(), norms.back().data());
  }
  Tensor norm = norms[0];
  if (norms.size() > 1) {
    for (Tensor& x : norms) x = to_device(cast(x, DType::F64), tensors[0].device());
    norm = total_norm(norms, p);
  }
  return cast(norm, result_type(tensors));
}

void scale_by_norm_(const TensorList& tensors, const Tensor& total_norm, double max_norm) {
  LM_CHECK(total_norm.numel() == 1 && total_norm.is_floating(), ValueError, "clip_grads_with_norm_: total_norm is ",
           total_norm.dtype(), " of shape ", total_norm.sizes(), "; need one floating-point number");
  const DType dtype = total_norm.dtype() == DType::F64 ? DType::F64 : DType::F32;
  for (const Group& g : grouped("clip_grads_with_norm_", tensors, true)) {
    const Tensor norm = to_device(cast(total_norm.alias(), dtype), g.device);
    kernel::scale_arrays(stream_of(g.device), max_norm, dtype, norm.data(), g.arrays.data(), g.count());
    g.finish();
  }
}

void clamp_all_(const TensorList& tensors, double low, double high) {
  for (const Group& g : grouped("clip_grad_value_", tensors, true)) {
    kernel::clamp_arrays(stream_of(g.device), low, high, g.arrays.data(), g.count());
    g.finish();
  }
}

}  // namespace lamina
