"""The page itself, started by `make demo` and driven in Chromium."""

import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from conftest import ROOT, put_environment
from PIL import Image

pytest.importorskip("gradio", reason="Gradio is not installed; the page is tested in .venv-demo")
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.any_paddle,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium"),
]

DEMO = ROOT / "demo"
SECONDS = 120
# As parts of the canvas: a seven of one stroke, and a four of two.
SEVEN = [[(0.15, 0.3), (0.38, 0.3), (0.24, 0.68)]]
FOUR = [[(0.68, 0.28), (0.6, 0.52), (0.86, 0.52)], [(0.78, 0.36), (0.76, 0.7)]]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Where the page is served, by a process that ends with the tests."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("demo")
    for name in ("Makefile", "demo", "ppcoordconv", "tools"):
        (folder / name).symlink_to(ROOT / name)
    put_environment(folder / ".venv-demo", ROOT / "demo" / "requirements.txt")
    log = folder / "log.txt"
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port)}
    with log.open("w") as file:
        pipes = {"stdout": file, "stderr": file, "start_new_session": True}
        process = subprocess.Popen(["make", "-C", str(folder), "demo"], cwd="/", env=environment, **pipes)
    try:
        url = f"http://127.0.0.1:{port}/"
        wait_for(url, process, log)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def wait_for(url, process, log):
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"the page did not start in {SECONDS} s: {log.read_text()}")


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["wide", "phone"])
def page(request, address, chromium):
    """The page, open, on a desk's screen and on a phone's; it must not speak to anybody else, nor stumble."""
    width, height = request.param
    context = chromium.new_context(viewport={"width": width, "height": height})
    context.set_default_timeout(20_000)
    page = context.new_page()
    asked, failed = [], []
    page.on("request", lambda asked_for: asked.append(asked_for.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.goto(address)
    # The script that listens to the pointer has begun.
    page.wait_for_selector("#point [tabindex]")
    yield page
    context.close()
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert failed == []


def click_on_the_canvas(page, x, y):
    canvas = page.locator("#point .ask svg.place")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.click(box["x"] + (x + 0.5) / 64 * box["width"], box["y"] + (y + 0.5) / 64 * box["height"])
    page.wait_for_selector(f'#point .squares[data-x="{x}"][data-y="{y}"]')


def brightness(locator):
    """What is drawn in the middle of each of the 64x64 pixels of a canvas."""
    picture = Image.open(io.BytesIO(locator.screenshot())).convert("L")
    side = (np.arange(64) + 0.5) / 64
    rows, columns = (side * picture.height).astype(int), (side * picture.width).astype(int)
    return np.asarray(picture)[np.ix_(rows, columns)]


@pytest.mark.parametrize(("x", "y", "seen"), [(20, 24, True), (52, 38, False)])
def test_coordconv_paints_the_square_where_the_click_was(page, x, y, seen, tmp_path):
    click_on_the_canvas(page, x, y)
    coordconv, convolution = (page.locator(f'#point [data-network="{name}"]') for name in ("CoordConv", "Convolution"))
    assert coordconv.get_attribute("data-box") == str([x - 4, y - 4, x + 4, y + 4])
    assert float(coordconv.get_attribute("data-iou")) == 1
    assert (float(convolution.get_attribute("data-iou")) > 0.7) == seen
    # And so it is on the screen, but for the dashes around the square.
    lit = brightness(coordconv.locator("svg.place").first) > 200
    assert lit[y - 2 : y + 3, x - 2 : x + 3].all()
    lit[y - 6 : y + 7, x - 6 : x + 7] = False
    # The corners of the canvas are round.
    assert not lit[2:-2, 2:-2].any()
    photograph(page, tmp_path)


def test_dragging_and_arrow_keys_move_the_point(page):
    click_on_the_canvas(page, 40, 50)
    page.keyboard.press("ArrowRight")
    page.wait_for_selector('#point .squares[data-x="41"][data-y="50"]')
    box = page.locator("#point .ask svg.place").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4, steps=8)
    page.mouse.up()
    page.wait_for_selector('#point .squares[data-x="16"][data-y="16"]')


def test_the_walk_ends_in_the_corner(page):
    page.locator(".walk").click()
    page.wait_for_selector('#point .squares[data-x="56"][data-y="56"]')


def draw(page, strokes):
    paper = page.locator("svg.paper")
    paper.scroll_into_view_if_needed()
    box = paper.bounding_box()
    for stroke in strokes:
        (first, *others) = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*first)
        page.mouse.down()
        for point in others:
            page.mouse.move(*point, steps=12)
        page.mouse.up()


def found(page):
    return page.locator("#draw .object").evaluate_all("all => all.map(one => one.dataset.label)")


def test_digits_drawn_with_the_mouse_are_found(page, tmp_path):
    page.get_by_role("tab", name="Draw digits").click()
    page.wait_for_selector("#draw .object")
    # The first stroke takes the place of the example that greets.
    draw(page, SEVEN)
    page.wait_for_function("document.querySelectorAll('.said li').length == 1")
    assert found(page) == ["7"]
    draw(page, FOUR)
    page.wait_for_selector('.said li[data-label="4"]')
    assert sorted(found(page)) == ["4", "7"]
    paper = page.locator("svg.paper").bounding_box()
    box = page.locator('#draw .object[data-label="7"] rect').bounding_box()
    middle = (box["x"] + box["width"] / 2 - paper["x"]) / paper["width"]
    assert abs(middle - 0.265) < 0.05
    photograph(page, tmp_path)
    page.locator("#draw .clear").click()
    page.get_by_text(re.compile("The canvas is empty: draw a digit")).wait_for()
    assert found(page) == []


def test_examples_are_found_and_strokes_taken_back(page):
    page.get_by_role("tab", name="Draw digits").click()
    page.locator(".example").nth(2).click()
    page.wait_for_function("document.querySelectorAll('.said li').length == 1")
    assert found(page) == ["6"]
    page.locator(".undo").click()
    page.get_by_text(re.compile("The canvas is empty")).wait_for()


def test_dots_are_put_moved_and_cleared_and_coordconv_knows_their_quarter(page, tmp_path):
    page.get_by_role("tab", name="Quarters").click()
    right = {name: page.locator(f'#dots [data-network="{name}"]') for name in ("CoordConv", "Convolution")}
    assert right["CoordConv"].get_attribute("data-right") == "6"
    assert int(right["Convolution"].get_attribute("data-right")) < 5
    photograph(page, tmp_path)
    page.locator("#dots .clear").click()
    page.wait_for_selector('#dots .squares[data-dots="[]"]')
    box = page.locator("#dots svg.place").bounding_box()
    start, end = ((box["x"] + x * box["width"], box["y"] + 0.4 * box["height"]) for x in (0.3, 0.6))
    page.mouse.move(*start)
    page.mouse.down()
    page.wait_for_selector('#dots .squares[data-dots^="[[0.3"], #dots .squares[data-dots^="[[0.29"]')
    page.mouse.move(*end, steps=8)
    page.mouse.up()
    # One dot, that was moved.
    page.wait_for_selector('#dots .squares[data-dots^="[[0.6"], #dots .squares[data-dots^="[[0.59"]')
    assert page.locator("#dots .squares").get_attribute("data-dots").count("[") == 2
    assert right["CoordConv"].get_attribute("data-right") == "1"


def photograph(page, folder):
    picture = folder / "page.png"
    page.screenshot(path=picture, full_page=True)
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    # Neither blank, nor broader than the screen.
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100
    assert pixels.shape[1] == page.viewport_size["width"]


def test_a_missing_model_is_said_in_a_sentence(tmp_path):
    for name in ("demo", "ppcoordconv"):
        shutil.copytree(DEMO.parent / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(DEMO.parent / "docs" / "trained", tmp_path / "docs" / "trained")
    shutil.rmtree(tmp_path / "demo" / "models" / "detector")
    run = subprocess.run([sys.executable, "demo/app.py"], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS)
    assert run.returncode == 2
    (line,) = run.stderr.splitlines()
    assert (
        line.startswith("app.py: model_dir takes a folder that export wrote; there is no folder") and "detector" in line
    )
