"""What SimpleITK reads and writes: NRRD, MetaImage, ``.seg.nrrd``."""
