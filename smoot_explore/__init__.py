"""Explore saliency-guided training (SGT) and SMOOT: train, measure and compare.

The public names stand in ``__init__.pyi``. Each loads its module, and PyTorch with it, when it is first used.
"""

from importlib.metadata import version

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = version("smoot-explore")
