"""Modules of the user's or operator's own, named on the command line."""

from __future__ import annotations

import importlib
from types import ModuleType


def load_plugin(name: str) -> ModuleType:
    """Import a module by its name, such as ``"package.module"``: what it registers can be named from then on.

    Raises
    ------
    ValueError
        When there is none, or it cannot be imported.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(f"a module is given as package.module, given {name!r}")
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(
            f"the module {name} cannot be loaded ({error}); install its package, or name its folder in PYTHONPATH"
        ) from error
    except Exception as error:  # whatever its own code brings about
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"the module {name} cannot be loaded: its code raises {told}") from error
