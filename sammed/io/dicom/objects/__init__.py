"""DICOM segmentation objects: SEG and RTSTRUCT, read and written."""
