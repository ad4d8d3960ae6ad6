"""Draws docs/images/explorer-<tab>-<theme>.png: `make screenshots`."""

import re
import tempfile
from pathlib import Path

from browser import ROOT, Visitor, chromium, serving

IMAGES = ROOT / "docs" / "images"
TABS = ("Train", "Image", "Classes", "What if", "Compare", "Class")
CLASS_II = 2  # which picture of the gallery of class II is opened


def main() -> None:
    """Train for a minute, move β meanwhile, and take every tab in both themes."""
    with tempfile.TemporaryDirectory() as runs, serving("--runs", runs) as address, chromium() as browser:
        visitor = Visitor(browser, address).open("?epochs=8")
        visitor.button("Close").click()  # the guide
        visitor.button("Train").click()
        visitor.wait_until(lambda: re.search(r"epoch [3-7] of 8, step", visitor.text()), 300)
        visitor.move(visitor.slider("β"), 35, "ArrowLeft")
        visitor.wait_until(lambda: "Finished" in visitor.text(), 300)
        visitor.button("Choose again").click()
        visitor.tab("Classes")
        visitor.click_in("gallery", CLASS_II + 0.5, -0.5)
        visitor.button("Open in Image").click()
        visitor.page.wait_for_function("Bokeh.documents[0].get_model_by_name('image') != null")
        visitor.page.wait_for_timeout(2000)
        for theme in ("light", "dark"):
            if theme == "dark":
                visitor.page.get_by_label("Toggle theme").click()
            for tab in TABS:
                visitor.tab(tab)
                visitor.page.mouse.move(1279, 400)
                visitor.page.wait_for_timeout(2500)  # drawn, and no tooltip left
                visitor.wait_until(lambda: "Measuring the" not in visitor.text(), 300)
                picture = IMAGES / f"explorer-{tab.lower().replace(' ', '-')}-{theme}.png"
                visitor.page.screenshot(path=picture)
                print(Path(picture).relative_to(ROOT))


if __name__ == "__main__":
    main()
