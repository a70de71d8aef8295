# What Slicer's own asks when an extension is set up: its name, and by which compiler it is built,
# which becomes part of the package's name.
set(EXTENSION_NAME "${PROJECT_NAME}")
_slicer_needs("UseSlicer" EXTENSION_NAME CMAKE_C_COMPILER_ID CMAKE_CXX_COMPILER_ID)
_slicer_needs("UseSlicer" EXTENSION_HOMEPAGE EXTENSION_CONTRIBUTORS EXTENSION_DESCRIPTION
  EXTENSION_ICONURL EXTENSION_SCREENSHOTURLS)
set(_slicer_used TRUE)
