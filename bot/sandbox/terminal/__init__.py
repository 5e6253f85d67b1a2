"""The terminal of `make try`. Start with program.py."""
