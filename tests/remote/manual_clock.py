"""A clock that goes on only when somebody waits."""


class Clock:
    """Seconds that start at a thousand; `sleeps` has every wait."""

    def __init__(self):
        self.now = 1000.0
        self.sleeps = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.sleeps.append(seconds)
        self.now += seconds
