"""Stored pixels of DICOM files: modules, codecs, encapsulated frames."""
