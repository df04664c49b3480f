"""Models in processes of their own: started, asked, ended, and started again after a crash."""

from runinference.process.model import ProcessModel

__all__ = ["ProcessModel"]
