// Stands in for libcudnn in the emulator: convolutions by loops over the descriptors' own strides.
#include "cuda/provider_cudnn.h"

#include <cstring>
#include <vector>

#include "elements.h"

using namespace lamina;
using namespace lamina::cuda::cudnn_api;

namespace {

constexpr int kBadParameter = 2000;
constexpr size_t kWorkspace = 512;
int calls = 0;

// Five dimensions: images (or out channels), channels, and three of space; those that are missing have size 1.
struct Array {
  int type = -1, dims = 0;
  int64_t size[5], stride[5];

  int64_t at(int64_t a, int64_t b, const int64_t (&x)[3]) const {
    return a * stride[0] + b * stride[1] + x[0] * stride[2] + x[1] * stride[3] + x[2] * stride[4];
  }
};
struct Convolution {
  int dims = 0, groups = 1, mode = 0, compute_type = 0, math = 0;
  int64_t padding[3] = {0, 0, 0}, stride[3] = {1, 1, 1}, dilation[3] = {1, 1, 1};
};

int assign(Array& to, int type, int dims, const int* sizes, const int* strides) {
  if (dims != 4 && dims != 5) return kBadParameter;
  to.type = type, to.dims = dims;
  for (int i = 0; i < 5; ++i) to.size[i] = 1, to.stride[i] = 0;
  for (int i = 0; i < dims; ++i) {
    const int slot = i < 2 ? i : i + 5 - dims;
    to.size[slot] = sizes[i], to.stride[slot] = strides[i];
  }
  return kSuccess;
}

// As the real library, some of what is valid is not supported: doubles in three dimensions, and dilation by the
// precomputed algorithm.
int check(const Array& x, const Array& w, const Convolution& conv, const Array& y, bool precomputed) {
  const bool half = x.type == kHalf || x.type == kBfloat;
  bool valid = x.type == y.type && x.type == w.type && x.size[0] == y.size[0] && w.size[0] == y.size[1] &&
               w.size[1] * conv.groups == x.size[1] && conv.dims + 2 == x.dims && conv.mode == kCrossCorrelation &&
               conv.math == (half ? kTensorCores : kFma) && conv.compute_type == (x.type == kDouble ? kDouble : kFloat);
  for (int i = 0; i < 3; ++i) {
    const int64_t span = conv.dilation[i] * (w.size[2 + i] - 1) + 1;
    valid &= (x.size[2 + i] + 2 * conv.padding[i] - span) / conv.stride[i] + 1 == y.size[2 + i];
  }
  if (!valid) return kBadParameter;
  if (x.type == kDouble && x.dims == 5) return kNotSupported + 2;
  return precomputed && conv.dilation[2] > 1 ? kNotSupported : kSuccess;
}

// f(x index, w index, y index) of every product.
template <class F>
void for_each(const Array& x, const Array& w, const Convolution& conv, const Array& y, F f) {
  const int64_t per_group = y.size[1] / conv.groups;
  for (int64_t n = 0; n < y.size[0]; ++n)
    for (int64_t out = 0; out < y.size[1]; ++out)
      for (int64_t c = 0; c < w.size[1]; ++c)
        for (int64_t p = 0; p < y.size[2] * y.size[3] * y.size[4]; ++p)
          for (int64_t t = 0; t < w.size[2] * w.size[3] * w.size[4]; ++t) {
            const int64_t position[3] = {p / y.size[4] / y.size[3], p / y.size[4] % y.size[3], p % y.size[4]};
            const int64_t tap[3] = {t / w.size[4] / w.size[3], t / w.size[4] % w.size[3], t % w.size[4]};
            int64_t from[3];
            bool inside = true;
            for (int i = 0; i < 3; ++i) {
              from[i] = position[i] * conv.stride[i] - conv.padding[i] + tap[i] * conv.dilation[i];
              inside &= from[i] >= 0 && from[i] < x.size[2 + i];
            }
            if (inside) f(x.at(n, out / per_group * w.size[1] + c, from), w.at(out, c, tap), y.at(n, out, position));
          }
}

// result = sum + beta * result
void finish(const Array& array, void* data, const std::vector<double>& sums, const void* beta) {
  const double scale = load(beta, array.type == kDouble ? kDouble : kFloat, 0);
  for (size_t i = 0; i < sums.size(); ++i)
    store(data, array.type, int64_t(i), sums[i] + (scale != 0 ? scale * load(data, array.type, int64_t(i)) : 0));
  ++calls;
}
std::vector<double> zeros(const Array& a) {
  return std::vector<double>(size_t(a.size[0] * a.size[1] * a.size[2] * a.size[3] * a.size[4]));
}

struct Operands {
  const Array &x, &w, &y;
  const Convolution& conv;
};
Operands operands(void* x, void* w, void* conv, void* y) {
  return {*static_cast<Array*>(x), *static_cast<Array*>(w), *static_cast<Array*>(y), *static_cast<Convolution*>(conv)};
}
int size(const Operands& o, bool precomputed, size_t* bytes) {
  *bytes = kWorkspace;
  return check(o.x, o.w, o.conv, o.y, precomputed);
}
bool usable(const Operands& o, bool precomputed, void* workspace, size_t bytes) {
  if (bytes != kWorkspace || check(o.x, o.w, o.conv, o.y, precomputed) != kSuccess) return false;
  std::memset(workspace, 1, bytes);
  return true;
}

}  // namespace

extern "C" {

int fake_calls() { return calls; }

size_t cudnnGetVersion() { return 91002; }
const char* cudnnGetErrorString(int status) { return status == kBadParameter ? "CUDNN_STATUS_BAD_PARAM" : "CUDNN"; }
int cudnnCreate(void** handle) {
  *handle = &calls;
  return kSuccess;
}
int cudnnSetStream(void*, void*) { return kSuccess; }
int cudnnCreateTensorDescriptor(void** tensor) {
  *tensor = new Array;
  return kSuccess;
}
int cudnnSetTensorNdDescriptor(void* tensor, int type, int dims, const int* sizes, const int* strides) {
  return assign(*static_cast<Array*>(tensor), type, dims, sizes, strides);
}
int cudnnCreateFilterDescriptor(void** filter) { return cudnnCreateTensorDescriptor(filter); }
int cudnnSetFilterNdDescriptor(void* filter, int type, int format, int dims, const int* sizes) {
  if (format != kChannelsLast) return kBadParameter;
  int strides[5], step = sizes[1];
  strides[1] = 1;
  for (int i = dims - 1; i > 1; --i) strides[i] = step, step *= sizes[i];
  strides[0] = step;
  return assign(*static_cast<Array*>(filter), type, dims, sizes, strides);
}
int cudnnCreateConvolutionDescriptor(void** conv) {
  *conv = new Convolution;
  return kSuccess;
}
int cudnnSetConvolutionNdDescriptor(void* p, int dims, const int* padding, const int* stride, const int* dilation,
                                    int mode, int compute_type) {
  auto& conv = *static_cast<Convolution*>(p);
  conv.dims = dims, conv.mode = mode, conv.compute_type = compute_type;
  for (int i = 0; i < dims; ++i) {
    const int slot = i + 3 - dims;
    conv.padding[slot] = padding[i], conv.stride[slot] = stride[i], conv.dilation[slot] = dilation[i];
  }
  return kSuccess;
}
int cudnnSetConvolutionGroupCount(void* conv, int groups) {
  static_cast<Convolution*>(conv)->groups = groups;
  return kSuccess;
}
int cudnnSetConvolutionMathType(void* conv, int math) {
  static_cast<Convolution*>(conv)->math = math;
  return kSuccess;
}
int cudnnGetConvolutionForwardWorkspaceSize(void*, void* x, void* w, void* conv, void* y, int algorithm,
                                            size_t* bytes) {
  return size(operands(x, w, conv, y), algorithm == kForwardPrecomputedGemm, bytes);
}
int cudnnConvolutionForward(void*, const void*, void* x_desc, const void* x, void* w_desc, const void* w, void* conv,
                            int algorithm, void* workspace, size_t bytes, const void* beta, void* y_desc, void* y) {
  const Operands o = operands(x_desc, w_desc, conv, y_desc);
  if (!usable(o, algorithm == kForwardPrecomputedGemm, workspace, bytes)) return kBadParameter;
  std::vector<double> sums = zeros(o.y);
  for_each(o.x, o.w, o.conv, o.y, [&](int64_t at_x, int64_t at_w, int64_t at_y) {
    sums[size_t(at_y)] += load(x, o.x.type, at_x) * load(w, o.w.type, at_w);
  });
  finish(o.y, y, sums, beta);
  return kSuccess;
}
int cudnnGetConvolutionBackwardDataWorkspaceSize(void*, void* w, void* dy, void* conv, void* dx, int, size_t* bytes) {
  return size(operands(dx, w, conv, dy), false, bytes);
}
int cudnnConvolutionBackwardData(void*, const void*, void* w_desc, const void* w, void* dy_desc, const void* dy,
                                 void* conv, int algorithm, void* workspace, size_t bytes, const void* beta,
                                 void* dx_desc, void* dx) {
  const Operands o = operands(dx_desc, w_desc, conv, dy_desc);
  if (algorithm != kDataGemm || !usable(o, false, workspace, bytes)) return kBadParameter;
  std::vector<double> sums = zeros(o.x);
  for_each(o.x, o.w, o.conv, o.y, [&](int64_t at_x, int64_t at_w, int64_t at_y) {
    sums[size_t(at_x)] += load(dy, o.y.type, at_y) * load(w, o.w.type, at_w);
  });
  finish(o.x, dx, sums, beta);
  return kSuccess;
}
int cudnnGetConvolutionBackwardFilterWorkspaceSize(void*, void* x, void* dy, void* conv, void* dw, int, size_t* bytes) {
  return size(operands(x, dw, conv, dy), false, bytes);
}
int cudnnConvolutionBackwardFilter(void*, const void*, void* x_desc, const void* x, void* dy_desc, const void* dy,
                                   void* conv, int algorithm, void* workspace, size_t bytes, const void* beta,
                                   void* dw_desc, void* dw) {
  const Operands o = operands(x_desc, dw_desc, conv, dy_desc);
  if (algorithm != kFilterGemm || !usable(o, false, workspace, bytes)) return kBadParameter;
  std::vector<double> sums = zeros(o.w);
  for_each(o.x, o.w, o.conv, o.y, [&](int64_t at_x, int64_t at_w, int64_t at_y) {
    sums[size_t(at_w)] += load(x, o.x.type, at_x) * load(dy, o.y.type, at_y);
  });
  finish(o.w, dw, sums, beta);
  return kSuccess;
}

}  // extern "C"

// They are what is declared.
#define CHECK(RESULT, NAME, PARAMETERS) static_assert(std::is_same_v<decltype(&::NAME), decltype(cuda::Cudnn::NAME)>);
LM_CUDNN(CHECK)
