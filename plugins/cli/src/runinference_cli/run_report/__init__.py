"""A report of a run as one HTML file, for people."""

from runinference_cli.run_report.report import RunReport

__all__ = ["RunReport"]
