"""The Compare view as one HTML file."""

import re
from html.parser import HTMLParser

import pytest

from smoot_explore import bundled_runs, drop_auc
from smoot_explore.explorer.export import compare_page, table_html
from smoot_explore.explorer.opened_runs import OpenedRun
from smoot_explore.explorer.state.compare import CompareState

EVIL = "</script><script>alert('x')</script><img src=http://evil.example/x onerror=alert(1)>&\"'"


class Page(HTMLParser):
    """Tags with their attributes, the text of the table's cells, and what scripts hold."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.cells, self.scripts, self.data, self.inside = [], [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside = tag
        if tag in ("td", "th"):
            self.cells.append("")
        if tag == "script":
            self.scripts.append("")
            self.is_data = dict(attributes).get("type") == "application/json"

    def handle_data(self, data):
        if self.inside in ("td", "th"):
            self.cells[-1] += data
        if self.inside == "script":
            self.scripts[-1] += data
            if self.is_data:
                self.data.append(data)

    def handle_endtag(self, tag):
        self.inside = None


@pytest.fixture(scope="module")
def compared():
    """A state with the bundled runs; one has a label that tries to be a script."""
    state = CompareState()
    for run, label in zip(bundled_runs(), ("plain", EVIL, "SMOOT"), strict=True):
        state.opened_runs.append(OpenedRun.open(f"bundled/{run.name}", label, run))
    return state


@pytest.fixture(scope="module")
def text(compared):
    return compare_page(compared)()


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_the_page_holds_the_table_and_its_note(page, text, compared):
    heads, cells = compared.table()
    assert page.cells == [*heads, *(cell for row in cells for cell in row)]
    assert "Seed 0, one training each" in text


def test_the_page_holds_both_figures_with_their_data(page, text):
    assert re.search(r'"name":"accuracy-drop"', text)
    assert re.search(r'"name":"saliency"', text)
    data = text
    for run, label in ((bundled_runs()[0], "plain"), (bundled_runs()[2], "SMOOT")):
        area = drop_auc(run.curves().sel(fill="black", attribution="gradient"))
        assert f"{label}, AUC {area.item():.1f} %" in data
    for kind in ("Line", "ImageRGBA"):
        assert f'"name":"{kind}"' in data


def test_the_page_asks_for_nothing_from_anywhere(page):
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base")
        for name in ("src", "href", "action", "data", "srcset"):
            assert name not in attributes, (tag, attributes)
        assert "url(" not in (attributes.get("style") or "")


def test_a_label_is_text_wherever_it_stands(page, text):
    assert EVIL in page.cells
    assert "<script>alert" not in text
    assert "<img src" not in text
    assert not any("alert('x')" in script and "AUC" not in script for script in page.scripts)


def test_a_comparison_of_nothing_is_a_page_too():
    page = Page(compare_page(CompareState())())
    assert page.cells[:2] == ["run", "method"]
    assert not any('"name":"saliency"' in script for script in page.scripts)
    assert any('"name":"accuracy-drop"' in script for script in page.scripts)


def test_a_table_escapes_heads_and_cells_and_keeps_their_places():
    page = Page(table_html(["a<b", EVIL, "c"], [["1", "<b>2</b>", "&amp;"], ["x", "y", "z"]]))
    assert page.cells == ["a<b", EVIL, "c", "1", "<b>2</b>", "&amp;", "x", "y", "z"]
    assert [tag for tag, _ in page.tags] == ["div", "table", *["tr", *["th"] * 3], *["tr", *["td"] * 3] * 2]


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="zip"):
        table_html(["a", "b"], [["1"]])
