"""XGBoost handlers for runinference; xgboost is imported when a model is loaded."""

from runinference_xgboost.handlers import XgboostModelHandlerNumpy, XgboostModelHandlerPandas

__all__ = ["XgboostModelHandlerNumpy", "XgboostModelHandlerPandas"]
