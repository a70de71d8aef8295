"""The version, in one place: packaging, reports and DICOM files read it here."""

__version__ = "0.1.0"
