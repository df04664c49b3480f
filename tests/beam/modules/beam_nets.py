"""Networks that the tests save and load by name."""

import torch


class Named(torch.nn.Module):
    """Answers with a dict."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 2)

    def forward(self, left, right):
        return {"sum": self.linear(left + right), "left": left}
