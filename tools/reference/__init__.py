"""Fill the parts of the documentation's pages that the code tells: ``python -m reference``."""
