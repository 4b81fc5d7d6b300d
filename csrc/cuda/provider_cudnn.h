// The part of NVIDIA's cudnn.h that provider_cudnn.cpp needs, declared here: the build needs no header of theirs. These
// are the functions of cuDNN 7 that cuDNN 9 still has: a tenth of the code that its graphs would take.
#pragma once
#include <cstddef>

#include "cuda/provider.h"
#include "kernel/conv.h"

// F(result, name, parameters). Handles and descriptors are pointers, enumerations ints.
#define LM_CUDNN(F)                                                                                                 \
  F(size_t, cudnnGetVersion, ())                                                                                    \
  F(const char*, cudnnGetErrorString, (int status))                                                                 \
  F(int, cudnnCreate, (void** handle))                                                                              \
  F(int, cudnnSetStream, (void* handle, void* stream))                                                              \
  F(int, cudnnCreateTensorDescriptor, (void** tensor))                                                              \
  F(int, cudnnSetTensorNdDescriptor, (void* tensor, int type, int dims, const int* sizes, const int* strides))      \
  F(int, cudnnCreateFilterDescriptor, (void** filter))                                                              \
  F(int, cudnnSetFilterNdDescriptor, (void* filter, int type, int format, int dims, const int* sizes))              \
  F(int, cudnnCreateConvolutionDescriptor, (void** conv))                                                           \
  F(int, cudnnSetConvolutionNdDescriptor,                                                                           \
    (void* conv, int dims, const int* padding, const int* stride, const int* dilation, int mode, int compute_type)) \
  F(int, cudnnSetConvolutionGroupCount, (void* conv, int groups))                                                   \
  F(int, cudnnSetConvolutionMathType, (void* conv, int math))                                                       \
  F(int, cudnnGetConvolutionForwardWorkspaceSize,                                                                   \
    (void* handle, void* x, void* w, void* conv, void* y, int algorithm, size_t* bytes))                            \
  F(int, cudnnConvolutionForward,                                                                                   \
    (void* handle, const void* alpha, void* x_desc, const void* x, void* w_desc, const void* w, void* conv,         \
     int algorithm, void* workspace, size_t bytes, const void* beta, void* y_desc, void* y))                        \
  F(int, cudnnGetConvolutionBackwardDataWorkspaceSize,                                                              \
    (void* handle, void* w, void* dy, void* conv, void* dx, int algorithm, size_t* bytes))                          \
  F(int, cudnnConvolutionBackwardData,                                                                              \
    (void* handle, const void* alpha, void* w_desc, const void* w, void* dy_desc, const void* dy, void* conv,       \
     int algorithm, void* workspace, size_t bytes, const void* beta, void* dx_desc, void* dx))                      \
  F(int, cudnnGetConvolutionBackwardFilterWorkspaceSize,                                                            \
    (void* handle, void* x, void* dy, void* conv, void* dw, int algorithm, size_t* bytes))                          \
  F(int, cudnnConvolutionBackwardFilter,                                                                            \
    (void* handle, const void* alpha, void* x_desc, const void* x, void* dy_desc, const void* dy, void* conv,       \
     int algorithm, void* workspace, size_t bytes, const void* beta, void* dw_desc, void* dw))

namespace lamina::cuda {
namespace cudnn_api {

enum : int {
  kSuccess = 0,
  kNotSupported = 3000,  // and the reasons for it that follow
  kNotSupportedEnd = 4000,
  kFloat = 0,  // cudnnDataType_t
  kDouble = 1,
  kHalf = 2,
  kBfloat = 9,
  kChannelsLast = 1,      // of a filter: (out, taps, in)
  kCrossCorrelation = 1,  // the mode without mirrored taps
  kTensorCores = 1,       // cudnnMathType_t
  kFma = 3,               // never TF32
  // The algorithms that are products, and deterministic.
  kForwardGemm = 0,
  kForwardPrecomputedGemm = 1,
  kDataGemm = 1,
  kFilterGemm = 1,
};

}  // namespace cudnn_api

struct Cudnn : Provider {
  Cudnn();
#define LM_MEMBER(RESULT, NAME, PARAMETERS) RESULT(*NAME) PARAMETERS = nullptr;
  LM_CUDNN(LM_MEMBER)
#undef LM_MEMBER
};

const Cudnn& cudnn();  // opened by the first call

// A job of kernel/conv.h; what it computes, of x, w and y, is null.
enum class ConvPass { Forward, DataGrad, WeightGrad };
struct ConvTask {
  ConvPass pass;
  DType dtype;
  ConvGeometry g;
  ConvImage x, y;
  const void *w, *bias;

  int64_t taps() const { return g.kernel[0] * g.kernel[1] * g.kernel[2]; }
  int64_t channels() const { return g.c_in / g.groups; }  // of the weight
};

// For convolutions of dense channels-last images with the same padding on both sides.
std::optional<Offer> cudnn_offer(Stream stream, const ConvTask& task);

}  // namespace lamina::cuda
