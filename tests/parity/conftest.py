"""Parity tests run Lamina and PyTorch side by side; without PyTorch every file is skipped, with the reason."""

import pytest


class _Skipped(pytest.Module):
    """A parity file that is not imported, because its first line is `import torch`."""

    def collect(self):
        pytest.skip("PyTorch is not installed", allow_module_level=True)


def pytest_pycollect_makemodule(module_path, parent):
    try:
        import torch  # noqa: F401
    except ImportError:
        return _Skipped.from_parent(parent, path=module_path)
    return None
