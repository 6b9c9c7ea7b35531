"""Labels to classes: by name or wnid, with synonyms, and ImageNet's namesakes told apart."""

import dataclasses

import pytest

from viscnn.config import data_folder
from viscnn.engine.images import ImageItem
from viscnn.engine.labels import class_index, class_indices, find_class
from viscnn.engine.sources import open_source
from viscnn.errors import ExpressionError

CLASSES = (
    "tench, Tinca tinca",
    "tiger shark, Galeocerdo cuvieri",
    "crane",
    "tiger, Panthera tigris",
    "crane",
    "n02110958 pug, pug-dog",
    "Bernese mountain dog",
    "maillot",
    "maillot, tank suit",
)


@pytest.mark.parametrize(
    ("label", "index"),
    [
        ("tench, Tinca tinca", 0),
        ("tench", 0),
        ("Tinca tinca", 0),
        ("TENCH", 0),
        ("tiger", 3),
        ("tiger shark", 1),
        ("tiger_shark", 1),
        ("Tiger Shark", 1),
        ("n02110958", 5),
        ("pug-dog", 5),
        ("Bernese_mountain_dog", 6),
        ("bernese  mountain dog", 6),
        ("maillot", 7),
        ("tank suit", 8),
        ("maillot tank suit", 8),
        ("#4", 4),
    ],
)
def test_found(label: str, index: int) -> None:
    assert class_index(label, CLASSES) == index
    assert find_class(label, CLASSES) == index


def test_label_with_synonyms_of_its_own() -> None:
    assert class_index("great white shark, white shark, man-eater", ("tench", "great_white_shark")) == 1
    assert class_index("X, man-eater", ("tench", "man-eater")) == 1


@pytest.mark.parametrize("label", ["shark", "zebra", "", "#9", "#-1", "0", None])
def test_not_found(label: str | None) -> None:
    assert class_index(label, CLASSES) is None


def test_several_matches_are_no_match_for_an_image_and_an_error_for_a_person() -> None:
    assert class_index("crane", CLASSES) is None
    with pytest.raises(ExpressionError, match="'crane' is one of several: #2 crane, #4 crane; name one by its number"):
        find_class("crane", CLASSES)


def test_namesakes_are_told_apart_by_number_or_wnid() -> None:
    assert class_index("crane", CLASSES, aliases=("n03126707", "#4")) == 4
    assert class_index("crane", CLASSES, aliases=("n02012849", "#2")) == 2
    assert class_index("crane", ("crane bird", "crane"), aliases=("#0",)) == 0
    classes = ("n02012849 crane", "n03126707 crane")
    assert class_index("crane", classes, aliases=("n03126707",)) == 1
    assert class_index("hoist", classes, aliases=("n03126707",)) == 1


def test_a_position_alone_is_not_believed() -> None:
    assert class_index("zebra", CLASSES, aliases=("#3",)) is None
    assert class_index("tiger", CLASSES, aliases=("#0",)) == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tenhc", "the model has no class 'tenhc'; did you mean tench"),
        ("qqqq", "the model has no class 'qqqq'"),
        ("#9", "the model has classes #0 to #8"),
        ("#x", "the model has classes #0 to #8"),
    ],
)
def test_errors(name: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        find_class(name, CLASSES)
    assert message in str(caught.value)


def test_model_without_classes() -> None:
    assert class_index("tench", ()) is None
    with pytest.raises(ExpressionError, match="no named classes"):
        find_class("tench", ())


def test_many_images() -> None:
    items = [ImageItem(f"{label}.png", "0" * 64, label, "score") for label in ("tiger", "zebra", "tench", "tiger")]
    assert class_indices(items, CLASSES) == [3, None, 0, 3]


def test_imagenet_sample_against_two_lists_of_classes() -> None:
    data = data_folder()
    if data is None or not (data / "imagenet_sample").is_dir():
        pytest.skip("needs imagenet_sample in $VISCNN_DATA")
    from torchvision.models import AlexNet_Weights

    items = open_source(data / "imagenet_sample").items
    long_names = [str(item.label) for item in items]
    short_names = AlexNet_Weights.IMAGENET1K_V1.meta["categories"]
    assert class_indices(items, short_names) == list(range(1000))
    assert class_indices(items, long_names) == list(range(1000))
    nameless = [dataclasses.replace(item, aliases=()) for item in items]
    wrong = {each: found for each, found in enumerate(class_indices(nameless, long_names)) if found != each}
    assert wrong == {134: None, 517: None}  # the cranes
