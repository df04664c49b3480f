"""scikit-learn handlers for runinference; scikit-learn is imported when a model is loaded."""

from runinference_sklearn.handlers import SklearnModelHandlerNumpy, SklearnModelHandlerPandas
from runinference_sklearn.model_files import ModelFileType

__all__ = [
    "ModelFileType",
    "SklearnModelHandlerNumpy",
    "SklearnModelHandlerPandas",
]
