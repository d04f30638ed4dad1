"""Mask AP: COCO's average precision by the overlap of masks, by pycocotools."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from ..ops.solo import find_instances
from ..postprocess.instance_segmentation import in_input
from .coco import CocoPrecision


class MaskPicture(NamedTuple):
    """What is on a picture, and what was found there; masks of the network's input, as pycocotools' run lengths."""

    found_classes: np.ndarray  # [k]
    found_scores: np.ndarray  # [k]
    found: List[Dict[str, Any]]  # [k]
    classes: np.ndarray  # [m]
    crowd: np.ndarray  # [m]
    objects: List[Dict[str, Any]]  # [m]
    scale: float


class MaskPrecision(CocoPrecision):
    """How good masks are, as COCO measures it, in pixels of the network's input; sizes are those of the picture."""

    kind = "segm"

    def reduce(self, outputs: np.ndarray, targets: Sequence[np.ndarray]) -> List[MaskPicture]:
        """The pictures of a batch.

        Parameters:
            targets: last the objects' masks, 0 or 1, ``[N, M, H, W]`` in pixels of the input, their classes ``[N, M]``
                (-1: none), crowds, bool ``[N, M]``, and by what each picture was scaled, ``[N]``.
        """
        pictures = []
        for packed, masks, classes, crowd, scale in zip(outputs, *targets[-4:]):
            there = classes >= 0
            found = find_instances(packed, len(self._labels))
            found_masks = in_input(found.masks, masks.shape[1:])
            pictures.append(
                MaskPicture(
                    found.classes,
                    found.scores,
                    _encoded(found_masks),
                    classes[there],
                    crowd[there],
                    _encoded(masks[there]),
                    float(scale),
                )
            )
        return pictures

    def best_score(self) -> float:
        return max((float(one.found_scores.max(initial=0)) for one in self._pictures()), default=0.0)

    def entries(self, picture: MaskPicture) -> Tuple[List[Dict[str, Any]], List[Dict[str, Any]]]:
        from pycocotools import mask as coco

        def of(runs: Dict[str, Any], category: int) -> Dict[str, Any]:
            area = float(coco.area(runs)) / picture.scale**2
            return {"category_id": int(category), "segmentation": runs, "area": area}

        objects = [
            {**of(runs, category), "iscrowd": int(is_crowd)}
            for runs, category, is_crowd in zip(picture.objects, picture.classes, picture.crowd)
        ]
        results = [
            {**of(runs, category), "score": float(score)}
            for runs, category, score in zip(picture.found, picture.found_classes, picture.found_scores)
        ]
        return objects, results


def _encoded(masks: np.ndarray) -> List[Dict[str, Any]]:
    """Of ``[n, H, W]`` each."""
    from pycocotools import mask as coco

    return [coco.encode(np.asfortranarray(mask, np.uint8)) for mask in masks]
