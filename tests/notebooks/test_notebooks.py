"""The notebooks are kept without outputs, begin with the same cell, and run anywhere within five minutes."""

import re
import resource
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.any_paddle

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# In seconds: of the processor, which does not depend on what else the machine does, and of the clock for a cell.
LIMIT, FUSE = 300, 900


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def printed(cell):
    return "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout")


def execute(book, folder, monkeypatch, package=""):
    """Runs a notebook in a new kernel of this Python that finds ppcoordconv in ``package``, else by itself."""
    monkeypatch.setenv("PYTHONPATH", str(package))
    NotebookClient(book, timeout=FUSE, resources={"metadata": {"path": str(folder)}}).execute()


def processor_seconds():
    """What the processes that this one has started, and that have ended, have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_there_are_six():
    assert [path.name[:2] for path in NOTEBOOKS] == ["1_", "2_", "3_", "4_", "5_", "6_"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_kept_as_they_should_be(path):
    book = read(path)
    nbformat.validate(book)
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code_cells(book))
    assert book.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    places = re.findall(r"/(?:home|root|tmp|opt|usr|Users)/[\w/.-]*", path.read_text(encoding="utf-8"))
    assert all(place.startswith("/home/aistudio/data") for place in places)
    assert code_cells(book)[0].source == code_cells(read(NOTEBOOKS[0]))[0].source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)\)", "\n".join(cell.source for cell in read(path).cells)):
        assert target.startswith("http") or (path.parent / target).exists(), target


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_outside_of_a_checkout(path, tmp_path, monkeypatch):
    book = read(path)
    before = processor_seconds()
    execute(book, tmp_path, monkeypatch, package=ROOT)
    assert processor_seconds() - before < LIMIT
    errors = [o.text for c in code_cells(book) for o in c.outputs if o.output_type == "stream" and o.name == "stderr"]
    assert "Traceback" not in "".join(errors)
    assert sum("image/png" in output.get("data", {}) for cell in code_cells(book) for output in cell.outputs) >= 2


def first_cell(folder, monkeypatch, package="", aistudio="/home/aistudio"):
    """What the first cell finds: the package, and what it would be installed from."""
    book = read(NOTEBOOKS[0])
    (cell,) = book.cells = code_cells(book)[:1]
    assert "/home/aistudio/" in cell.source
    cell.source = cell.source.replace("/home/aistudio", str(aistudio)) + "\nprint(pcc.__file__)\nprint(source)"
    execute(book, folder, monkeypatch, package)
    return printed(cell).splitlines()


def test_the_first_cell_takes_the_checkout(monkeypatch):
    _, file, source = first_cell(ROOT / "notebooks", monkeypatch)
    assert (file, source) == (str(ROOT / "ppcoordconv" / "__init__.py"), str(ROOT))


def test_the_first_cell_takes_a_wheel_that_ai_studio_has_mounted(tmp_path, monkeypatch):
    wheel = tmp_path / "data" / "data123" / "ppcoordconv-0.1.0-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    wheel.touch()
    (tmp_path / "work").mkdir()
    said, _, source = first_cell(tmp_path / "work", monkeypatch, package=ROOT, aistudio=tmp_path)
    assert source == str(wheel)
    assert "on AI Studio" in said


def test_the_first_cell_takes_the_published_package_elsewhere(tmp_path, monkeypatch):
    said, _, source = first_cell(tmp_path, monkeypatch, package=ROOT, aistudio=tmp_path / "none")
    assert source == "ppcoordconv"
    assert "on AI Studio" not in said
