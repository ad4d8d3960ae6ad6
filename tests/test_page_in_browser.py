"""What the page offers around its tabs, in a real browser: time, rivals, guide, theme, keys, a telephone's width."""

import re

import pytest
from seen import pictures, three, watched

pytestmark = pytest.mark.flaky(reruns=1)

SMALL = "?images=500&epochs=3"  # a training of some seconds
BACKGROUND = "getComputedStyle(document.body).backgroundColor"


def tab_shown(visitor):
    return visitor.page.get_by_role("tab", selected=True).inner_text()


def seen(locator):
    """Whether at least a part of it is within the window."""
    boxes = [box for box in (one.bounding_box() for one in locator.all() if one.is_visible()) if box]
    size = locator.page.viewport_size
    return any(
        -box["width"] < box["x"] < size["width"] and -box["height"] < box["y"] < size["height"]
        for box in boxes
    )


def is_dark(visitor):
    return sum(map(int, re.findall(r"\d+", visitor.page.evaluate(BACKGROUND))[:3])) < 150


def epochs_of(visitor, figure, role):
    return visitor.data(figure, role).get("epoch", [])


def finish(visitor):
    visitor.wait_until(lambda: "Finished" in visitor.text(), 120)


def test_the_epoch_slider_and_play_move_the_saliency_of_an_image(visit):
    visitor = visit("?tab=image").tab("Image")
    last = visitor.wait_until(lambda: three(visitor))
    visitor.move(visitor.slider("Epoch"), 2, "ArrowLeft")
    visitor.wait_until(lambda: "at=6" in visitor.page.url)
    early = visitor.wait_until(lambda: three(visitor)[1] != last[1] and three(visitor))
    assert early[0] == last[0]  # the image itself stays
    play = "Play"
    visitor.button(play).click()
    visitor.wait_until(lambda: three(visitor) == last)
    visitor.wait_until(lambda: visitor.button(play).count())  # not Hold: it ends with the last epoch
    visitor.wait_until(lambda: "at=" not in visitor.page.url)


def test_a_rival_and_a_branch_are_drawn_beside_the_training(visit):
    visitor = visit(SMALL)
    visitor.button("Train").click()
    finish(visitor)
    visitor.move(visitor.slider("β"), 30, "ArrowLeft")
    visitor.button("Add a rival").click()
    visitor.wait_until(lambda: len(epochs_of(visitor, "accuracies", "Rival 1")) >= 3)
    finish(visitor)
    first = visitor.data("accuracies", "Rival 1")["accuracy"]
    second = visitor.wait_until(
        lambda: (
            len(epochs_of(visitor, "accuracies", "Test images")) == 3
            and visitor.data("accuracies", "Test images")["accuracy"]
        )
    )
    assert first != second
    visitor.choose("^Epoch$", "1")
    visitor.button("Go on from epoch 1").click()
    finish(visitor)
    visitor.wait_until(lambda: len(epochs_of(visitor, "accuracies", "Rival 2")) >= 3)
    branch = visitor.wait_until(
        lambda: (
            len(epochs_of(visitor, "accuracies", "Test images")) == 3
            and visitor.data("accuracies", "Test images")["accuracy"]
        )
    )
    assert branch == second  # nothing was moved


def test_reset_is_undone(visit):
    visitor = visit()
    shown = visitor.wait_until(lambda: watched(visitor))
    visitor.button("Reset").click()
    visitor.wait_until(lambda: not watched(visitor))
    visitor.button("Undo reset").click()
    visitor.wait_until(lambda: watched(visitor) == shown)


def test_the_guide_sets_the_page_up_and_stays_closed(visit):
    visitor = visit()
    visitor.button("Does it make maps better?").click()
    visitor.wait_until(lambda: tab_shown(visitor) == "Compare")
    visitor.wait_until(lambda: "three ways of training" in visitor.text())
    visitor.tab("Compare")
    visitor.wait_until(lambda: len(pictures(visitor, "saliency", 4, 8)) == 4 * 8)
    visitor.button("See k move").click()
    visitor.wait_until(lambda: tab_shown(visitor) == "Train" and "speed of k (pixels): 40" in visitor.text())
    visitor.wait_until(lambda: "Below each watched image stands its k" in visitor.text())
    visitor.button("Close").click()
    guide = visitor.page.get_by_role("button", name="See k move").locator("visible=true")
    visitor.wait_until(lambda: not guide.count())
    visitor.open()
    visitor.wait_until(lambda: watched(visitor))
    assert not guide.count()


def test_the_theme_is_the_systems_until_the_visitor_chooses(visit):
    visitor = visit(color_scheme="dark")
    visitor.wait_until(lambda: is_dark(visitor))
    visitor.page.get_by_label("Toggle theme").click()
    visitor.wait_until(lambda: not is_dark(visitor))
    visitor.wait_until(lambda: "smoot_explore-dark=0" in visitor.page.evaluate("document.cookie"))
    visitor.open()
    visitor.wait_until(lambda: watched(visitor))
    assert not is_dark(visitor)


def test_keys_act_but_not_while_a_text_is_typed(visit):
    visitor = visit()
    visitor.page.keyboard.press("2")
    visitor.wait_until(lambda: tab_shown(visitor) == "Image")
    visitor.tab("Image")
    number = visitor.page.get_by_label("Image", exact=True).locator("visible=true").last
    number.fill("")
    number.press("4")
    visitor.page.wait_for_timeout(500)
    assert tab_shown(visitor) == "Image"
    visitor.page.keyboard.press("Escape")
    number.blur()
    visitor.page.keyboard.press("?")
    window = visitor.page.get_by_role("dialog")
    window.wait_for()
    visitor.wait_until(lambda: "the tab Classes" in visitor.text())
    visitor.page.keyboard.press("Escape")
    window.wait_for(state="hidden")


def test_on_a_telephone_the_drawer_is_closed_and_the_training_bar_is_seen(visit):
    visitor = visit(viewport={"width": 390, "height": 844})
    visitor.wait_until(lambda: watched(visitor))
    visitor.wait_until(lambda: not seen(visitor.page.get_by_role("slider", name=re.compile("^β"))))
    assert seen(visitor.page.get_by_role("button", name="Train", exact=True))
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 390
    visitor.page.get_by_label("Open drawer").or_(visitor.page.get_by_label("Toggle sidebar")).first.click()
    visitor.wait_until(lambda: seen(visitor.page.get_by_role("slider", name=re.compile("^β"))))


def test_the_projector_shows_the_leading_picture_alone_and_larger(visit):
    visitor = visit()
    visitor.wait_until(lambda: watched(visitor))
    beta = visitor.page.get_by_role("slider", name=re.compile("^β"))
    loss = visitor.page.get_by_role("button", name="loss", exact=True)
    assert seen(beta)
    assert loss.is_visible()
    visitor.page.keyboard.press("f")
    visitor.wait_until(lambda: not loss.is_visible())
    visitor.wait_until(lambda: not seen(beta))
    assert seen(visitor.page.get_by_role("combobox", name="Watched images"))
    visitor.page.keyboard.press("f")
    visitor.wait_until(lambda: loss.is_visible() and seen(beta))
