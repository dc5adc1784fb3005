"""The commands of a first hour, and of a first look."""
