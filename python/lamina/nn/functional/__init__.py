"""nn.functional: layers and losses as functions, under PyTorch's names.

Most are native and come from the operator table (`lamina._core`) as they are; the rest are a few lines of Python
over native operators, in the files of this folder.
"""

# ruff: noqa: F401

from lamina import _core
from lamina.nn.functional.activation import (
    celu,
    elu,
    gelu,
    glu,
    gumbel_softmax,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    log_softmax,
    logsigmoid,
    mish,
    prelu,
    relu,
    relu6,
    rrelu,
    selu,
    sigmoid,
    silu,
    softmax,
    softmin,
    softplus,
    softshrink,
    softsign,
    tanh,
    tanhshrink,
    threshold,
)
from lamina.nn.functional.distance import cosine_similarity, normalize, one_hot, pairwise_distance
from lamina.nn.functional.loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    check_reduction,
    cosine_embedding_loss,
    cross_entropy,
    gaussian_nll_loss,
    hinge_embedding_loss,
    huber_loss,
    kl_div,
    l1_loss,
    margin_ranking_loss,
    mse_loss,
    nll_loss,
    poisson_nll_loss,
    smooth_l1_loss,
    soft_margin_loss,
    triplet_hinge,
    triplet_margin_loss,
)
from lamina.nn.functional.pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)
from lamina.nn.functional.spatial import (
    alpha_dropout,
    bilinear,
    dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    interpolate,
    pixel_shuffle,
    pixel_unshuffle,
)

linear = _core.linear
embedding = _core.embedding
pad = _core.pad

conv1d, conv2d, conv3d = _core.conv1d, _core.conv2d, _core.conv3d
conv_transpose1d = _core.conv_transpose1d
conv_transpose2d = _core.conv_transpose2d
conv_transpose3d = _core.conv_transpose3d

batch_norm = _core.batch_norm
layer_norm = _core.layer_norm
group_norm = _core.group_norm
instance_norm = _core.instance_norm
rms_norm = _core.rms_norm

scaled_dot_product_attention = _core.scaled_dot_product_attention
