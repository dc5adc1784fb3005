"""Networks that small panels start from, pretrained on the histories of public competitions."""

from forecasting.pretrained.weights import available, cells, load

__all__ = ["available", "cells", "load"]
