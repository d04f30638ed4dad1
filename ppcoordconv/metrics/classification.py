"""Of one label a picture: accuracy, top-5, and by class precision, recall, F1 and confusions."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from ..postprocess.classification import best_class
from . import MAX_CONFUSION, Metric

# "top5" is told of more classes than that.
_TOP = 5
# An accuracy is better than chance where chance gives as much less often.
_SIGNIFICANT = 0.01


class Accuracy(Metric):
    """How many samples are of the class that is predicted.

    ``compute`` gives "accuracy" and, of more than five classes, "top5": whether the right one is among the five that
    score best; both 0..1. The true class and the predicted one are what is kept of a sample.
    """

    def reduce(self, outputs: np.ndarray, targets: Sequence[np.ndarray]) -> Dict[str, np.ndarray]:
        """Of logits ``[N, classes]`` and classes ``[N]``."""
        kept = {"true": targets[0].astype(np.int32), "predicted": best_class(outputs)[0].astype(np.int32)}
        if outputs.shape[1] > _TOP:
            best = np.argsort(-outputs, axis=1, kind="stable")[:, :_TOP]
            kept["top5"] = (best == targets[0][:, None]).any(axis=1)
        return kept

    def compute(self) -> Dict[str, float]:
        true, predicted = self._classes()
        metrics = {"accuracy": float((true == predicted).mean())}
        if "top5" in self._batches[0]:
            metrics["top5"] = float(np.concatenate([batch["top5"] for batch in self._batches]).mean())
        return metrics

    def report(self, labels: List[str]) -> Dict[str, Any]:
        """Precision, recall, F1 and support of each class, their means over the classes that have samples, and
        "confusion": in row i and column j, how many of class i were predicted as class j. A quotient by 0 is 0.
        """
        from sklearn.metrics import precision_recall_fscore_support

        numbers = range(len(labels))
        columns = precision_recall_fscore_support(*self._classes(), labels=numbers, zero_division=0)
        names = ("precision", "recall", "f1", "support")
        values = dict(zip(names, columns))
        has_samples = values["support"] > 0
        report = {
            "samples": int(values["support"].sum()),
            **self.compute(),
            "macro": {name: float(values[name][has_samples].mean()) for name in names[:3]},
            "classes": [
                {"label": label, **{name: values[name][number].item() for name in names}}
                for number, label in enumerate(labels)
            ],
        }
        if len(labels) <= MAX_CONFUSION:
            report["confusion"] = self._confusion(len(labels)).tolist()
        return report

    def pictures(self, labels: List[str]) -> Dict[str, np.ndarray]:
        from ..viz.evaluation import confusion_matrix

        if len(labels) > MAX_CONFUSION:
            return {}
        return {"confusion": confusion_matrix(self._confusion(len(labels)), labels)}

    def advice(self, metrics: Dict[str, float], labels: List[str]) -> str:
        from scipy.stats import binomtest  # scikit-learn brings it

        counts = np.bincount(self._classes()[0])
        total, accuracy = int(counts.sum()), metrics["accuracy"]
        share = counts.max() / total
        hits = round(accuracy * total)
        if binomtest(hits, total, share, alternative="greater").pvalue < _SIGNIFICANT:
            return ""
        always = f"always saying {labels[counts.argmax()]!r} ({share:.2f})"
        if share**total >= _SIGNIFICANT:
            return f"{total} held-out samples are too few to tell accuracy {accuracy:.2f} from {always}; hold out more"
        is_below = "no better" if accuracy <= share else "not significantly better"
        return (
            f"accuracy {accuracy:.2f} is {is_below} than {always}: try more epochs, a lower or higher "
            "optimizer.learning_rate, more pictures, or a pretrained network by model.weights"
        )

    def _classes(self) -> Tuple[np.ndarray, np.ndarray]:
        """The true ones of all samples, and the predicted ones."""
        true, predicted = (np.concatenate([batch[name] for batch in self._batches]) for name in ("true", "predicted"))
        return true, predicted

    def _confusion(self, count: int) -> np.ndarray:
        """``[count, count]``, how many samples of the row's class were predicted as the column's."""
        from sklearn.metrics import confusion_matrix

        return confusion_matrix(*self._classes(), labels=range(count))
