"""The report of a job: everything it found as one model, and as one page.

`Report` is the model, which `report.json` is the text of; `lrtuner.report.page` renders it.
"""

from lrtuner.report.making import Evidence, make_report
from lrtuner.report.model import JobFacts, Report

__all__ = ["Evidence", "JobFacts", "Report", "make_report"]
