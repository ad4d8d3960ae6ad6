"""The explorer in a real browser, as its visitors use it."""

import re
import urllib.request

import numpy as np
import pytest
from browser import Visitor
from PIL import Image
from seen import figures, legend, pictures, status, step, three, title, watched

pytestmark = pytest.mark.flaky(reruns=1)  # told in the summary; why: docs/why.md

SMALL = "?images=500&epochs=3"  # a training of some seconds


def test_the_first_page_shows_real_pictures_and_says_why_k_moves(visit):
    visitor = visit()
    shown = visitor.wait_until(lambda: watched(visitor))
    assert len(shown) == 3 * 8
    assert all(len(np.unique(picture)) > 10 for picture in shown)
    visitor.wait_until(lambda: "pixels a visit" in visitor.text())
    visitor.wait_until(lambda: "class II" in visitor.text())
    visitor.turn_to("loss", "losses")
    for curve, role, first in (
        ("losses", "Cross-entropy", 1),
        ("accuracies", "Test images", 1),
        ("k-range", "Median", 0),
    ):
        assert visitor.data(curve, role)["epoch"] == list(range(first, 9)), curve  # each epoch once


def test_a_page_takes_no_input_before_it_is_drawn(visit, address):
    with urllib.request.urlopen(address) as answer:
        assert re.search(rb"<html [^>]*\binert\b", answer.read())
    visitor = visit()  # it waits until the page takes input
    assert visitor.page.evaluate("Bokeh.documents[0].is_idle")


def test_what_is_computed_while_the_browser_still_draws_is_shown_afterwards(visit):
    drawn = []

    def keep_back_that_the_page_is_drawn(socket) -> None:
        server, parts = socket.connect_to_server(), []

        def send(part) -> None:
            parts.append(part)
            if len(parts) < 3:  # a header, metadata and content: the page sends no binary parts so far
                return
            message, parts[:] = list(parts), []
            if "document_ready" in message[2] and not drawn:
                drawn.append(lambda: [server.send(part) for part in message])
            else:
                for part in message:
                    server.send(part)

        socket.on_message(send)

    visitor = visit(
        "?tab=compare",
        lambda v: v.page.route_web_socket("**/ws*", keep_back_that_the_page_is_drawn),
        open=Visitor.go,
    )
    visitor.wait_until(lambda: drawn)
    visitor.page.wait_for_timeout(1500)
    drawn[0]()
    visitor.tab("Compare")
    maps = visitor.wait_until(lambda: pictures(visitor, "saliency", 4, 8))
    visitor.choose("Colour scale", "one for each map")
    visitor.wait_until(lambda: pictures(visitor, "saliency", 4, 8) != maps)


def test_every_slider_of_the_sidebar_moves(visit):
    visitor = visit()
    visitor.wait_until(lambda: watched(visitor))  # what comes after the page draws its controls once more
    for name in ("Training images", "Epochs", "α", "β", "λ", "τ", "Bounds of k"):
        slider = visitor.slider(name)
        value = lambda s=slider: s.get_attribute("aria-valuenow") or s.input_value()  # noqa: E731
        before = visitor.settled(value)
        visitor.move_until(slider, "ArrowLeft", lambda value=value, before=before: value() != before)


def test_moving_a_live_slider_changes_the_explanation_at_once(visit):
    visitor = visit()
    numbers = lambda: re.findall(r"= ?([+−][\d.]+) pixels", visitor.text())  # noqa: E731
    visitor.wait_until(numbers)
    for name in ("α", "β"):
        before = visitor.settled(numbers)
        changed = lambda before=before: numbers() and numbers() != before  # noqa: E731
        visitor.move_until(visitor.slider(name), "ArrowLeft", changed)


def test_training_runs_takes_a_new_beta_and_marks_it(visit):
    visitor = visit("?images=2000&epochs=6")
    visitor.button("Train").click()
    visitor.wait_until(lambda: step(visitor) > 3)
    visitor.wait_until(lambda: re.search(r"[\d,]+ images/s, [\d.]+ (s|min) left", visitor.text()))
    visitor.move(visitor.slider("β"), 20, "ArrowLeft")
    visitor.turn_to("loss", "losses")
    flags = visitor.wait_until(lambda: visitor.data("losses", "Flag text")["text"])
    assert flags[0].strip() == "1"
    visitor.wait_until(lambda: re.search(r"Flags: 1 β 0.95 → .*0.75 from step", visitor.text()))
    at = step(visitor)
    visitor.wait_until(lambda: step(visitor) > at)  # it goes on
    assert len(visitor.data("losses", "Cross-entropy")["epoch"]) > 2
    assert visitor.data("k-range", "Median")["epoch"]
    assert len(visitor.wait_until(lambda: watched(visitor))) == 24
    visitor.button("Stop").click()


def test_the_strip_and_the_trajectories_refresh_while_it_trains(visit):
    visitor = visit("?images=2000&epochs=6")
    visitor.button("Train").click()
    visitor.wait_until(lambda: step(visitor) > 2 and watched(visitor))
    visitor.turn_to("watched", "k-watched")

    def points() -> int:
        roles = ("Class I", "Class II", "Not judged")
        return sum(len(visitor.data("k-watched", role)["epoch"]) for role in roles)

    saliency, n = watched(visitor)[8], points()
    visitor.wait_until(lambda: watched(visitor)[8] != saliency)
    visitor.wait_until(lambda: points() > n)
    visitor.button("Stop").click()


def test_the_accuracy_drop_is_measured_at_a_pause_and_in_the_end(visit):
    visitor = visit("?images=2000&epochs=2")
    drop = "accuracy-drop-while-training"
    visitor.button("Train").click()
    visitor.wait_until(lambda: step(visitor) > 2)
    visitor.button("Pause").click()
    paused = visitor.wait_until(lambda: visitor.data(drop, "SMOOT")["accuracy"], 120)
    assert len(paused) == 11
    assert len(visitor.data(drop, "Reference")["accuracy"]) == 21  # of the bundled run
    assert re.search(
        r"Accuracy drop, AUC [\d.]+ %, n = \d+ gradient \(signed\), black fill", title(visitor, drop)
    )
    visitor.button("Go on").click()
    visitor.wait_until(lambda: "Finished" in visitor.text(), 300)
    visitor.wait_until(lambda: any(text.startswith("SMOOT, epoch 2") for text in legend(visitor, drop)))
    assert visitor.data(drop, "SMOOT")["accuracy"] != paused


def test_pause_holds_go_on_continues_stop_ends_and_reset_empties(visit):
    visitor = visit("?images=2000&epochs=6")
    visitor.button("Train").click()
    visitor.wait_until(lambda: step(visitor) > 2)
    visitor.button("Pause").click()
    visitor.wait_until(lambda: "Paused at" in visitor.text())
    held = step(visitor)
    visitor.page.wait_for_timeout(1500)
    assert step(visitor) == held
    visitor.button("Go on").click()
    visitor.wait_until(lambda: step(visitor) > held)
    visitor.button("Stop").click()
    visitor.wait_until(lambda: "Stopped at" in visitor.text())
    visitor.turn_to("loss", "losses")
    assert visitor.data("losses", "Cross-entropy")["epoch"]
    visitor.button("Reset").click()
    visitor.wait_until(lambda: not visitor.data("losses", "Cross-entropy")["epoch"])
    assert not watched(visitor)
    visitor.button("Train").click()
    visitor.wait_until(lambda: step(visitor) > 0)
    visitor.button("Stop").click()


def test_the_same_settings_give_the_same_start_after_reset(visit):
    visitor = visit(SMALL)
    losses = []
    for _ in range(2):
        visitor.button("Train").click()
        visitor.wait_until(lambda: "Finished" in visitor.text())
        losses.append(visitor.data("accuracies", "Test images")["accuracy"])
        visitor.button("Reset").click()
        visitor.wait_until(lambda: not visitor.data("accuracies", "Test images")["accuracy"])
        visitor.wait_until(lambda: "Finished" not in visitor.text())
    assert losses[0] == losses[1]


def test_a_training_that_fails_says_what_to_do_and_the_page_goes_on(visit):
    visitor = visit(f"{SMALL}&learning_rate=1e30")
    visitor.button("Train").click()
    visitor.wait_until(
        lambda: "loss is not finite" in visitor.text() or "weights are not finite" in visitor.text()
    )
    visitor.wait_until(lambda: "smaller learning_rate" in visitor.text())
    visitor.move(visitor.slider("τ"), 1, "Home")
    visitor.move(visitor.slider("τ"), 50)
    visitor.button("Train").click()
    visitor.wait_until(lambda: "Finished" in visitor.text())
    assert "not finite" not in visitor.text()


def test_a_page_that_is_loaded_again_finds_its_training_and_its_runs(visit):
    visitor = visit("?images=500&epochs=200")
    visitor.button("Train").click()
    visitor.wait_until(lambda: "epoch 2" in status(visitor))
    visitor.open("?images=500&epochs=3")
    visitor.wait_until(lambda: step(visitor) > 8)
    reached = step(visitor)
    visitor.wait_until(lambda: step(visitor) > reached)
    visitor.move(visitor.slider("α"))
    visitor.wait_until(lambda: "α 10 → " in visitor.text())
    visitor.button("Stop").click()
    visitor.wait_until(lambda: "Stopped at" in visitor.text())
    visitor.open("?tab=image&run=mine/1")
    visitor.wait_until(
        lambda: "SMOOT, trained here (1)" in visitor.text() and "Masked share" in visitor.text()
    )


def test_the_trained_run_can_be_looked_at_kept_and_its_record_downloaded(visit, tmp_path):
    visitor = visit(SMALL)
    visitor.button("Train").click()
    visitor.wait_until(lambda: "Finished" in visitor.text())
    visitor.tab("Train").button("Open in Image").click()
    visitor.wait_until(lambda: "Training image" in title(visitor, "image"))
    visitor.wait_until(lambda: "SMOOT, trained here (1)" in visitor.text())
    with visitor.page.expect_download() as download:
        visitor.button("Download record").click()
    record = tmp_path / "record.nc"
    download.value.save_as(record)
    import xarray as xr

    with xr.open_dataset(record, engine="h5netcdf") as dataset:
        assert dataset.k.shape == (3, 500)
    visitor.button("Keep").click()
    visitor.wait_until(lambda: "finds it among the runs: smoot-1, kept" in visitor.text())


def test_the_masking_slider_changes_picture_bars_and_marker(visit):
    visitor = visit("?tab=image&image=3").tab("Image")
    masked = visitor.wait_until(lambda: three(visitor))[2]
    bars = visitor.data("probabilities", "Masked")["right"]
    marker = visitor.data("masking-curve", "Marker")["masked_fraction"]
    visitor.move(visitor.slider("Masked share"), 10)
    visitor.wait_until(lambda: three(visitor)[2] != masked)
    visitor.wait_until(lambda: visitor.data("masking-curve", "Marker")["masked_fraction"] != marker)
    assert visitor.data("probabilities", "Masked")["right"] != bars


@pytest.mark.parametrize("width", [1024, 1900])
def test_pictures_of_square_images_are_square_on_any_screen(visit, width):
    visitor = visit()
    visitor.page.set_viewport_size({"width": width, "height": 800})
    for tab, shown in {
        "Train": ["watched"],
        "Image": ["image", "thumbnails"],
        "Classes": ["gallery"],
    }.items():
        visitor.tab(tab)
        for figure in shown:
            left, top, right, bottom = visitor.settled(
                lambda figure=figure: visitor.place_in(figure, 0, 0) + visitor.place_in(figure, 1, -1)
            )
            assert right - left == pytest.approx(bottom - top, abs=2)
            assert right - left > 30


def test_every_choice_of_the_image_tab_changes_the_masked_picture(visit):
    visitor = visit("?image=3").tab("Image")
    visitor.wait_until(lambda: three(visitor))
    for label, choice in (("Masked first", "lowest"), ("Fill", "blur"), ("Attribution", "random")):
        masked = visitor.settled(lambda: three(visitor)[2])
        visitor.choose(label, choice)
        visitor.wait_until(lambda masked=masked: three(visitor)[2] != masked)


def test_filters_leave_only_images_of_class_ii(visit):
    visitor = visit("?tab=image&class=II").tab("Image")
    visitor.wait_until(lambda: re.search(r"\b5\d images, page 1", visitor.text()))
    visitor.wait_until(lambda: len(pictures(visitor, "thumbnails", 4, 6)) == 24)
    visitor.click_in("thumbnails", 1.5, -1.5)
    visitor.wait_until(lambda: "Class II, by its own masking curve" in visitor.text())


def test_an_image_picked_in_images_is_the_one_that_image_shows(visit):
    visitor = visit().tab("Classes")
    names = visitor.wait_until(lambda: visitor.data("gallery", "Cell").get("text"))
    visitor.page.get_by_role("button", name="Open in Image").locator(
        "visible=true"
    ).scroll_into_view_if_needed()
    visitor.click_in("gallery", 2.5, -0.5)
    position, label = names[2].split(": ")
    visitor.wait_until(lambda: f"Test image {position}: {label}" in visitor.text())
    visitor.wait_until(lambda: "Class II" in visitor.text())
    visitor.button("Open in Image").click()
    visitor.wait_until(lambda: title(visitor, "image").startswith(f"Test image {position}: {label}"))
    visitor.wait_until(lambda: "Class II, by its own masking curve" in visitor.text())


def test_a_point_and_a_box_in_the_scatter_select_images(visit):
    visitor = visit().tab("Classes")
    data = visitor.wait_until(lambda: visitor.data("classes", "Class II"))
    highest = int(np.argmax(data["rise"]))
    visitor.click_in("classes", data["start"][highest], data["rise"][highest])
    visitor.wait_until(lambda: f"Test image {data['image'][highest]}" in visitor.text())
    n = sum(start < 0.5 and rise > 0.3 for start, rise in zip(data["start"], data["rise"], strict=True))
    visitor.drag_in("classes", (-0.03, 0.3), (0.5, 1.03))
    visitor.wait_until(lambda: title(visitor, "gallery").startswith(f"Selected images: {min(n, 20)} of {n}"))
    assert len(visitor.data("classes", "Selected")["start"]) == n
    assert sum(visitor.data("peaks", "Chosen")["top"]) == n  # all of them are of class II
    assert visitor.data("mean-curves", "Selected")["probability"]
    visitor.button("Select none").click()
    visitor.wait_until(lambda: not visitor.data("classes", "Selected")["start"])


def test_boxes_in_the_curves_and_in_the_peaks_select_images_too(visit):
    visitor = visit().tab("Classes")
    peaks = visitor.wait_until(lambda: visitor.data("peaks", "Class II"))
    first = peaks["top"][0] + peaks["top"][1]
    visitor.drag_in("peaks", (0.5, 1), (7.4, 2))
    visitor.wait_until(lambda: sum(visitor.data("peaks", "Chosen")["top"]) == first)
    selected = visitor.data("classes", "Selected")["start"]
    visitor.drag_in("mean-curves", (90, 0.8), (99, 1.0))  # sure of it even with nearly everything masked
    visitor.wait_until(lambda: visitor.data("classes", "Selected")["start"] != selected)
    assert visitor.data("mean-curves", "Selected")["probability"][-2] > 0.5


def test_the_tolerance_changes_the_share_of_class_ii(visit):
    visitor = visit().tab("Classes")
    share = lambda: re.search(r"([\d.]+) % class II", visitor.text())  # noqa: E731
    before = visitor.wait_until(share).group(1)
    visitor.move(visitor.slider("Tolerance"), 10)
    visitor.wait_until(lambda: float(share().group(1)) < float(before))


def test_every_what_if_slider_redraws_all_trajectories(visit):
    visitor = visit().tab("What if")
    drawn = lambda: visitor.data("what-if", "Every image").get("k")  # noqa: E731
    assert len(visitor.wait_until(drawn)) == 500 * 23
    for name in ("α", "β", "Initial k", "Bounds of k", "Epochs"):
        before = visitor.settled(drawn)
        visitor.move(visitor.slider(name), 8, "ArrowLeft" if name != "Bounds of k" else "ArrowRight")
        visitor.wait_until(lambda before=before: drawn() != before)


def test_a_click_near_a_trajectory_picks_its_image(visit):
    visitor = visit().tab("What if")
    visitor.wait_until(lambda: visitor.data("what-if", "Every image").get("k"))
    before = visitor.data("what-if", "Picked")["k"]
    visitor.click_in("what-if", 15, 600)
    visitor.wait_until(lambda: visitor.data("what-if", "Picked")["k"] != before)


def test_compare_shows_three_runs_and_saves_table_and_page(visit, tmp_path):
    visitor = visit().tab("Compare")
    visitor.wait_until(
        lambda: len(pictures(visitor, "saliency", 4, 8)) == 4 * 8 if "saliency" in figures(visitor) else False
    )
    assert [label.rpartition(",")[0] for label in legend(visitor, "accuracy-drop")] == [
        "traditional, bundled", "SGT, bundled", "SMOOT, bundled",
    ]  # fmt: skip
    visitor.wait_until(lambda: visitor.page.locator("table tr").count() == 4)
    drop = visitor.data("accuracy-drop", "SMOOT")["accuracy"]
    visitor.choose("Fill", "mean")
    visitor.wait_until(lambda: visitor.data("accuracy-drop", "SMOOT")["accuracy"] != drop)
    with visitor.page.expect_download() as download:
        visitor.button("Table as CSV").click()
    table = tmp_path / "table.csv"
    download.value.save_as(table)
    assert len(table.read_text().splitlines()) == 5
    with visitor.page.expect_download() as download:
        visitor.button("This view as one HTML file").click()
    page = tmp_path / "page.html"
    download.value.save_as(page)
    assert "Accuracy drop: mean fill" in page.read_text()


def test_the_exported_page_draws_its_figures_without_any_server(visit, browser, tmp_path):
    visitor = visit().tab("Compare")
    visitor.wait_until(lambda: "saliency" in figures(visitor))
    with visitor.page.expect_download() as download:
        visitor.button("This view as one HTML file").click()
    file = tmp_path / "page.html"
    download.value.save_as(file)
    context = browser.new_context(offline=True)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(file.as_uri())
    page.wait_for_function("window.Bokeh?.documents?.[0]?.is_idle")
    assert page.locator("canvas").count() >= 2
    assert page.locator("table tr").count() == 4
    assert errors == []
    context.close()


def test_a_run_without_curves_is_measured_with_progress(visit):
    visitor = visit(f"{SMALL}&epochs=1")
    visitor.button("Train").click()
    visitor.wait_until(lambda: "Finished" in visitor.text())
    visitor.button("Open in Image").click()
    visitor.wait_until(lambda: "SMOOT, trained here" in visitor.text())
    visitor.tab("Classes")
    visitor.wait_until(lambda: re.search(r"% class II \(\d+ of 500 test images", visitor.text()))


def test_the_address_opens_the_same_view_again(visit):
    visitor = visit().tab("Image")
    visitor.wait_until(lambda: three(visitor))
    visitor.click_in("thumbnails", 3.5, -1.5)
    visitor.wait_until(lambda: "image_id=" in visitor.page.url)
    visitor.move(visitor.slider("Masked share"), 7)
    visitor.wait_until(lambda: "masked=0.27" in visitor.page.url)
    shown = three(visitor)
    other = visit("?" + visitor.page.url.split("?")[1])
    other.wait_until(lambda: "image" in figures(other) and three(other))
    assert title(other, "image") == title(visitor, "image")
    assert three(other) == shown


def test_back_and_forward_change_the_page_and_a_slider_adds_no_entry(visit):
    visitor = visit().tab("Image")
    visitor.wait_until(lambda: "tab=image" in visitor.page.url and three(visitor))
    entries = visitor.page.evaluate("history.length")
    visitor.move(visitor.slider("Masked share"), 3)
    visitor.wait_until(lambda: "masked=0.23" in visitor.page.url)
    visitor.move(visitor.slider("Masked share"), 4)
    visitor.wait_until(lambda: "masked=0.27" in visitor.page.url)
    assert visitor.page.evaluate("history.length") == entries
    visitor.tab("Classes")
    visitor.wait_until(lambda: "tab=images" in visitor.page.url)
    assert visitor.page.evaluate("history.length") == entries + 1
    chosen = visitor.page.get_by_role("tab", selected=True)
    visitor.page.go_back()
    visitor.wait_until(lambda: chosen.inner_text() == "Image")
    assert "masked=0.27" in visitor.page.url
    visitor.page.go_forward()
    visitor.wait_until(lambda: chosen.inner_text() == "Classes")


def test_the_arrow_of_the_image_field_leads_to_the_next_that_passes_and_a_wrong_number_is_told_of(visit):
    visitor = visit("?tab=image&class=II").tab("Image")
    visitor.wait_until(lambda: "Class II" in visitor.text())
    field = visitor.page.get_by_label("Image", exact=True).locator("visible=true").last
    names = visitor.wait_until(lambda: visitor.data("thumbnails", "Cell").get("text"))
    ids = [int(name.split(":")[0]) for name in names]
    assert field.input_value() == str(ids[0])
    field.focus()
    visitor.page.keyboard.press("ArrowUp")
    visitor.wait_until(lambda: title(visitor, "image").startswith(f"Test image {ids[1]}:"))
    field.fill("999999")
    field.press("Enter")
    visitor.wait_until(lambda: "There is no image 999999: the 2,000 test images" in visitor.text() or
                       "there is no image 999999: the 2,000 test images" in visitor.text())  # fmt: skip


def test_a_wrong_address_is_told_of_and_changes_nothing(visit):
    visitor = visit("?alpha=-5&tab=nowhere&beta=0.5&image=x")
    visitor.wait_until(lambda: "the address asks for “-5”. Give a number of at least 0" in visitor.text())
    visitor.wait_until(lambda: "asks for “nowhere”" in visitor.text())
    visitor.wait_until(lambda: "weight of the label: 0.5" in visitor.text())


def test_two_visitors_do_not_see_each_other_and_the_second_waits_its_turn(visit):
    first, second = visit("?images=2000&epochs=30"), visit(f"{SMALL}&method=sgt")
    first.button("Train").click()
    first.wait_until(lambda: step(first) > 1)
    second.button("Train").click()
    second.wait_until(lambda: "place 1 in the queue" in second.text())
    first.move(first.slider("α"), 3)
    first.wait_until(lambda: "speed of k (pixels): 13" in first.text())
    assert "speed of k (pixels): 10" in second.text()
    first.button("Stop").click()
    second.wait_until(lambda: "Finished" in second.text())
    first.wait_until(lambda: "Stopped at" in first.text())
    second.tab("Compare")
    second.wait_until(lambda: "SGT, trained here" in second.text())
    assert "SGT, trained here" not in first.tab("Compare").text()


def test_an_uploaded_picture_is_masked_and_a_wrong_file_is_refused(visit, tmp_path):
    visitor = visit().tab("Image")
    visitor.wait_until(lambda: three(visitor))
    chooser = visitor.page.locator("input[type=file]").first
    wrong = tmp_path / "picture.png"
    wrong.write_bytes(b"import os; os.system('true')")
    chooser.set_input_files(wrong)
    visitor.wait_until(lambda: "PNG, JPEG" in visitor.text())
    right = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)).save(right)
    chooser.set_input_files(right)
    visitor.wait_until(lambda: title(visitor, "image").startswith("Own picture, predicted"))


def test_a_figure_is_saved_as_png_svg_and_numbers_and_enlarged(visit, tmp_path):
    visitor = visit()
    visitor.page.set_viewport_size({"width": 1900, "height": 800})  # narrow figures have a menu of them
    visitor.turn_to("loss", "losses")

    def use(tool: str) -> None:
        visitor.hover("losses", 5, 0.2)  # tools are shown where the pointer is
        visitor.page.locator(f"[title='{tool}'], [aria-label='{tool}']").locator("visible=true").first.click()

    def saved(suffix: str) -> bytes:
        with visitor.page.expect_download() as download:
            use(f"Save as {suffix.upper()}")
        assert download.value.suggested_filename == f"losses.{suffix}"
        download.value.save_as(tmp_path / suffix)
        return (tmp_path / suffix).read_bytes()

    assert saved("png").startswith(b"\x89PNG")
    drawing = saved("svg")
    assert b"<svg" in drawing
    assert b"cross-entropy" in drawing
    assert b">Loss" in drawing  # the heading that stands above it
    head, *rows = saved("csv").decode().splitlines()
    shown = visitor.data("losses", "Cross-entropy")
    assert head == "layer,epoch,loss"
    told = [row.split(",") for row in rows if row.startswith("cross-entropy,")]
    np.testing.assert_allclose([float(epoch) for _, epoch, _ in told], shown["epoch"], rtol=1e-6)
    np.testing.assert_allclose([float(loss) for *_, loss in told], shown["loss"], rtol=1e-6)
    width = lambda: visitor.page.evaluate(  # noqa: E731
        "Bokeh.documents[0].get_model_by_name('losses').inner_width"
    )
    before = visitor.settled(width)
    use("Enlarge")
    visitor.wait_until(lambda: width() > 3 * before)
    visitor.page.evaluate("document.exitFullscreen()")
    visitor.wait_until(lambda: width() == before)


@pytest.mark.parametrize(
    ("tab", "names"),
    [
        ("Train", ("α", "β", "λ", "τ", "Bounds of k", "Epochs", "Train", "Reset")),
        ("Image", ("Masked share", "Epoch", "Upload", "Play")),
    ],
)
def test_the_keyboard_reaches_every_control_of_the_page(visit, tab, names):
    visitor = visit().tab(tab)
    visitor.page.locator("body").press("Tab")
    reached = set()
    for _ in range(60):
        visitor.page.keyboard.press("Tab")
        reached.add(
            visitor.page.evaluate(
                """() => { let e = document.activeElement
                    while (e?.shadowRoot?.activeElement) e = e.shadowRoot.activeElement
                    return (e?.getAttribute("aria-label") || e?.closest("label")?.innerText || e?.innerText
                        || e?.labels?.[0]?.innerText || e?.title || "").trim() }"""
            )
        )
    for name in names:
        assert any(told.startswith(name) for told in reached), (name, reached)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_tab_needs_horizontal_scrolling_in_either_theme(visit, scheme):
    visitor = visit()
    if scheme == "dark":
        visitor.page.get_by_label("Toggle theme").click()
        background = "getComputedStyle(document.body).backgroundColor"
        visitor.wait_until(
            lambda: sum(map(int, re.findall(r"\d+", visitor.page.evaluate(background))[:3])) < 150
        )
    for tab in ("Train", "Image", "Classes", "What if", "Compare", "Class"):
        visitor.tab(tab)
        visitor.page.wait_for_timeout(500)
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 1280
        beyond = visitor.page.evaluate(
            """() => { const wide = []
                const walk = (root) => root.querySelectorAll("*").forEach((e) => {
                    const box = e.getBoundingClientRect()
                    if (e.tagName === "CANVAS" && box.width > 0 && box.right > innerWidth + 1) wide.push(e.tagName)
                    if (e.shadowRoot) walk(e.shadowRoot) })
                walk(document); return wide }"""
        )
        assert beyond == []
