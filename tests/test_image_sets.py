"""Image sets of one's own, on a collection without a graph: which are taken, which are refused or left out, and why."""

import hashlib
from pathlib import Path

import pytest
from PIL import Image

from viscnn.engine.images import ImageCollection, OwnSet
from viscnn.engine.sources import open_source
from viscnn.errors import ExpressionError, ImagesError

FILES = (
    "cat/a.png",
    "cat/b.png",
    "dog/c.png",
    "dog/d.png",
    "tiger, Panthera tigris/e.png",
    "cat/same.png",
    "dog/same.png",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for shade, name in enumerate(FILES):
        file = tmp_path / "pets" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 10 * shade).save(file)
    return tmp_path / "pets"


@pytest.fixture
def pets(folder: Path) -> ImageCollection:
    return open_source(folder)


def members(collection: ImageCollection, name: str) -> list[str]:
    found = collection.find(name)
    assert not found.single
    return [collection.items[index].path for index in found.indices]


def test_a_set_of_one_s_own_is_found_like_any_other(pets: ImageCollection, folder: Path) -> None:
    mine = pets.own_set("  my favourites ", ["dog/d.png", "a.png", "cat/a.png"])
    hashes = sorted(hashlib.sha256((folder / path).read_bytes()).hexdigest() for path in ("cat/a.png", "dog/d.png"))
    of_both = hashlib.sha256("\n".join(hashes).encode()).hexdigest()
    assert mine == OwnSet("my favourites", ("cat/a.png", "dog/d.png"), of_both)
    more = pets.with_sets([mine])
    assert members(more, "My_Favourites") == ["cat/a.png", "dog/d.png"]
    assert more.names() == (*pets.names(), "my favourites")
    assert (more.own, more.left_out) == (("my favourites",), {})
    assert members(more, "cat") == ["cat/a.png", "cat/b.png", "cat/same.png"]
    assert more.find("c.png").single


def test_the_collection_itself_is_not_changed(pets: ImageCollection) -> None:
    before = dict(pets.sets)
    pets.with_sets([pets.own_set("mine", ["a.png"])])
    assert (dict(pets.sets), pets.own) == (before, ())
    with pytest.raises(ExpressionError, match="no image set or image is called 'mine'"):
        pets.find("mine")


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("overall", 'means the image set "overall"'),
        ("Overall", 'means the image set "overall"'),
        ("DOG", 'means the image set "dog"'),
        ("Panthera tigris", 'means the image set "tiger, Panthera tigris"'),
        ("my pets, dog", "'dog' means the image set \"dog\""),
        ("a.png", "means the image cat/a.png"),
        ("CAT/A.png", "means the image cat/a.png"),
    ],
)
def test_a_name_that_means_something_is_refused(pets: ImageCollection, name: str, meaning: str) -> None:
    with pytest.raises(ImagesError, match=r"an image set cannot be called .*; choose another name") as error:
        pets.own_set(name, ["b.png"])
    assert meaning in str(error.value)


def test_a_name_of_one_s_own_is_refused_the_second_time(pets: ImageCollection) -> None:
    more = pets.with_sets([pets.own_set("mine", ["a.png"])])
    with pytest.raises(ImagesError, match="'Mine' means your image set \"mine\""):
        more.own_set("Mine", ["b.png"])


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "x" * 201])
def test_what_is_no_name_is_refused(pets: ImageCollection, name: str) -> None:
    with pytest.raises(ImagesError, match="is no name: give 1 to 200 printable characters"):
        pets.own_set(name, ["b.png"])


@pytest.mark.parametrize(
    ("paths", "error", "message"),
    [
        ([], ImagesError, "would have 0 images; give 1 to 10,000"),
        (["a.png", "bb.png"], ExpressionError, "no image set or image is called 'bb.png'.*did you mean b.png"),
        (["dog"], ImagesError, "'dog' is an image set of .*name its images"),
        (["same.png"], ExpressionError, 'is one of 2 images: "cat/same.png", "dog/same.png"'),
        (["../pets/cat/a.png"], ExpressionError, "no image set or image is called"),
        (["/etc/passwd"], ExpressionError, "no image set or image is called"),
    ],
)
def test_images_that_cannot_be_meant(
    pets: ImageCollection, paths: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        pets.own_set("mine", paths)


def test_a_set_whose_images_are_not_all_here_is_left_out(pets: ImageCollection, folder: Path) -> None:
    sets = [pets.own_set("two", ["a.png", "b.png"]), pets.own_set("one", ["c.png"])]
    (folder / "cat/a.png").unlink()
    found = open_source(folder).with_sets(sets)
    assert found.own == ("one",)
    with pytest.raises(ExpressionError, match="your image set 'two' cannot be used: 1 of its 2 images are not in"):
        found.find("Two")
    assert members(found, "one") == ["dog/c.png"]


def test_other_images_of_the_same_paths_are_another_set(pets: ImageCollection, folder: Path) -> None:
    mine = pets.own_set("mine", ["a.png", "b.png"])
    Image.new("L", (4, 4), 200).save(folder / "cat/b.png")
    found = open_source(folder).with_sets([mine])
    assert found.own == ()
    with pytest.raises(ExpressionError, match=r"your image set 'mine' cannot be used: its images in .* have changed"):
        found.find("mine")


def test_a_class_that_comes_later_takes_the_name(pets: ImageCollection, folder: Path) -> None:
    mine = pets.own_set("yak", ["a.png"])
    (folder / "yak").mkdir()
    Image.new("L", (4, 4), 250).save(folder / "yak/y.png")
    found = open_source(folder).with_sets([mine])
    assert (found.own, members(found, "yak")) == ((), ["yak/y.png"])
    assert found.left_out == {"yak": "'yak' means the image set \"yak\""}


def test_stored_paths_are_compared_and_never_opened(pets: ImageCollection) -> None:
    planted = OwnSet("planted", ("/etc/passwd", "../../secret.png"), "0" * 64)
    found = pets.with_sets([planted])
    assert found.own == ()
    assert found.left_out["planted"].startswith("2 of its 2 images are not in ")
