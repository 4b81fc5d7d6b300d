"""Reference functions in plain NumPy that the table's oracles call as ``ref.name``, one file per family."""

import importlib
import pathlib

for _path in sorted(pathlib.Path(__file__).parent.glob("reference_*.py")):
    globals().update({k: v for k, v in vars(importlib.import_module(_path.stem)).items() if not k.startswith("_")})
