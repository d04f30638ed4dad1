"""A page to play with: `make demo`. Who knows where a point is, of which class a dot is, and a detector of digits."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any, Dict

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT)]
# Quiet, and nothing is told to anybody: set before Paddle and Gradio are imported.
os.environ.setdefault("GLOG_minloglevel", "2")
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
warnings.filterwarnings("ignore", module=r"paddle\.")

try:
    import gradio as gr
except ImportError:
    sys.exit(
        "app.py: the page needs Gradio, which is not installed: make demo, or pip install -r demo/requirements.txt"
    )

import colouring  # noqa: E402
import drawing  # noqa: E402
import rendering  # noqa: E402

from ppcoordconv.deploy import Predictor  # noqa: E402
from ppcoordconv.utils.errors import UserError  # noqa: E402

# By name, the folders of exported models.
MODELS = {
    "coordconv": ROOT / "docs" / "trained" / "rendering",
    "convolution": HERE / "models" / "convolution",
    "detector": HERE / "models" / "detector",
    "quarters": HERE / "models" / "quarters",
    "quarters without": HERE / "models" / "quarters_without",
}
# Where the page begins: a place that the training never saw.
START = (46, 44)


def read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def build() -> gr.Blocks:
    """The page.

    Raises:
        UserError: a model is missing or damaged.
    """
    models = {name: Predictor(str(folder)) for name, folder in MODELS.items()}
    networks = [
        rendering.Network("CoordConv", "8,074 parameters, 3 epochs", models["coordconv"]),
        rendering.Network("Convolution", "103,585 parameters, 60 epochs", models["convolution"]),
    ]
    print("Asking both networks for the square at each of 3,136 places ...", file=sys.stderr)
    maps = {network.title: rendering.ious_everywhere(network.predictor) for network in networks}

    # Gradio hands over one argument.
    def point(place: Any) -> str:
        return rendering.answer(networks, maps, place)

    segmentation = [
        rendering.Network("CoordConv", "at the input; else the same", models["quarters"]),
        rendering.Network("Convolution", "the same U-Net, the same training", models["quarters without"]),
    ]

    def colour(dots: Any) -> str:
        return colouring.answer(segmentation, dots)

    def draw(strokes: Any) -> Dict[str, str]:
        return drawing.answer(models["detector"], strokes)

    with gr.Blocks(title="CoordConv: who knows where?", analytics_enabled=False) as blocks:
        gr.HTML(read("header.html"))
        with gr.Tab("Where?"):
            gr.HTML(point(START), js_on_load=read("point.js"), server_functions=[point], elem_id="point")
        with gr.Tab("Quarters"):
            first = colour(colouring.START)
            gr.HTML(first, js_on_load=read("dots.js"), server_functions=[colour], elem_id="dots")
        with gr.Tab("Draw digits"):
            greeting = draw(drawing.EXAMPLES[0])
            paper = drawing.paper()
            js = read("draw.js")
            gr.HTML(greeting, html_template=paper, js_on_load=js, server_functions=[draw], elem_id="draw")
    return blocks


def main() -> None:
    try:
        blocks = build()
    except UserError as error:
        print(f"app.py: {error}", file=sys.stderr)
        sys.exit(2)
    blocks.launch(
        share=False,
        css_paths=HERE / "page.css",
        # Fonts of the visitor's own; Gradio's would be asked for elsewhere.
        theme=gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        footer_links=[],
    )


if __name__ == "__main__":
    main()
