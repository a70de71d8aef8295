# Slicer writes the extension description here; an extension without dependencies says NA.
_slicer_needs("GenerateExtensionConfig" EXTENSION_NAME EXTENSION_DEPENDS)
