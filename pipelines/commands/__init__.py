"""The commands of ``gatecast``, a file for each group of them."""
