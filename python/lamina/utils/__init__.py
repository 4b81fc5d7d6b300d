"""utils: data loading (`lamina.utils.data`) and checkpointing (`lamina.utils.checkpoint`)."""

from lamina.utils import data

__all__ = ["data"]
