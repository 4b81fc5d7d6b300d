"""The examples in the docstrings of nn, optim, utils, io and the autograd helpers run and print what they say."""

import doctest
import importlib
import pkgutil

import lamina
import pytest

PACKAGES = ["lamina.nn", "lamina.optim", "lamina.utils"]
MODULES = [
    "lamina.io",
    "lamina.autograd.check",
    "lamina.autograd.recompute",
    *PACKAGES,
    *(m.name for p in PACKAGES for m in pkgutil.walk_packages(importlib.import_module(p).__path__, p + ".")),
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    names = {
        "lamina": lamina,
        "nn": importlib.import_module("lamina.nn"),
        "F": importlib.import_module("lamina.nn.functional"),
        "optim": importlib.import_module("lamina.optim"),
        **vars(importlib.import_module("lamina.utils.data")),
    }
    result = doctest.testmod(module, extraglobs=names | vars(module), raise_on_error=False)
    assert result.failed == 0
