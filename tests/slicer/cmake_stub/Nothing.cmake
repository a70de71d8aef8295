# Slicer writes the extension description here.
