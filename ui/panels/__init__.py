"""Groups of widgets, one a module; views put them together."""
