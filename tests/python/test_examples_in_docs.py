"""The examples in the docstrings of nn, optim, utils, io and autograd run and print what they say; the Python blocks of
the README and its relatives run. (The operators' docstrings: test_table.py.)
"""

import doctest
import importlib
import pathlib
import pkgutil
import re

import lamina
import pytest

PACKAGES = ["lamina.nn", "lamina.optim", "lamina.utils"]
MODULES = [
    "lamina.io",
    "lamina.autograd.check",
    "lamina.autograd.grad_mode",
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


ROOT = pathlib.Path(__file__).parents[2]


def python_blocks():
    """(file:line, code) of every block fenced as ```python; ```python with anything behind it is not run."""
    for name in ("README.md", "csrc/README.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text()
        for block in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            yield f"{name}:{text.count(chr(10), 0, block.start(1)) + 1}", block[1]


@pytest.mark.parametrize(("where", "code"), [pytest.param(*block, id=block[0]) for block in python_blocks()])
def test_blocks_of_markdown_files(where, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, where, "exec"), {"__name__": "__main__"})


def test_readme_trains():
    """The ten lines of the README do what they are there for."""
    where, code = next(python_blocks())
    assert where.startswith("README.md:")
    lamina.manual_seed(0)
    scope: dict = {}
    exec(code.replace("range(500)", "range(1)"), scope)
    first = scope["loss"].item()
    exec(code, scope)
    assert scope["loss"].item() < 0.1 * first
