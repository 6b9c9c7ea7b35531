"""The page: `viscnn ui`, or `streamlit run ui/app.py`."""

import streamlit as st

from viscnn.ui.views import circuit, cypher, explore, models


def main() -> None:
    """Configure the page and run the chosen view."""
    st.set_page_config(page_title="VISCNN", page_icon=":material/hub:", layout="wide")
    pages = [
        st.Page(explore.page, title="Explore", icon=":material/hub:", url_path="explore", default=True),
        st.Page(circuit.page, title="Circuit", icon=":material/account_tree:", url_path="circuit"),
        st.Page(cypher.page, title="Cypher", icon=":material/terminal:", url_path="cypher"),
        st.Page(models.page, title="Models", icon=":material/layers:", url_path="models"),
    ]
    st.navigation(pages, position="top").run()


if __name__ == "__main__":
    main()
