# OpenBLAS (LAPACK, and GEMM) comes from the PyPI package scipy-openblas32, which pip installs into the build environment.
# scikit-build-core puts site-packages on CMAKE_PREFIX_PATH; otherwise the interpreter is asked where the package lies.
if(LAMINA_PYTHON)
  find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
else()
  find_package(Python REQUIRED COMPONENTS Interpreter)
endif()
set(openblas_suffix scipy_openblas32/lib/cmake/openblas)
find_package(OpenBLAS CONFIG QUIET PATH_SUFFIXES ${openblas_suffix})
if(NOT OpenBLAS_FOUND)
  execute_process(COMMAND ${Python_EXECUTABLE} -c "import scipy_openblas32 as s; print(s.get_lib_dir())"
                  OUTPUT_VARIABLE openblas_dir OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  find_package(OpenBLAS CONFIG QUIET PATHS ${openblas_dir}/cmake/openblas NO_DEFAULT_PATH)
endif()
if(NOT OpenBLAS_FOUND)
  message(FATAL_ERROR "lamina: OpenBLAS not found for ${Python_EXECUTABLE}; run: "
                      "${Python_EXECUTABLE} -m pip install scipy-openblas32 pybind11")
endif()
get_target_property(OPENBLAS_LIBRARY OpenBLAS::OpenBLAS IMPORTED_LOCATION)
message(STATUS "OpenBLAS: ${OPENBLAS_LIBRARY}")
