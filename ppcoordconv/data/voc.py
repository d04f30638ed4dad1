"""Data sets in Pascal VOC's format: an XML file for each picture."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Optional
from xml.etree.ElementTree import Element

from ..utils.arguments import as_side, is_pixel
from ..utils.errors import UserError, shortened_repr
from ..utils.problems import entry
from . import DATASETS
from .annotations import Annotated, Annotations, Box, Corners, detection_data
from .boxes import DetectionData
from .files import check_folder, check_label, choose_splits, files_ending, find_picture, read_text, read_xml
from .listing import ENDINGS

EDGES = ("xmin", "ymin", "xmax", "ymax")


@DATASETS.register
def voc(
    path: str = "",
    train_split: Optional[str] = None,
    test_split: Optional[str] = None,
    split_seed: int = 0,
    on_error: str = "stop",
) -> DetectionData:
    """Pascal VOC's folders ``Annotations``, ``JPEGImages`` (or ``images``) and ``ImageSets/Main``, or XML files beside
    their pictures.

    ``xmin`` to ``ymax`` are the first and the last pixels of a box, counted from 1, as in VOC's own files: a box from 1
    to the width of its picture covers it. What is ``difficult`` is a crowd.

    Parameters:
        path: the folder that all is in.
        train_split: ``NAME`` for ``ImageSets/Main/NAME.txt`` or the folder ``NAME``; None: "train", and where that is
            not there, everything.
        test_split: likewise; None: "val", "valid" or "test", and where none is there, a fifth of the training pictures
            is held out.
        split_seed: draws those that are held out.
        on_error: as ``coco`` has it.

    Raises:
        UserError: a file or a picture is missing, or an entry is wrong; it names the file and the entry.
    """
    folder = check_folder(path)

    def is_there(name: str) -> bool:
        return _list_of(folder, name).is_file() or (folder / name).is_dir()

    train, test = choose_splits(train_split, test_split, is_there)
    return detection_data(parse_voc, (folder, train), (folder, test) if test else None, split_seed, on_error)


def _list_of(folder: Path, split: str) -> Path:
    return folder / "ImageSets" / "Main" / f"{split}.txt"


def parse_voc(folder: Path, split: Optional[str] = None) -> Annotations:
    """What the XML files of a part of a data set say; None: all of them."""
    if split and _list_of(folder, split).is_file():
        names = [line.strip() for line in read_text(_list_of(folder, split)).splitlines() if line.strip()]
        files = [folder / "Annotations" / f"{name}.xml" for name in names]
    else:
        files = files_ending(folder / split if split else folder, ".xml")
    pictures = []
    for file in files:
        with entry():
            pictures.append(_picture(file, folder))
    labels = sorted({box.label for picture in pictures for box in picture.boxes})
    return Annotations(folder, labels, pictures)


def _picture(file: Path, folder: Path) -> Annotated:
    root = read_xml(file)
    if root.tag != "annotation":
        raise UserError(f"{file} takes VOC's <annotation>, got <{shortened_repr(root.tag)}>")
    boxes = []
    for number, element in enumerate(root.findall("object"), 1):
        with entry():
            boxes.append(_box(file, number, element))
    # Some tools write zeros, and mean that they don't know.
    height, width = (as_side(root.findtext(f"size/{side}")) for side in ("height", "width"))
    size = (height, width) if height and width else None
    return Annotated(file, str(file), _image(file, root.findtext("filename") or "", folder), size, boxes)


def _image(file: Path, name: str, folder: Path) -> Path:
    """By its name, or as VOC itself has it, by that of the XML file: some tools leave out the ending."""
    folders = [folder / "JPEGImages", folder / "images", file.parent]
    named = find_picture(name.strip() or file.stem, *folders)
    if named.is_file():
        return named
    endings = [e for ending in ENDINGS for e in (ending, ending.upper())]
    places = (place / f"{file.stem}{ending}" for place in folders for ending in endings)
    return next((place for place in places if place.is_file()), named)


def _box(file: Path, number: int, element: Element) -> Box:
    where = f"{file}: object {number}"
    label = check_label(where, "name", (element.findtext("name") or "").strip())
    return Box(f"object {number}", label, _corners(where, element), element.findtext("difficult", "").strip() == "1")


def _corners(where: str, element: Element) -> Corners:
    given: Dict[str, Optional[str]] = {edge: element.findtext(f"bndbox/{edge}") for edge in EDGES}
    edges: List[float] = []
    for edge, text in given.items():
        try:
            edges.append(float(text or ""))
        except ValueError:
            edges.append(float("nan"))
        if not is_pixel(edges[-1]):
            raise UserError(f"{where}: {edge} of bndbox takes a number of pixels, got {shortened_repr(text)}")
    left, top, right, bottom = edges
    if right < left or bottom < top:
        raise UserError(f"{where}: bndbox takes xmin <= xmax and ymin <= ymax, got {shortened_repr(edges)}")
    return left - 1, top - 1, right, bottom
