"""DICOM image series as volumes."""
