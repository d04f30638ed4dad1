"""Results of ``infer`` as annotations in COCO's format, for tools that show and correct them."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List

from ..postprocess import served_form_of
from ..utils.errors import UserError


def as_coco(results: Iterable[Dict[str, Any]], description: Dict[str, Any]) -> Dict[str, Any]:
    """Images, annotations with their "score", and categories; ids count from 1, what could not be read is left out.

    Parameters:
        description: the Predictor's.

    Raises:
        UserError: the model finds no objects.
    """
    if served_form_of(description).score_threshold is None:
        raise UserError("annotations in COCO's format are for models that find objects; take --format jsonl")
    images: List[Dict[str, Any]] = []
    annotations: List[Dict[str, Any]] = []
    for result in results:
        if "error" in result:
            continue
        size = {"width": result["width"], "height": result["height"]}
        images.append({"id": len(images) + 1, "file_name": result["input"], **size})
        for found in result["objects"]:
            left, top, right, bottom = found["box"]
            width, height = round(right - left, 2), round(bottom - top, 2)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": found["class_id"] + 1,
                    "bbox": [left, top, width, height],
                    **_outline(found, width * height),
                    "iscrowd": 0,
                    "score": found["score"],
                }
            )
    categories = [{"id": number, "name": label} for number, label in enumerate(description["labels"], 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _outline(found: Dict[str, Any], area: float) -> Dict[str, Any]:
    """The run lengths of an object's mask, where it has one, and its area, else that of its box."""
    if "segmentation" not in found:
        return {"area": round(area, 2)}
    return {"area": sum(found["segmentation"]["counts"][1::2]), "segmentation": found["segmentation"]}
