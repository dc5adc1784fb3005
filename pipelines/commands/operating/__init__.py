"""The commands of who runs it over years and machines."""
