"""How α, β and the bounds move k without any training, to be copied for a lecture: `panel serve apps/*.py`."""

import panel as pn

from smoot_explore import bundled_runs, simulate_k, views
from smoot_explore.core.bounds import Bounds

landscape = bundled_runs()[-1].landscape()
n_pixels, epochs = landscape.attrs["n_pixels"], 60

image = pn.widgets.IntSlider(name="image", value=158, end=landscape.sizes["image"] - 1)
alpha = pn.widgets.FloatSlider(name="α, pixels", value=100, end=400, step=5)
beta = pn.widgets.FloatSlider(name="β", value=0.95, end=1, step=0.05)
bounds = pn.widgets.RangeSlider(name="bounds of k", value=(0.2, 0.8), end=1, step=0.05)


def sketches(image, alpha, beta, bounds):
    """k of all images and of one, where the one's Δ leads, and the steps that its k takes."""
    low, high = bounds
    k = simulate_k(landscape, alpha=alpha, beta=beta, k_init=0.5, k_min=low, k_max=high, epochs=epochs)
    one, way = landscape.isel(image=image), k.values[:, image]
    reach = low * n_pixels, high * n_pixels
    return (
        views.k_trajectories.sketch(k, picked=image, every_image=True, bounds=[Bounds(0, *reach)]),
        views.k_landscape.sketch(one, beta, way),
        views.cobweb.sketch(one, way, alpha, beta, reach),
    )


def show(*settings):
    for picture, sketch in zip(pictures, sketches(*settings), strict=True):
        picture.show(sketch)


controls = image, alpha, beta, bounds
pictures = [views.Live(sketch) for sketch in sketches(*(control.value for control in controls))]
pn.bind(show, *controls, watch=True)
panes = [picture.pane for picture in pictures]
pn.Row(pn.Column(*controls), pn.Column(panes[0], pn.Row(*panes[1:]))).servable(title="k without training")
