"""Data sets that come along: small, in the public domain, ready for a first forecast."""

from forecasting.datasets.reading import load, names

__all__ = ["load", "names"]
