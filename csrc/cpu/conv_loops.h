// Depthwise convolution: every channel has its own small kernel, so there is no product, only rows of channels.
// Next: conv.cpp.
#pragma once
#include "core/dtype.h"
#include "kernel/isa.h"

namespace lamina {
// `count` positions of one line: y[i * y_step + c] = bias[c] + sum_t x[i * x_step + x_taps[t] + c] * w[w_taps[t] + c]
LM_LOOP(void, conv_depthwise,
        (DType dtype, int64_t count, int64_t channels, int64_t taps, const void* x, int64_t x_step,
         const int64_t* x_taps, const void* w, const int64_t* w_taps, const void* bias, void* y, int64_t y_step))
// grad_w[t * channels + c] += sum_i x[i * x_step + x_taps[t] + c] * grad[i * grad_step + c]
LM_LOOP(void, conv_depthwise_weights,
        (DType dtype, int64_t count, int64_t channels, int64_t taps, const void* x, int64_t x_step,
         const int64_t* x_taps, const void* grad, int64_t grad_step, void* grad_w))
}  // namespace lamina
