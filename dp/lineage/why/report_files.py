"""The rows of a report's CSV, and whether a figure was drawn from the CSV beside it."""

import csv
from pathlib import Path
from xml.etree import ElementTree

from dp import files
from dp.escapes import given

FIGURES = (".svg", ".png")


def source_of_figure(picture: Path) -> str | None:
    """What a figure says it was drawn from, `<csv name> sha256:<digest>`; None where it says nothing."""
    if picture.suffix == ".png":
        from PIL import Image

        with Image.open(picture) as image:
            return image.info.get("Source")
    try:
        return ElementTree.parse(picture).findtext(".//{http://purl.org/dc/elements/1.1/}source")
    except ElementTree.ParseError:
        return None


def figure_problems(picture: Path) -> list[str]:
    """Whether a figure was drawn from the CSV that lies beside it; nothing to say of other files."""
    data = picture.with_suffix(".csv")
    if picture.suffix not in FIGURES or not picture.is_file() or not data.is_file():
        return []  # the record says that it is missing
    now = f"{data.name} sha256:{files.sha256(data)}"
    try:
        said = source_of_figure(picture)
    except OSError:
        said = None
    return [] if said == now else [f"{picture.name} was not drawn from the {data.name} that lies beside it"]


def rows_of(table: Path) -> list[tuple[int, dict[str, str]]]:
    """(last line in the file, row) for each row of a CSV with a header."""
    with table.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, restval="")
        return [(reader.line_num, given(row)) for row in reader]
