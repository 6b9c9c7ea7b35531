"""The page: `viscnn ui`, or `streamlit run ui/app.py`."""

import streamlit as st

from viscnn.ui import figures
from viscnn.ui.panels.models import MODELS_PAGE
from viscnn.ui.views import circuit, compare, cypher, explore, models
from viscnn.ui.views import filter as one_filter

# Streamlit's own margins leave a third of a small screen empty; the panel scrolls beside the picture
STYLE = """<style>
.stMainBlockContainer { padding: 4rem 2.5rem 2rem; }
[data-testid="stSidebarHeader"] { height: 2.5rem; }
.st-key-panel_box { max-height: calc(100vh - 12rem); min-height: 26rem; overflow: auto; padding-right: .5rem; }
</style>"""


def main() -> None:
    """Configure the page and run the chosen view."""
    st.set_page_config(page_title="VISCNN", page_icon=figures.icon(), layout="wide")
    st.html(STYLE)
    first = st.Page(explore.page, title="Explore", icon=":material/hub:", default=True)  # its address is /
    pages = [
        first,
        st.Page(one_filter.page, title="Filter", icon=":material/filter_center_focus:", url_path="filter"),
        st.Page(circuit.page, title="Circuit", icon=":material/account_tree:", url_path="circuit"),
        st.Page(compare.page, title="Compare", icon=":material/compare:", url_path="compare"),
        st.Page(cypher.page, title="Cypher", icon=":material/terminal:", url_path="cypher"),
        st.Page(models.page, title="Models", icon=":material/layers:", url_path="models"),
        st.Page(lambda: _to(first), title="To Explore", url_path="explore", visibility="hidden"),
    ]
    st.session_state[MODELS_PAGE] = pages[-2]
    st.navigation(pages, position="top").run()


def _to(page: "st.Page") -> None:
    """Who types the address of the first page by its name gets there, with the view."""
    st.switch_page(page, query_params=dict(st.query_params))


if __name__ == "__main__":
    main()
