"""Image sets of one's own: pick images, name them, save; and delete a set."""

from collections.abc import Iterator, Sequence

import streamlit as st

from viscnn.ui import data, data_images, state
from viscnn.ui.panels.errors import plain, shown_errors

__all__ = ["image_sets"]

PAGE = 48
COLUMNS = 12
_PICKED = "viscnn_picked"
_STYLE = """<style>
.st-key-image_grid { gap: .25rem; }
.st-key-image_grid [data-testid="stHorizontalBlock"] { gap: .25rem; }
.st-key-image_grid label { align-items: center; }
.st-key-image_grid label img { max-height: none; max-width: none; height: 40px; width: 40px; object-fit: contain; }
[data-testid="stPopoverBody"]:has(.st-key-image_grid) {
  width: min(60rem, 90vw) !important; max-width: none !important;
}
</style>"""
"""Streamlit draws an image in a label as high as the letters."""


@st.fragment
def image_sets(stamp: str, model: str) -> None:
    """A button that opens the builder; what is picked stays until it is saved or cleared. A fragment."""
    with st.popover(
        "Image sets", type="tertiary", icon=":material/photo_library:", key="image_sets_box", on_change="rerun"
    ) as box:
        if box.open:
            with shown_errors("image_sets"):
                _builder(stamp, model)
                _own(model)


def _builder(stamp: str, model: str) -> None:
    st.html(_STYLE)
    sets = data.image_sets(model)
    if not sets:
        st.caption("This model has no images; give them when ingesting it: `viscnn ingest MODEL --images FOLDER`.")
        return
    st.markdown("**New image set**")
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    chosen = left.selectbox("Images of", sets, key="pick_from")
    found = data_images.paths(model, chosen)
    pages = max(1, -(-len(found) // PAGE))
    number = int(right.number_input(f"Page, of {pages}", 1, pages, key=f"pick_page {model} {chosen}"))
    shown = found[(number - 1) * PAGE : number * PAGE]
    _grid(stamp, model, shown)
    _tools(model, shown)
    _save(model)


def _grid(stamp: str, model: str, shown: list[str]) -> None:
    """A box to tick for each image, with the image as its label."""
    pictures = data_images.thumbnails(stamp, model, tuple(shown))
    with st.container(key="image_grid"):
        for row in _rows(shown):
            for column, path in zip(st.columns(COLUMNS), row, strict=False):
                with column:
                    _box(model, path, pictures.get(path))


def _rows(paths: Sequence[str]) -> Iterator[Sequence[str]]:
    return (paths[at : at + COLUMNS] for at in range(0, len(paths), COLUMNS))


def _box(model: str, path: str, picture: str | None) -> None:
    key, name = f"pick {path}", plain(path)
    st.session_state[key] = path in _picked(model)
    title = name.replace('"', "&quot;")
    label = f'![{name}]({picture} "{title}")' if picture else name
    st.checkbox(label, key=key, on_change=_tick, args=(model, path))


def _tools(model: str, shown: list[str]) -> None:
    """Pick the whole page, or the image that the panels show; or begin anew."""
    page, image, none = st.columns(3)
    page.button("Pick this page", on_click=_pick, args=(model, shown), width="stretch")
    seen = state.current().image
    image.button(
        "Pick the shown image",
        on_click=_pick,
        args=(model, [seen] if seen else []),
        disabled=seen is None,
        help=f"{plain(seen)}: the maps are shown on it" if seen else "Choose an image in the panel of a filter first",
        width="stretch",
    )
    none.button("Clear", on_click=_clear, args=(model,), disabled=not _picked(model), width="stretch")


def _save(model: str) -> None:
    picked = _picked(model)
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    name = left.text_input("Name", key="image_set_name", placeholder="tilted threes")
    label = f"Save {len(picked)} images" if len(picked) != 1 else "Save 1 image"
    if right.button(label, key="save_image_set", type="primary", disabled=not picked, width="stretch"):
        with shown_errors("save_image_set"):
            said = data_images.save(model, name, list(picked))
            st.toast(plain(said), icon=":material/check:")
            _clear(model)
            st.rerun()


def _own(model: str) -> None:
    """The sets that there are, each with a button that deletes it."""
    known = data_images.own(model)
    if known:
        st.markdown("**Your image sets**")
    for name, images in known.items():
        left, right = st.columns([3, 1], vertical_alignment="center")
        left.markdown(f"{plain(name)} · {images:,} {'image' if images == 1 else 'images'}")
        if right.button("Delete", key=f"drop_image_set {name}", icon=":material/delete:", width="stretch"):
            with shown_errors("drop_image_set"):
                data_images.drop(model, name)
                st.toast(f"Image set {plain(name)} is deleted", icon=":material/delete:")
                st.rerun()


def _picked(model: str) -> dict[str, None]:
    """Paths of the picked images, in the order in which they were picked."""
    found: dict[str, None] = st.session_state.setdefault(_PICKED, {}).setdefault(model, {})
    return found


def _tick(model: str, path: str) -> None:
    if st.session_state[f"pick {path}"]:
        _pick(model, [path])
    else:
        _picked(model).pop(path, None)


def _pick(model: str, paths: list[str]) -> None:
    _picked(model).update(dict.fromkeys(paths))


def _clear(model: str) -> None:
    _picked(model).clear()
