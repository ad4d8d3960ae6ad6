"""What masking does to one image, to be copied for a lecture: `panel serve apps/*.py`."""

import functools

import panel as pn

from smoot_explore import bundled_runs, masking_curves, views
from smoot_explore.core.choices import ORDERS, names
from smoot_explore.core.effect import masking_effect

run = bundled_runs()[-1]
data, model = pn.state.as_cached("masking", lambda: (run.load_data(), run.load_model()))  # for all pages
image = pn.widgets.IntSlider(name="image", end=99)
k = pn.widgets.IntSlider(name="masked pixels k", value=392, end=data.test.n_pixels)
fill = pn.widgets.Select(name="fill", options=list(names("fill")))
order = pn.widgets.Select(name="masked first", options=list(ORDERS), value="highest")


@functools.cache
def curve_of(image, fill, order):
    return masking_curves(model, data.test[[image]], fill=fill, order=order)


def sketches(image, k, fill, order):
    """One image with its saliency and what masking leaves of it, and its masking curve."""
    split = data.test[[image]]
    seen = masking_effect(model, split, k, fill=fill, order=order)
    masked = views.masking.sketch(split, seen, cell=170)
    return masked, views.masking_curve.sketch(curve_of(image, fill, order), k / split.n_pixels)


def show(*settings):
    for picture, sketch in zip(pictures, sketches(*settings), strict=True):
        picture.show(sketch)


controls = image, k, fill, order
pictures = [views.Live(sketch) for sketch in sketches(*(control.value for control in controls))]
pn.bind(show, *controls, watch=True)
pn.Row(pn.Column(*controls), *(picture.pane for picture in pictures)).servable(title="Masking")
