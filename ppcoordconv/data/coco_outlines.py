"""The objects of a COCO file with their outlines: what its readers of masks and of instances share."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Tuple

from ..utils.errors import MissingFileError, UserError, shortened_repr
from ..utils.problems import entry
from ..utils.progress import log_info
from .coco_file import LABEL, CocoFile, Id, label, read_coco_file
from .files import check_file, find_picture
from .outlines import Outline, read_outline


class Outlined(NamedTuple):
    """One object; ``category`` is the id of its category."""

    category: Id
    crowd: bool
    outline: Outline


def read_outlines(file: Path) -> Tuple[CocoFile, Dict[Id, List[Outlined]]]:
    """The file, and by the id of each picture its objects; those without a segmentation are left out, and counted.

    Raises:
        UserError: the file is missing, an entry is wrong, or no annotation has a segmentation.
    """
    try:
        read = read_coco_file(file, {"name": (label, LABEL)})
    except MissingFileError:
        raise UserError(
            f"there is no file {file}; data.train_annotations and data.test_annotations name COCO's files"
        ) from None
    objects: Dict[Id, List[Outlined]] = {key: [] for key in read.pictures}
    without = 0
    for name, record in read.named_annotations():
        with entry():
            picture, category, crowd = read.belongs_to(name, record)
            fields = read.pictures[picture]
            size = (fields["height"], fields["width"])
            found = read_outline(f"{file}: {name}", record.get("segmentation"), size)
            if found is None:
                without += 1
            else:
                objects[picture].append(Outlined(category, crowd, found))
    if without:
        log_info(f"{file}: annotations without a segmentation are left out: {without} of {len(read.annotations)}")
    if not any(objects.values()):
        raise UserError(f"{file}: it has no annotation with a segmentation")
    return read, objects


def pictures_of(read: CocoFile, images: Path, on_error: str) -> Iterator[Tuple[Id, Path, Tuple[int, int]]]:
    """The id, the file in the folder ``images``, and the height and width of each picture, by ascending id."""
    for key, fields in read.pictures.items():
        with entry():
            picture = find_picture(fields["file_name"], images)
            if on_error == "stop":
                check_file(f"{read.file}: image {shortened_repr(key)}", picture)
            yield key, picture, (fields["height"], fields["width"])
