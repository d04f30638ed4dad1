"""Keypoints: COCO's average precision by object keypoint similarity, PCK, and the mean error."""

from __future__ import annotations

import contextlib
import io
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from . import Metric

# COCO's, of its 17 points of a person: how much annotators differ, as a part of the object's size.
COCO_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072),
    *(0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)
# Of other points, where nothing is known of them: about the mean of COCO's.
SIGMA = 0.06
# A point is right, for PCK, that is no farther away than this part of the longer side of the object's box.
PCK = 0.1


class KeypointPrecision(Metric):
    """How near points are to where they should be.

    ``compute`` gives "ap", the mean of COCO's average precision over the similarities 0.5, 0.55, ..., 0.95, "ap50",
    "ap75", "ar", and of objects of that size, where there are some, "ap_medium" and "ap_large"; "pck", the part of the
    points that are no farther away than a tenth of the longer side of their object's box; all 0..1; and "mean_error",
    the mean distance in pixels of the picture. Points that are not labelled count for nothing. The objects themselves
    are given: the score of one is the mean of its points'.

    Parameters:
        sigmas: of each point, how much of its object's size it may be away; COCO's are ``COCO_SIGMAS``.
    """

    def __init__(self, sigmas: Sequence[float]) -> None:
        super().__init__()
        self._sigmas = np.array(sigmas, np.float64)

    def reduce(self, outputs: np.ndarray, targets: Sequence[np.ndarray]) -> Dict[str, np.ndarray]:
        """Of a batch.

        Parameters:
            outputs: ``[N, K, 3]``: x, y, score, in pixels of the network's input.
            targets: points ``[N, K, 3]`` in the same; where the input lies in the picture, ``[N, 3]``: its left and top
                and by what it was scaled; the objects' areas and the longer sides of their boxes, ``[N, 2]``, in
                pixels of the picture; the number of the picture, ``[N]``.
        """
        points, places, sizes, pictures = (np.array(target) for target in targets[:4])
        corner, scale = places[:, None, :2], places[:, None, 2:]
        found = np.concatenate([outputs[..., :2] / scale + corner, outputs[..., 2:]], axis=2)
        true = np.concatenate([points[..., :2] / scale + corner, points[..., 2:]], axis=2)
        return {"found": found, "true": true, "sizes": sizes, "pictures": pictures}

    def compute(self) -> Dict[str, float]:
        labelled, distances, right = self._errors()
        return {
            **self._coco(),
            "pck": float(right[labelled].mean()),
            "mean_error": float(distances[labelled].mean()),
        }

    def report(self, labels: List[str]) -> Dict[str, Any]:
        """Of each point "labelled", how many there are, and of those "pck" and "mean_error", None of none."""
        labelled, distances, right = self._errors()
        entries = []
        for label, seen, errors, are_right in zip(labels, labelled.T, distances.T, right.T):
            entry = {"label": label, "labelled": int(seen.sum()), "pck": None, "mean_error": None}
            if seen.any():
                entry.update(pck=float(are_right[seen].mean()), mean_error=float(errors[seen].mean()))
            entries.append(entry)
        return {"samples": len(labelled), **self.compute(), "points": entries}

    def _errors(self) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each object and point whether it is labelled, how far away it was found, and whether that is right."""
        found, true, sizes, _ = self._all()
        distances = np.linalg.norm(found[..., :2] - true[..., :2], axis=2)
        return true[..., 2] > 0, distances, distances <= PCK * sizes[:, 1:]

    def _all(self) -> List[np.ndarray]:
        names = ("found", "true", "sizes", "pictures")
        return [np.concatenate([batch[name] for batch in self._batches]) for name in names]

    def _coco(self) -> Dict[str, float]:
        """What COCO's tools summarise, but of all objects of a picture, not of 20, and of the sizes that there are."""
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        found, true, sizes, pictures = self._all()
        annotations = [
            {
                "id": number + 1,
                "image_id": int(picture),
                "category_id": 1,
                "keypoints": points.ravel().tolist(),
                "num_keypoints": int((points[:, 2] > 0).sum()),
                "area": float(area),
                "bbox": [0, 0, 1, 1],  # which pycocotools takes where no point is labelled, as none is here
                "iscrowd": 0,
            }
            for number, (points, (area, _), picture) in enumerate(zip(true, sizes, pictures))
        ]
        results = [
            {
                "image_id": int(picture),
                "category_id": 1,
                "keypoints": points.ravel().tolist(),
                "score": float(points[:, 2].mean()),
            }
            for points, picture in zip(found, pictures)
        ]
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO()
            images = [{"id": int(picture)} for picture in np.unique(pictures)]
            coco.dataset = {"info": {}, "images": images, "annotations": annotations, "categories": [{"id": 1}]}
            coco.createIndex()
            evaluation = COCOeval(coco, coco.loadRes(results), "keypoints")
            evaluation.params.kpt_oks_sigmas = self._sigmas
            evaluation.params.maxDets = [int(np.bincount(np.unique(pictures, return_inverse=True)[1]).max())]
            evaluation.evaluate()
            evaluation.accumulate()
        # By IoU, recall and size: all, medium and large.
        precision, recall = evaluation.eval["precision"][:, :, 0, :, 0], evaluation.eval["recall"][:, 0, :, 0]
        rows = {
            "ap": precision[..., 0],
            "ap50": precision[0, :, 0],
            "ap75": precision[5, :, 0],
            "ap_medium": precision[..., 1],
            "ap_large": precision[..., 2],
            "ar": recall[:, 0],
        }
        return {name: float(values[values > -1].mean()) for name, values in rows.items() if (values > -1).any()}
