"""An evaluation as one self-contained page."""

from pipeline.reports.html.classification import report_classes
from pipeline.reports.html.evaluations import report_evaluation, report_folders
from pipeline.reports.html.gallery import CaseGallery, choose_cases, find_images, folder_cases
from pipeline.reports.html.learning import find_curves
from pipeline.reports.html.page import REPORT_FILE
from pipeline.reports.html.report import write_report
from pipeline.reports.html.volumes import ViewedCase

__all__ = [
    "REPORT_FILE",
    "CaseGallery",
    "ViewedCase",
    "choose_cases",
    "find_curves",
    "find_images",
    "folder_cases",
    "report_classes",
    "report_evaluation",
    "report_folders",
    "write_report",
]
