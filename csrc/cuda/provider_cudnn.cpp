// Convolutions by cuDNN, channels-last. Its fast kernels want the weights channels-last too, so they are reordered on
// the way in (or out); a bias is what the result starts from. What it needs for a shape is made once and kept.
#include "cuda/provider_cudnn.h"

#include "cuda/memory.h"
#include "kernel/copy.h"

namespace lamina::cuda {

using namespace cudnn_api;

Cudnn::Cudnn() : Provider("cudnn", {"LAMINA_CUDNN_PATH", {"libcudnn.so.9"}, {"cudnn"}}) {
#define LM_FIND(RESULT, NAME, PARAMETERS) find(#NAME, NAME);
  LM_CUDNN(LM_FIND)
#undef LM_FIND
  if (!usable()) return;
  const size_t v = cudnnGetVersion();  // 91002: 9.10.2
  version = str(v / 10000, ".", v / 100 % 100, ".", v % 100);
}

const Cudnn& cudnn() {
  static const auto* one = new Cudnn;
  return *one;
}

namespace {

void check(int status, const char* call) {
  LM_CHECK(status == kSuccess, DeviceError, "cudnn: ", call, " failed: ", cudnn().cudnnGetErrorString(status));
}
#define LM_CALL(FUNCTION, ...) check(cudnn().FUNCTION(__VA_ARGS__), #FUNCTION)

struct Plan {
  void *x = nullptr, *w = nullptr, *y = nullptr, *conv = nullptr;
  int algorithm = 0;
  size_t workspace_bytes = 0;
  bool works = false;
};

using Sizes = std::vector<int>;  // as cuDNN counts: images, channels, then two or three spatial dimensions

// A depth of one is left out.
int first_dimension(const ConvGeometry& g) {
  return g.in[0] == 1 && g.kernel[0] == 1 && g.out[0] == 1 && g.padding[0] == 0;
}
Sizes spatial(const ConvGeometry& g, const int64_t (&values)[3]) { return {values + first_dimension(g), values + 3}; }
Sizes sizes(const ConvGeometry& g, int64_t n, int64_t c, const int64_t (&values)[3]) {
  Sizes out{int(n), int(c)};
  for (int v : spatial(g, values)) out.push_back(v);
  return out;
}

void* make_image(int type, const Sizes& size) {
  Sizes strides(size.size());
  int step = strides[1] = 1;
  step *= size[1];
  for (size_t i = size.size() - 1; i > 1; --i) strides[i] = step, step *= size[i];
  strides[0] = step;
  void* tensor = nullptr;
  LM_CALL(cudnnCreateTensorDescriptor, &tensor);
  LM_CALL(cudnnSetTensorNdDescriptor, tensor, type, int(size.size()), size.data(), strides.data());
  return tensor;
}

int workspace_size(void* handle, ConvPass pass, Plan& p) {
  const Cudnn& c = cudnn();
  size_t* bytes = &p.workspace_bytes;
  switch (pass) {
    case ConvPass::Forward:
      return c.cudnnGetConvolutionForwardWorkspaceSize(handle, p.x, p.w, p.conv, p.y, p.algorithm, bytes);
    case ConvPass::DataGrad:
      return c.cudnnGetConvolutionBackwardDataWorkspaceSize(handle, p.w, p.y, p.conv, p.x, p.algorithm, bytes);
    default:
      return c.cudnnGetConvolutionBackwardFilterWorkspaceSize(handle, p.x, p.y, p.conv, p.w, p.algorithm, bytes);
  }
}

Plan make_plan(void* handle, const ConvTask& t) {
  const ConvGeometry& g = t.g;
  const bool wide = t.dtype == DType::F64, half = item_size(t.dtype) == 2;
  const int type = wide ? kDouble : t.dtype == DType::F32 ? kFloat : t.dtype == DType::F16 ? kHalf : kBfloat;
  const Sizes padding = spatial(g, g.padding), stride = spatial(g, g.stride), dilation = spatial(g, g.dilation);
  const Sizes weight = sizes(g, g.c_out, t.channels(), g.kernel);
  Plan p;
  p.x = make_image(type, sizes(g, g.n, g.c_in, g.in));
  p.y = make_image(type, sizes(g, g.n, g.c_out, g.out));
  LM_CALL(cudnnCreateFilterDescriptor, &p.w);
  LM_CALL(cudnnSetFilterNdDescriptor, p.w, type, kChannelsLast, int(weight.size()), weight.data());
  LM_CALL(cudnnCreateConvolutionDescriptor, &p.conv);
  LM_CALL(cudnnSetConvolutionNdDescriptor, p.conv, int(padding.size()), padding.data(), stride.data(), dilation.data(),
          kCrossCorrelation, wide ? kDouble : kFloat);
  LM_CALL(cudnnSetConvolutionGroupCount, p.conv, int(g.groups));
  LM_CALL(cudnnSetConvolutionMathType, p.conv, half ? kTensorCores : kFma);
  using Algorithms = std::vector<int>;
  for (int algorithm : t.pass == ConvPass::Forward    ? Algorithms{kForwardPrecomputedGemm, kForwardGemm}
                       : t.pass == ConvPass::DataGrad ? Algorithms{kDataGemm}
                                                      : Algorithms{kFilterGemm}) {
    p.algorithm = algorithm;
    const int status = workspace_size(handle, t.pass, p);
    p.works = status == kSuccess;
    if (p.works) break;
    if (status < kNotSupported || status >= kNotSupportedEnd) check(status, "cudnnGetConvolutionWorkspaceSize");
  }
  return p;
}

// Weights from (out, channels, taps) to (out, taps, channels), or back.
void reorder(Stream stream, const ConvTask& t, const void* from, void* to, bool back) {
  const int64_t c = t.channels(), taps = t.taps(), sizes[3] = {t.g.c_out, c, taps};
  const int64_t ours[3] = {c * taps, taps, 1}, theirs[3] = {c * taps, 1, c};
  cuda::copy_strided(stream, 3, sizes, to, back ? ours : theirs, t.dtype, from, back ? theirs : ours, t.dtype);
}

bool convolve(Stream stream, const std::string& key, const ConvTask& t, void* out) {
  auto& plans = Plans<Plan>::of(stream);
  const std::scoped_lock lock(plans.mutex);  // a handle has one stream
  const Plan* found = plans.find(stream, key, [&] {
    if (!plans.handle) LM_CALL(cudnnCreate, &plans.handle);
    return make_plan(plans.handle, t);
  });
  if (!found || !found->works) return false;
  const Plan& p = *found;

  const int64_t item = item_size(t.dtype);
  const bool reordered = t.taps() > 1 && t.channels() > 1, weight_grad = t.pass == ConvPass::WeightGrad;
  const Workspace workspace(stream, p.workspace_bytes);
  const Workspace packed(stream, reordered ? size_t(t.g.c_out * t.channels() * t.taps() * item) : 0);
  const void* w = t.w;
  if (reordered && !weight_grad) reorder(stream, t, t.w, packed.as<void>(), false), w = packed.as<void>();
  if (t.bias) {
    const ConvGeometry& g = t.g;
    const bool forward = t.pass == ConvPass::Forward;
    const int64_t c = forward ? g.c_out : g.c_in;
    const int64_t pixels = g.n * (forward ? g.out[0] * g.out[1] * g.out[2] : g.in[0] * g.in[1] * g.in[2]);
    const int64_t sizes[2] = {pixels, c}, to[2] = {c, 1}, from[2] = {0, 1};
    cuda::copy_strided(stream, 2, sizes, out, to, t.dtype, t.bias, from, t.dtype);
  }
  queue_call(stream, [=, &p, handle = plans.handle, memory = workspace.as<void>(),
                      grad_w = reordered ? packed.as<void>() : out] {
    static constexpr float kScale[2] = {0, 1};
    static constexpr double kWideScale[2] = {0, 1};
    auto scale = [&](int value) {
      return t.dtype == DType::F64 ? static_cast<const void*>(&kWideScale[value]) : &kScale[value];
    };
    const void *one = scale(1), *start = scale(t.bias != nullptr);
    LM_CALL(cudnnSetStream, handle, stream.handle);
    if (t.pass == ConvPass::Forward)
      LM_CALL(cudnnConvolutionForward, handle, one, p.x, t.x.data, p.w, w, p.conv, p.algorithm, memory,
              p.workspace_bytes, start, p.y, out);
    else if (t.pass == ConvPass::DataGrad)
      LM_CALL(cudnnConvolutionBackwardData, handle, one, p.w, w, p.y, t.y.data, p.conv, p.algorithm, memory,
              p.workspace_bytes, start, p.x, out);
    else
      LM_CALL(cudnnConvolutionBackwardFilter, handle, one, p.x, t.x.data, p.y, t.y.data, p.conv, p.algorithm, memory,
              p.workspace_bytes, start, p.w, grad_w);
  });
  if (reordered && weight_grad) reorder(stream, t, packed.as<void>(), out, true);
  return true;
}

bool channels_last(const ConvImage& image, int64_t n, int64_t c, const int64_t (&size)[3]) {
  if (!image.data) return true;  // the result
  bool dense = c == 1 || image.c == 1;
  int64_t step = c;
  for (int i = 2; i >= 0; --i) dense &= size[i] == 1 || image.x[i] == step, step *= size[i];
  return dense && (n == 1 || image.n == step) && uintptr_t(image.data) % 16 == 0;
}

}  // namespace

std::optional<Offer> cudnn_offer(Stream stream, const ConvTask& t) {
  const ConvGeometry& g = t.g;
  int64_t in = g.n * g.c_in, out = g.n * g.c_out;
  for (int i = 0; i < 3; ++i) in *= g.in[i], out *= g.out[i];
  const int64_t terms = t.channels() * t.taps(), weight = g.c_out * terms;
  if (!cudnn().usable() || !worth_offering(double(out) * double(terms)) || std::max({in, out, weight}) > INT32_MAX ||
      !channels_last(t.x, g.n, g.c_in, g.in) || !channels_last(t.y, g.n, g.c_out, g.out) || uintptr_t(t.w) % 16 != 0)
    return {};
  constexpr const char* kNames[] = {"conv_forward ", "conv_data_grad ", "conv_weight_grad "};
  Key key(str(kNames[int(t.pass)], t.dtype, " ").c_str());
  key.add(g.n, g.groups, g.c_in, g.c_out, t.bias != nullptr);
  for (int i = 0; i < 3; ++i) {
    const int64_t room = g.in[i] + 2 * g.padding[i] - g.dilation[i] * (g.kernel[i] - 1) - 1;
    if (g.padding[i] < 0 || room < 0 || room / g.stride[i] + 1 != g.out[i]) return {};  // other padding behind
    key.add(g.in[i], g.kernel[i], g.stride[i], g.dilation[i], g.padding[i]);
  }
  const int64_t result = t.pass == ConvPass::Forward ? out : t.pass == ConvPass::DataGrad ? in : weight;
  return Offer{cudnn(), key.text, size_t(result * item_size(t.dtype)),
               [=](void* to) { return convolve(stream, key.text, t, to); }};
}

}  // namespace lamina::cuda
