"""`python -m viscnn`."""

from viscnn.cli import main

main()
