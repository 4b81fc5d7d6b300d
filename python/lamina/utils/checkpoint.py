"""utils.checkpoint: PyTorch's place for `checkpoint`; see lamina/autograd/recompute.py."""

from lamina.autograd.recompute import checkpoint, checkpoint_sequential

__all__ = ["checkpoint", "checkpoint_sequential"]
