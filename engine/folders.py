"""Image sources that are folders: class folders, split and class folders, `labels.tsv`, or just images."""

import csv
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image

from viscnn.engine.decode import decode, flaw
from viscnn.engine.images import ImageCollection, ImageItem, Part, part_of
from viscnn.errors import ImagesError

__all__ = ["SPLITS", "open_file", "open_folder"]

SPLITS: dict[str, Part] = {
    "train": "score",
    "training": "score",
    "score": "score",
    "test": "check",
    "testing": "check",
    "val": "check",
    "valid": "check",
    "validation": "check",
    "check": "check",
}
"""Names of supplied splits, and the part that their images belong to."""

_TABLE = "labels.tsv"
_MOST_BYTES = 512 * 1024**2


@dataclass(frozen=True)
class _Entry:
    path: str
    label: str | None = None
    aliases: tuple[str, ...] = ()
    part: Part | None = None


def open_folder(folder: Path) -> ImageCollection:
    """All images below a folder; see `sources.open_source` for the layouts.

    Raises:
        ImagesError: no usable image, or a `labels.tsv` that cannot be read.
    """
    root = folder.resolve()
    if (root / _TABLE).is_file():
        entries, skipped = _tabled(root)
        return _collection(root, folder, entries, skipped, classes=[])
    paths, skipped = _walk(root)
    splits = _split_names(root)
    entries = [_placed(path, splits) for path in paths]
    classes = sorted({name for parent in ([root / each for each in splits] or [root]) for name in _folders(parent)})
    return _collection(root, folder, entries, skipped, classes=classes)


def open_file(file: Path) -> ImageCollection:
    """A collection of one image, which has no label.

    Raises:
        ImagesError: it is no usable image.
    """
    root = file.resolve().parent
    return _collection(root, file, [_Entry(file.resolve().name)], [], classes=[])


def _folders(parent: Path) -> list[str]:
    """Visible folders directly in `parent`, links left out."""
    with os.scandir(parent) as entries:
        return sorted(each.name for each in entries if each.is_dir(follow_symlinks=False) and each.name[0] != ".")


def _split_names(root: Path) -> list[str]:
    """The folders of a supplied split (`train`, `test`...), or none where the folders are classes."""
    names = _folders(root)
    if not names or any(name.casefold() not in SPLITS for name in names):
        return []
    return names if len(names) > 1 or any(_folders(root / name) for name in names) else []


def _placed(path: str, splits: Sequence[str]) -> _Entry:
    """The entry of a file: its first folder, or the first below the split, is the label."""
    parents = PurePosixPath(path).parent.parts
    if splits and parents:
        part = SPLITS[parents[0].casefold()]
        return _Entry(path, parents[1] if len(parents) > 1 else None, (), part)
    return _Entry(path, parents[0] if parents else None)


def _walk(root: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Paths of all visible files below `root`, sorted, and what was skipped: links to folders, unreadable folders."""
    paths: list[str] = []
    skipped: list[tuple[str, str]] = []

    def unreadable(error: OSError) -> None:
        skipped.append((_relative(root, Path(str(error.filename))), f"unreadable folder ({error.strerror})"))

    for folder, names, files in os.walk(root, onerror=unreadable):
        here = Path(folder)
        names[:] = [name for name in names if name[0] != "."]
        skipped += [
            (_relative(root, here / name), "a link to a folder") for name in names if (here / name).is_symlink()
        ]
        paths += [_relative(root, here / name) for name in files if name[0] != "."]
    return sorted(paths), skipped


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _tabled(root: Path) -> tuple[list[_Entry], list[tuple[str, str]]]:
    """Entries of `labels.tsv`: columns `file` and `name`, optional `wnid`, `index` and `split`."""
    entries: list[_Entry] = []
    skipped: list[tuple[str, str]] = []
    seen: set[str] = set()
    for number, row in enumerate(_rows(root / _TABLE), start=2):
        file = row["file"]
        path = next((each for each in (file, f"images/{file}") if file and (root / each).exists()), file)
        if not file or path in seen:
            skipped.append((file or f"{_TABLE}:{number}", "listed twice" if file else "no file is named"))
            continue
        seen.add(path)
        aliases = [row["wnid"], f"#{row['index']}" if row["index"].isdigit() else ""]
        part = SPLITS.get(row["split"].casefold())
        entries.append(_Entry(path, row["name"] or row["wnid"] or None, tuple(filter(None, aliases)), part))
    return sorted(entries, key=lambda entry: entry.path), skipped


def _rows(table: Path) -> Iterator[dict[str, str]]:
    """Rows with all columns that this module knows; absent ones are empty."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t")
            columns = reader.fieldnames or ()
            if "file" not in columns or not {"name", "wnid"} & set(columns):
                raise ImagesError(f"{table} needs tab-separated columns `file` and `name`; it has {', '.join(columns)}")
            for row in reader:
                yield {key: (row.get(key) or "").strip() for key in ("file", "name", "wnid", "index", "split")}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ImagesError(f"{table} cannot be read as tab-separated UTF-8 text: {error}") from error


def _collection(
    root: Path,
    source: Path,
    entries: Sequence[_Entry],
    skipped: Sequence[tuple[str, str]],
    *,
    classes: Sequence[str],
) -> ImageCollection:
    items: list[ImageItem] = []
    left_out = list(skipped)
    for entry in entries:
        image_hash, reason = _inspect(root, entry.path)
        if reason is not None:
            left_out.append((entry.path, reason))
            continue
        items.append(ImageItem(entry.path, image_hash, entry.label, entry.part or part_of(image_hash), entry.aliases))
    return ImageCollection.of(
        items,
        lambda index: _FilePicture(root, items[index].path),
        source=str(source),
        skipped=left_out,
        classes=[(name, ()) for name in classes],
        whole=root.name,
    )


def _outside(root: Path, path: str) -> bool:
    """Whether a path leaves the root, by `..`, as an absolute path or through a link."""
    return ".." in PurePosixPath(path).parts or not (root / path).resolve().is_relative_to(root)


def _inspect(root: Path, path: str) -> tuple[str, str | None]:
    """Hash of an image file, or an empty hash and why the file is left out."""
    file = root / path
    try:
        if _outside(root, path):
            return "", "leaves the folder"
        if not file.is_file():
            return "", "not a regular file" if file.exists() else "missing"
        size = file.stat().st_size
        if not size or size > _MOST_BYTES:
            return "", "empty file" if not size else f"larger than {_MOST_BYTES // 1024**2} MiB"
        with file.open("rb") as opened:
            reason = flaw(opened)
        return ("", reason) if reason else (hashlib.sha256(file.read_bytes()).hexdigest(), None)
    except (OSError, RuntimeError, ValueError) as error:  # unreadable; a loop of links; a name with a null
        return "", f"unreadable ({getattr(error, 'strerror', None) or error})"


@dataclass(frozen=True)
class _FilePicture:
    """A file below `root`, opened whenever it is decoded."""

    root: Path
    path: str

    def decode(self) -> Image.Image:
        try:
            if _outside(self.root, self.path):
                raise ImagesError(f"image {self.path} leaves the folder {self.root}")
            with (self.root / self.path).open("rb") as file:
                return decode(file, self.path)
        except OSError as error:
            raise ImagesError(f"image {self.path} cannot be read: {error.strerror}") from error
