"""Controls and live pictures for notebooks, by ipywidgets."""

from smoot_explore.notebook.controls import ask, bounds_setting, choice, setting, settings, slider
from smoot_explore.notebook.live import LiveFigure, LiveTraining

__all__ = ["LiveFigure", "LiveTraining", "ask", "bounds_setting", "choice", "setting", "settings", "slider"]
