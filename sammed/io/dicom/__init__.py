"""DICOM: image series in, segmentation objects in and out, servers."""
