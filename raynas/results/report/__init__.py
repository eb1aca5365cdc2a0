"""The report: one HTML file with everything a person asks of a finished or running search."""

from raynas.results.report.page import page, write_report

__all__ = ["page", "write_report"]
