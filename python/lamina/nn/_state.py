"""State dictionaries: the part of Module that saves and loads parameters and persistent buffers by path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from lamina._core import Tensor
from lamina.autograd import no_grad
from lamina.nn._tree import Tree

EXTRA = "_extra_state"


class StateDictError(ValueError, RuntimeError):
    """A state dictionary does not fit the model. (Also a RuntimeError: that is what PyTorch scripts catch.)"""


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` returns: the paths that were not in the dictionary, and those not in the model."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class StateDict(Tree):
    """State dictionaries over the registries; mixed into Module."""

    def state_dict(
        self, *, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """All parameters and persistent buffers by dotted path; they share storage with the module.

        Example:
            >>> list(nn.Linear(2, 3).state_dict())
            ['weight', 'bias']
        """
        out = {} if destination is None else destination
        self._save_to_state_dict(out, prefix, keep_vars)
        for name, child in self._modules.items():
            if child is not None:
                child.state_dict(destination=out, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        return out

    def _persistent(self) -> dict[str, Tensor]:
        buffers = {k: v for k, v in self._buffers.items() if k not in self._non_persistent_buffers_set}
        return {k: v for k, v in (self._parameters | buffers).items() if v is not None}

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        for name, value in self._persistent().items():
            destination[prefix + name] = value if keep_vars else value.detach()
        if hasattr(self, "get_extra_state"):
            destination[prefix + EXTRA] = self.get_extra_state()

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy values into this module by path.

        Args:
            state_dict: a mapping as `state_dict()` returns it.
            strict: raise when a path is missing or unknown, instead of only reporting it.
            assign: take the given tensors themselves (their dtype too) instead of copying into the existing ones.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"load_state_dict: state_dict is a {type(state_dict).__name__}; need a mapping")
        missing: list[str] = []
        unexpected: list[str] = []
        problems: list[str] = []
        for path, module in self.named_modules(remove_duplicate=False):
            prefix = f"{path}." if path else ""
            metadata = {"assign_to_params_buffers": assign}
            module._load_from_state_dict(state_dict, prefix, metadata, strict, missing, unexpected, problems)
        if strict and unexpected:
            problems.insert(0, "unexpected keys: " + ", ".join(map(repr, unexpected)))
        if strict and missing:
            problems.insert(0, "missing keys: " + ", ".join(map(repr, missing)))
        if problems:
            raise StateDictError(f"load_state_dict for {type(self).__name__}:\n  " + "\n  ".join(problems))
        return IncompatibleKeys(missing, unexpected)

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load this module alone, without its children; layers with special needs override it."""
        own = self._persistent()
        for name, target in own.items():
            key = prefix + name
            if key not in state_dict:
                missing_keys.append(key)
                continue
            source = state_dict[key]
            if not isinstance(source, Tensor):
                error_msgs.append(f"{key}: the state has a {type(source).__name__}; need a Tensor")
            elif tuple(source.shape) != tuple(target.shape):
                error_msgs.append(
                    f"size mismatch for {key}: the state has shape {tuple(source.shape)}, "
                    f"the model has {tuple(target.shape)}"
                )
            elif local_metadata.get("assign_to_params_buffers"):
                self._take(name, source)
            else:
                with no_grad():
                    target.copy_(source)
        if hasattr(self, "set_extra_state"):
            if prefix + EXTRA in state_dict:
                self.set_extra_state(state_dict[prefix + EXTRA])
            else:
                missing_keys.append(prefix + EXTRA)
        own_names = own.keys() | ({EXTRA} if hasattr(self, "set_extra_state") else set())
        for key in state_dict:
            if key.startswith(prefix):
                head, dot, _ = key[len(prefix) :].partition(".")
                if head not in (self._modules if dot else own_names):
                    unexpected_keys.append(key)

    def _take(self, name: str, source: Tensor) -> None:
        old = self._parameters.get(name)
        if old is not None:
            source = type(old)(source, requires_grad=old.requires_grad)
        setattr(self, name, source)
