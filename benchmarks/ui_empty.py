"""A Streamlit page with one line of text: what Streamlit itself takes (see ui.py)."""

import streamlit as st

st.write("nothing here")
