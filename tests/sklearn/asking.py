"""Functions that ask a model, importable by name in any process."""


def probabilities(model, batch, inference_args):
    """Scaled by an argument of the call."""
    return model.predict_proba(batch) * (inference_args or {}).get("scale", 1)
