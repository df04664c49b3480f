"""The version of all distributions of this project."""

__version__ = "0.1.0"
