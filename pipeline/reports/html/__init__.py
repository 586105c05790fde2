"""An evaluation as one self-contained page."""

from pipeline.reports.html.evaluations import find_curves, report_evaluation, report_folders
from pipeline.reports.html.gallery import CaseGallery, choose_cases, find_images, folder_cases
from pipeline.reports.html.report import REPORT_FILE, write_report
from pipeline.reports.html.volumes import ViewedCase

__all__ = [
    "REPORT_FILE",
    "CaseGallery",
    "ViewedCase",
    "choose_cases",
    "find_curves",
    "find_images",
    "folder_cases",
    "report_evaluation",
    "report_folders",
    "write_report",
]
