"""medbundle: from a folder of DICOM, NIfTI or PNG to a trained, evaluated and deployable MONAI bundle."""

__version__ = "0.1.0"
__distribution__ = "medbundle"
