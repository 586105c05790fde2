"""What a run leaves for people: tables, pictures and a few lines in the log."""

from pipeline.reports.classification import report_classification, report_predictions
from pipeline.reports.figures import Picture, draw_confusion, draw_contact_sheet
from pipeline.reports.measurements import write_measurements
from pipeline.reports.surfaces import write_surfaces

__all__ = [
    "Picture",
    "draw_confusion",
    "draw_contact_sheet",
    "report_classification",
    "report_predictions",
    "write_measurements",
    "write_surfaces",
]
