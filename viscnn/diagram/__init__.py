"""Circuits as 2-D diagrams: layout, pictures, and the drawing as SVG, PNG or HTML."""
