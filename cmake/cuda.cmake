# The CUDA backend: csrc/cuda into liblamina_cuda.so (Note [The CUDA library], core/backend.h), with NVIDIA's runtime linked
# statically and nothing of the driver, cuBLAS or cuDNN.
set(LAMINA_CUDA AUTO CACHE STRING "AUTO: when nvcc >= 12.8 is found; ON; OFF")
set_property(CACHE LAMINA_CUDA PROPERTY STRINGS AUTO ON OFF)
# Every other GPU from 80 on compiles the kernels from PTX when it first runs them; real architectures start at once.
set(LAMINA_CUDA_ARCHITECTURES 90a-real 80-virtual CACHE STRING
    "GPU architectures to compile for, as in CMAKE_CUDA_ARCHITECTURES")

set(LAMINA_WITH_CUDA OFF)
if(LAMINA_CUDA STREQUAL "AUTO" OR LAMINA_CUDA STREQUAL "ON")
  find_program(LAMINA_NVCC nvcc HINTS $ENV{CUDA_HOME}/bin /usr/local/cuda/bin)
  if(LAMINA_NVCC)
    execute_process(COMMAND ${LAMINA_NVCC} --version OUTPUT_VARIABLE nvcc_version)
    string(REGEX MATCH "release ([0-9]+\\.[0-9]+)" unused "${nvcc_version}")
    if(CMAKE_MATCH_1 VERSION_GREATER_EQUAL 12.8)
      set(LAMINA_WITH_CUDA ON)
    endif()
  endif()
  if(LAMINA_CUDA STREQUAL "ON" AND NOT LAMINA_WITH_CUDA)
    message(FATAL_ERROR "LAMINA_CUDA=ON: need nvcc 12.8 or newer in PATH, found '${LAMINA_NVCC}' ${CMAKE_MATCH_1}")
  endif()
endif()

if(LAMINA_WITH_CUDA)
  set(CMAKE_CUDA_COMPILER ${LAMINA_NVCC})
  set(CMAKE_CUDA_ARCHITECTURES ${LAMINA_CUDA_ARCHITECTURES})
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
  enable_language(CUDA)
  if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25.1 does not know that nvcc 12 does
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  endif()
  file(GLOB cuda_sources CONFIGURE_DEPENDS csrc/cuda/*.cu csrc/cuda/*.cpp)
  add_library(lamina_cuda SHARED ${cuda_sources} csrc/core/dtype.cpp csrc/core/report.cpp)  # for messages
  target_include_directories(lamina_cuda PRIVATE csrc ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
  target_compile_definitions(lamina_cuda PRIVATE LAMINA_VERSION="${PROJECT_VERSION}")
  target_link_options(lamina_cuda PRIVATE -Wl,--no-undefined -Wl,--exclude-libs,ALL -Wl,--gc-sections)
  target_link_libraries(lamina_cuda PRIVATE Threads::Threads)
  if(NOT SKBUILD)
    set_target_properties(lamina_cuda PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${LAMINA_MODULE_DIR})
  endif()
  install(TARGETS lamina_cuda LIBRARY DESTINATION lamina)
  # Compressed, the library is a quarter of the size.
  target_compile_options(lamina_cuda PRIVATE
    "$<$<COMPILE_LANGUAGE:CUDA>:--Werror=all-warnings;-Xptxas=-v,-warn-spills;--expt-relaxed-constexpr;--compress-mode=size>")
  set_target_properties(lamina_cuda PROPERTIES CUDA_COMPILER_LAUNCHER
    "${Python_EXECUTABLE};${PROJECT_SOURCE_DIR}/cmake/ptxas_report.py;compile;${CCACHE_PROGRAM}")
endif()
message(STATUS "CUDA backend: LAMINA_CUDA=${LAMINA_CUDA}, compiled by nvcc: ${LAMINA_WITH_CUDA}")
