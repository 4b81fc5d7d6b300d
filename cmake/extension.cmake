# The Python extension lamina._core: thin bindings over lamina_core, installed next to the OpenBLAS library it needs.
find_package(pybind11 CONFIG QUIET)
if(NOT pybind11_FOUND)
  execute_process(COMMAND ${Python_EXECUTABLE} -m pybind11 --cmakedir
                  OUTPUT_VARIABLE pybind11_DIR OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  find_package(pybind11 CONFIG REQUIRED)
endif()

file(GLOB python_sources CONFIGURE_DEPENDS csrc/python/*.cpp)
if(NOT python_sources)
  return()
endif()
pybind11_add_module(_core MODULE NO_EXTRAS ${python_sources})
target_link_libraries(_core PRIVATE lamina_core)
if(LAMINA_CUDA STREQUAL "EMULATE")
  target_link_libraries(_core PRIVATE lamina_cuda)
elseif(LAMINA_WITH_CUDA)
  add_dependencies(_core lamina_cuda)
endif()
target_compile_definitions(_core PRIVATE LAMINA_VERSION="${PROJECT_VERSION}")
target_link_options(_core PRIVATE -Wl,--gc-sections)
set_target_properties(_core PROPERTIES INSTALL_RPATH "$ORIGIN")

# A developer build puts the module straight into the Python package. Presets other than release keep their own module in
# their own package directory, whose remaining entries are links, so that a sanitizer build never replaces the usual one.
if(NOT SKBUILD)
  set_target_properties(_core PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${LAMINA_MODULE_DIR})
  set(package ${PROJECT_SOURCE_DIR}/python/lamina)
  if(NOT LAMINA_MODULE_DIR STREQUAL package)
    file(MAKE_DIRECTORY ${LAMINA_MODULE_DIR})
    file(GLOB entries CONFIGURE_DEPENDS RELATIVE ${package} ${package}/*)
    list(FILTER entries EXCLUDE REGEX "\\.so$|__pycache__")
    foreach(entry IN LISTS entries)
      file(CREATE_LINK ${package}/${entry} ${LAMINA_MODULE_DIR}/${entry} SYMBOLIC)
    endforeach()
  endif()
endif()

# The typed interface, written from the operator table of the module itself.
add_custom_command(TARGET _core POST_BUILD VERBATIM
                   COMMAND ${CMAKE_COMMAND} -E env "LD_LIBRARY_PATH=${OPENBLAS_DIRECTORY}:$ENV{LD_LIBRARY_PATH}"
                           ${LAMINA_STUB_PRELOAD} ${Python_EXECUTABLE} ${PROJECT_SOURCE_DIR}/cmake/stubs.py $<TARGET_FILE:_core>
                           $<TARGET_FILE_DIR:_core>/_core.pyi)
install(FILES $<TARGET_FILE_DIR:_core>/_core.pyi DESTINATION lamina)

install(TARGETS _core LIBRARY DESTINATION lamina)
install(FILES ${OPENBLAS_LIBRARY} DESTINATION lamina)
