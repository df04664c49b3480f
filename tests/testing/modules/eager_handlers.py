"""A handler whose module imports a framework at once."""

import sklearn.linear_model
from kit_handlers import Linear


class Eager(Linear):
    """Would do without.

    Args:
        model_uri: a JSON file of weights.
    """

    kind = sklearn.linear_model.Ridge
