"""Pictures: one function for each, a record in, a HoloViews element out.

Elements are not rendered: ``+``, ``*``, ``.opts(…)``, ``.select(…)`` and ``hv.save`` work on them, by Bokeh and by
Matplotlib. Dimensions that a picture does not draw become sliders.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
