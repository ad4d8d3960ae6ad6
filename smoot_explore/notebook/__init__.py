"""Controls and live pictures for notebooks, by ipywidgets.

Importing it in a notebook gives the page what draws pictures, and has pictures of HoloViews shown as widgets.
"""

from smoot_explore.notebook.classes import LinkedClasses
from smoot_explore.notebook.controls import bounds_setting, choice, setting, settings, slider
from smoot_explore.notebook.figure import LiveFigure, show_in_notebooks, shown
from smoot_explore.notebook.page import load_page
from smoot_explore.notebook.picture import Picture
from smoot_explore.notebook.training import LiveTraining

__all__ = [
    "LinkedClasses", "LiveFigure", "LiveTraining", "Picture", "bounds_setting", "choice", "setting", "settings",
    "shown", "slider",
]  # fmt: skip

load_page()
show_in_notebooks()
