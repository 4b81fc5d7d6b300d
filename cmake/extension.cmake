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
add_library(lamina_python OBJECT ${python_sources})
target_link_libraries(lamina_python PUBLIC pybind11::module lamina_core)
target_compile_definitions(lamina_python PRIVATE LAMINA_VERSION="${PROJECT_VERSION}")

# The extension as `target`, with what else it is linked to; in a developer build, in the package `directory`. A directory
# other than python/lamina has links to what is there, so that a build with sanitizers never replaces the usual one.
function(lamina_add_extension target directory)
  pybind11_add_module(${target} MODULE NO_EXTRAS)
  target_link_libraries(${target} PRIVATE lamina_python ${ARGN})
  target_link_options(${target} PRIVATE -Wl,--gc-sections)
  set_target_properties(${target} PROPERTIES OUTPUT_NAME _core LIBRARY_OUTPUT_DIRECTORY ${directory})
  set(package ${PROJECT_SOURCE_DIR}/python/lamina)
  if(NOT SKBUILD AND NOT directory STREQUAL package)
    file(MAKE_DIRECTORY ${directory})
    file(GLOB entries CONFIGURE_DEPENDS RELATIVE ${package} ${package}/*)
    list(FILTER entries EXCLUDE REGEX "\\.so$|__pycache__")
    foreach(entry IN LISTS entries)
      file(CREATE_LINK ${package}/${entry} ${directory}/${entry} SYMBOLIC)
    endforeach()
  endif()
endfunction()

if(SKBUILD)
  set(LAMINA_MODULE_DIR ${PROJECT_BINARY_DIR}/extension)
endif()
lamina_add_extension(_core ${LAMINA_MODULE_DIR})
set_target_properties(_core PROPERTIES INSTALL_RPATH "$ORIGIN")
if(LAMINA_WITH_CUDA)
  add_dependencies(_core lamina_cuda)
endif()

# The typed interface, written from the operator table of the module itself.
add_custom_command(TARGET _core POST_BUILD VERBATIM
                   COMMAND ${CMAKE_COMMAND} -E env "LD_LIBRARY_PATH=${OPENBLAS_DIRECTORY}:$ENV{LD_LIBRARY_PATH}"
                           ${LAMINA_STUB_PRELOAD} ${Python_EXECUTABLE} ${PROJECT_SOURCE_DIR}/cmake/stubs.py $<TARGET_FILE:_core>
                           $<TARGET_FILE_DIR:_core>/_core.pyi)
install(FILES $<TARGET_FILE_DIR:_core>/_core.pyi DESTINATION lamina)

install(TARGETS _core LIBRARY DESTINATION lamina)
install(FILES ${OPENBLAS_LIBRARY} DESTINATION lamina)
