"""Handlers with faults, each written once for both transforms."""

import ctypes
import sys
import threading
import time

from runinference import ModelHandler

BATCH = 10


class Doubling(ModelHandler):
    """Predicts the double of each number, unless a subclass does something else."""

    def load_model(self):
        return Model()

    def batch_elements_kwargs(self):
        return {"min_batch_size": BATCH, "max_batch_size": BATCH}

    def run_inference(self, batch, model, inference_args=None):
        return [self.double(number) for number in batch]

    def double(self, number):
        return number * 2


class Model:
    """Nothing, but of a class, as Beam asks of models."""


class RefusesThree(Doubling):
    def double(self, number):
        if number == 3:
            raise ValueError("3 has no double")
        return number * 2


class RefusesAll(Doubling):
    def double(self, number):
        raise ValueError(f"{number} has no double")


class LosesTheFirst(Doubling):
    """Leaves out an example that it does not like, and says nothing."""

    def run_inference(self, batch, model, inference_args=None):
        return [self.double(number) for number in batch if number]


class OneTooMany(Doubling):
    """Begins with something that belongs to no example, as a header does."""

    def run_inference(self, batch, model, inference_args=None):
        return [None, *map(self.double, batch)]


class StopsHalfWay(RefusesThree):
    def run_inference(self, batch, model, inference_args=None):
        return (self.double(number) for number in batch)


class AnswersNone(Doubling):
    def run_inference(self, batch, model, inference_args=None):
        return None


class AnswersOneNumber(Doubling):
    def run_inference(self, batch, model, inference_args=None):
        return sum(batch)


class AnswersText(Doubling):
    def run_inference(self, batch, model, inference_args=None):
        return "positive"


class EmptiesItsBatch(Doubling):
    def run_inference(self, batch, model, inference_args=None):
        doubles = []
        while batch:
            doubles.append(self.double(batch.pop(0)))
        return doubles


class SortsItsBatch(Doubling):
    """Sorts by size, as one does to pad less, and puts the predictions back into order."""

    def run_inference(self, batch, model, inference_args=None):
        order = sorted(range(len(batch)), key=batch.__getitem__, reverse=True)
        batch.sort(reverse=True)
        doubles = dict(zip(order, map(self.double, batch), strict=True))
        return [doubles[position] for position in range(len(batch))]


class UnpicklableError(Exception):
    def __init__(self, number):
        super().__init__(f"no double of {number}")
        self.lock = threading.Lock()


class RaisesUnpicklable(Doubling):
    def double(self, number):
        if number == 3:
            raise UnpicklableError(number)
        return number * 2


class NeedsMemory(Doubling):
    """Has memory for three examples at a time."""

    def run_inference(self, batch, model, inference_args=None):
        if len(batch) > 3:
            raise MemoryError(f"no memory for {len(batch)}")
        return super().run_inference(batch, model)


class PredictsNan(Doubling):
    def double(self, number):
        return float("nan") if number == 3 else number * 2.0


class Leaves(Doubling):
    def double(self, number):
        if number == 3:
            sys.exit("out of here")
        return number * 2


class Crashes(Doubling):
    def double(self, number):
        if number == 3:
            ctypes.string_at(0)
        return number * 2


class Hangs(Doubling):
    """Waits while a file is there."""

    def __init__(self, path):
        self.path = path

    def double(self, number):
        while number == 3 and self.path.exists():
            time.sleep(0.01)
        return number * 2


class ModelIsADict(Doubling):
    def load_model(self):
        return {"weights": [2]}
