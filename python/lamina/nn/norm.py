"""Normalization layers. Batch and instance norm keep running statistics; layer, group and RMS norm keep none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lamina import _core
from lamina._core import Tensor
from lamina.nn import functional as F
from lamina.nn import init
from lamina.nn.module import Module
from lamina.nn.parameter import Parameter


class _Norm(Module):
    """What all normalizations share: an optional weight (ones) and bias (zeros)."""

    weight: Parameter | None
    bias: Parameter | None

    def _make_affine(self, shape: tuple[int, ...], weight: bool, bias: bool, device: Any, dtype: Any) -> None:
        for name, wanted in (("weight", weight), ("bias", bias)):
            value = Parameter(_core.empty(*shape, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, value)

    def reset_parameters(self) -> None:
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class _RunningNorm(_Norm):
    """A normalization over the channels of (B, C, ...) that tracks mean and variance for use in eval mode."""

    ranks: tuple[int, ...]
    running_mean: Any  # Tensor, or None when nothing is tracked
    running_var: Any
    num_batches_tracked: Any

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum: Any = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self._make_affine((num_features,), affine, affine and bias, device, dtype)
        track = track_running_stats
        factory = {"device": device, "dtype": dtype}
        self.register_buffer("running_mean", _core.zeros(num_features, **factory) if track else None)
        self.register_buffer("running_var", _core.ones(num_features, **factory) if track else None)
        count = _core.zeros((), dtype=_core.int64, device=device) if track else None
        self.register_buffer("num_batches_tracked", count)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        self.reset_running_stats()
        super().reset_parameters()

    def _check_input(self, input: Tensor) -> None:
        if input.dim() not in self.ranks:
            need = " or ".join(map(str, self.ranks))
            raise ValueError(f"{type(self).__name__}: input has {input.dim()} dimensions; need {need}")

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_RunningNorm):
    def forward(self, input: Tensor) -> Tensor:
        self._check_input(input)
        tracks = self.training and self.track_running_stats
        if tracks:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                return self._cumulative(input)
        use_batch = self.training or self.running_mean is None
        mean, var = (self.running_mean, self.running_var) if tracks or not self.training else (None, None)
        momentum = self.momentum or 0.0
        return _core.batch_norm(input, mean, var, self.weight, self.bias, use_batch, momentum, self.eps)

    def _cumulative(self, input: Tensor) -> Tensor:
        """The running statistics are the averages of those of all batches, whose number stays on the device."""
        mean, var = _core.zeros_like(self.running_mean), _core.zeros_like(self.running_var)
        output = _core.batch_norm(input, mean, var, self.weight, self.bias, True, 1.0, self.eps)
        for average, batch in ((self.running_mean, mean), (self.running_var, var)):
            average.add_((batch - average) / self.num_batches_tracked)
        return output


class BatchNorm1d(_BatchNorm):
    """Batch normalization over (B, C) or (B, C, L). Ioffe & Szegedy, ICML 2015.

    In training y = (x - mean) / sqrt(var + eps) * weight + bias with the batch's statistics per channel, which
    also move the running ones: running = (1 - momentum) * running + momentum * batch; eval uses the running ones.

    Args:
        num_features: C.
        momentum: None for a cumulative average.
        affine: whether there is a weight; bias: whether there is a bias, too.
        track_running_stats: False to use the batch's statistics in eval mode too.
    """

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalization over (B, C, H, W); arguments as `BatchNorm1d`."""

    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalization over (B, C, D, H, W); arguments as `BatchNorm1d`."""

    ranks = (5,)


class _InstanceNorm(_RunningNorm):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        self._check_input(input)
        batched = input.dim() == max(self.ranks)
        x = input if batched else input.unsqueeze(0)
        if x.shape[1] != self.num_features:
            raise ValueError(
                f"{type(self).__name__}: input has {x.shape[1]} channels; need num_features={self.num_features}"
            )
        use_batch = self.training or not self.track_running_stats
        y = F.instance_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, use_batch, self.momentum, self.eps
        )
        return y if batched else y.squeeze(0)


class InstanceNorm1d(_InstanceNorm):
    """Normalizes every channel of every sample of (B, C, L) or (C, L). Ulyanov et al., 2016."""

    ranks = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Normalizes every channel of every sample of (B, C, H, W) or (C, H, W)."""

    ranks = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Normalizes every channel of every sample of (B, C, D, H, W) or (C, D, H, W)."""

    ranks = (4, 5)


class LayerNorm(_Norm):
    """Normalizes over the last dimensions of every sample. Ba et al., 2016.

    Args:
        normalized_shape: the last sizes of the input, over which mean and variance are taken.
        elementwise_affine: whether there is a weight of that shape; bias: whether there is a bias, too.

    Example:
        >>> nn.LayerNorm(8)(lamina.randn(2, 3, 8)).shape
        (2, 3, 8)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape = shape
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._make_affine(shape, elementwise_affine, elementwise_affine and bias, device, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        return _core.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        affine = f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        return f"{self.normalized_shape}, eps={self.eps}, {affine}"


class GroupNorm(_Norm):
    """Normalizes groups of channels of every sample of (B, C, ...). Wu & He, ECCV 2018.

    Args:
        num_groups: into how many groups the num_channels channels are split.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_groups <= 0 or num_channels % num_groups:
            raise ValueError(f"GroupNorm: {num_channels} channels do not divide into {num_groups} groups")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self._make_affine((num_channels,), affine, affine and bias, device, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        return _core.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        sizes = f"{self.num_groups}, {self.num_channels}"
        return f"{sizes}, eps={self.eps}, affine={self.affine}, bias={self.bias is not None}"


class RMSNorm(_Norm):
    """y = x / sqrt(mean(x^2) + eps) * weight over the last dimensions. Zhang & Sennrich, NeurIPS 2019.

    Args:
        normalized_shape: the last sizes of the input.
        eps: None for the machine epsilon of the input's dtype.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape = shape
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        value = Parameter(_core.empty(*shape, device=device, dtype=dtype)) if elementwise_affine else None
        self.register_parameter("weight", value)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        return _core.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
