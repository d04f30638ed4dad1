"""The site has every page and nothing else, and its links lead somewhere, here and in the repository."""

import re
from pathlib import Path

import pytest
import yaml

import ppcoordconv as pcc

pytestmark = pytest.mark.any_paddle

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
# What is public beside pcc.__all__.
OTHERS = {
    "functional.coord_conv",
    "models.create",
    "models.list_models",
    "models.necks.PPYOLOFPN",
    "models.necks.FPN",
    "models.necks.DropBlock",
    "deploy.Predictor",
    "deploy.export",
    "training.fit",
    "contrib.ppdet.CoordConvPPYOLOFPN",
    "contrib.ppdet.CoordConvFPN",
    "contrib.ppdet.CoordConvert",
    "contrib.ppdet.repair_coords",
    "contrib.ppseg.CoordConvert",
    "contrib.ppcls.CoordConvert",
}


def pages_of(entry):
    """The paths in a part of mkdocs.yml's nav."""
    if isinstance(entry, str):
        return [entry]
    return [page for part in (entry.values() if isinstance(entry, dict) else entry) for page in pages_of(part)]


def without_code(page):
    return re.sub(r"^```.*?^```|`[^`\n]+`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors_of(page):
    """As GitHub and mkdocs make them of headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_the_navigation_has_every_page_once():
    assert sorted(pages_of(SITE["nav"])) == [str(page.relative_to(DOCS)) for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_links_and_pictures(page):
    for target in re.findall(r"\]\(([^)]+)\)", without_code(page)):
        path, _, anchor = target.partition("#")
        if target.startswith("https://"):
            continue
        found = (page.parent / path).resolve() if path else page
        assert found.is_file(), target
        assert DOCS in found.parents, f"{target} leads out of the site"
        assert not anchor or anchor in anchors_of(found), target


def test_pictures_are_described():
    for page in PAGES:
        assert "![](" not in page.read_text(encoding="utf-8"), page


def test_every_public_name_is_in_the_reference():
    shown = [name for page in (DOCS / "api").glob("*.md") for name in re.findall(r"^::: (\S+)", page.read_text(), re.M)]
    assert len(shown) == len(set(shown))
    # CoordConv2D is CoordConv; the modules are there by what is in them.
    names = (set(pcc.__all__) - {"CoordConv2D", "models", "deploy", "functional"}) | OTHERS
    assert set(shown) == {f"ppcoordconv.{name}" for name in names}


def test_nothing_is_taken_from_elsewhere():
    assert SITE["theme"]["font"] is False
    assert SITE["strict"] is True
    for name in ("extra_css", "extra_javascript"):
        for path in SITE.get(name, []):
            assert (DOCS / path).is_file()
            assert "http" not in (DOCS / path).read_text()
