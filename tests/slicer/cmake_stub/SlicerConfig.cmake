# Stands in for Slicer's build tree: what SlicerConfig.cmake and UseSlicer.cmake of 5.6 to 5.12 ask
# of an extension, written anew, and the macros that it calls, as far as files go.

set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${CMAKE_CURRENT_LIST_DIR}/GenerateConfig.cmake")
set(Slicer_EXTENSION_CPACK "${CMAKE_CURRENT_LIST_DIR}/Pack.cmake")
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR "lib/Slicer-5.13/qt-scripted-modules")
set(Slicer_LANGUAGES "fr")

# an extension is built for the same pointers as Slicer; all builds that are published have 8 bytes
if(NOT CMAKE_SIZEOF_VOID_P EQUAL 8)
  message(FATAL_ERROR
    "Mismatch between bitness: '${CMAKE_PROJECT_NAME}' has '${CMAKE_SIZEOF_VOID_P}', Slicer has '8'")
endif()

function(_slicer_needs where)
  foreach(name ${ARGN})
    if("${${name}}" STREQUAL "")
      message(FATAL_ERROR "${where}: ${name} is not set")
    endif()
  endforeach()
endfunction()

macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MODULE "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES"
    ${ARGN})
  if(MODULE_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "unknown keywords: ${MODULE_UNPARSED_ARGUMENTS}")
  endif()
  _slicer_needs("slicerMacroBuildScriptedModule" MODULE_NAME)
  if(NOT _slicer_used)
    message(FATAL_ERROR "UseSlicer.cmake was not included before the module")
  endif()
  foreach(file ${MODULE_SCRIPTS} ${MODULE_RESOURCES})
    if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${file}")
      message(FATAL_ERROR "${MODULE_NAME}: the file ${file} does not exist")
    endif()
    get_filename_component(folder "${file}" DIRECTORY)
    install(FILES "${file}" DESTINATION "${Slicer_QTSCRIPTEDMODULES_LIB_DIR}/${folder}")
  endforeach()
endmacro()

function(slicer_add_python_unittest)
  cmake_parse_arguments(TEST "" "SCRIPT;TESTNAME_PREFIX" "SLICER_ARGS" ${ARGN})
  _slicer_needs("slicer_add_python_unittest" TEST_SCRIPT)
  if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${TEST_SCRIPT}")
    message(FATAL_ERROR "the test ${TEST_SCRIPT} does not exist")
  endif()
endfunction()
