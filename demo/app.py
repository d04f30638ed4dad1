"""A page to play with: `make demo`. Who knows where a point is, and a detector of digits that are drawn by hand."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Tuple

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

import drawing  # noqa: E402
import rendering  # noqa: E402

from ppcoordconv.deploy import Predictor  # noqa: E402
from ppcoordconv.errors import UserError  # noqa: E402

# By name, the folders of exported models.
MODELS = {
    "coordconv": ROOT / "docs" / "trained" / "rendering",
    "convolution": HERE / "models" / "convolution",
    "detector": HERE / "models" / "detector",
}
# Where the page begins: a place that the training never saw.
START = (46, 44)


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
    maps = {network.title: rendering.ious_everywhere(network.predictor) for network in networks}

    def point(event: gr.EventData) -> str:
        return rendering.page(networks, maps, event.x, event.y)

    def draw(event: gr.EventData) -> Tuple[str, str]:
        return drawing.answer(models["detector"], event.strokes)

    with gr.Blocks(title="CoordConv: who knows where?", analytics_enabled=False) as blocks:
        gr.HTML((HERE / "header.html").read_text(encoding="utf-8"))
        with gr.Tab("Who knows where?"):
            squares = gr.HTML(
                rendering.page(networks, maps, *START),
                js_on_load=(HERE / "point.js").read_text(encoding="utf-8"),
                elem_id="point",
            )
            # While one answer is on its way, of all that the pointer does only the last counts.
            squares.point(point, None, squares, trigger_mode="always_last", show_progress="hidden")
        with gr.Tab("Draw digits"), gr.Row(elem_id="drawing"):
            boxes, found = drawing.answer(models["detector"], drawing.EXAMPLES[0])
            paper = gr.HTML(
                boxes,
                html_template=drawing.paper(),
                js_on_load=(HERE / "draw.js").read_text(encoding="utf-8"),
                elem_id="draw",
            )
            verdict = gr.HTML(found, elem_id="found")
            paper.draw(draw, None, [paper, verdict], trigger_mode="always_last", show_progress="hidden")
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
