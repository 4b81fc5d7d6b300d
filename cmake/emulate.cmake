# The emulator (csrc/cuda/emulate): csrc/cuda/*.cu compiled by the host compiler with -DLM_EMULATE into one library for
# the tests, never into the wheel.
# Read csrc/cuda/README.md for what the emulator finds.
function(lamina_add_emulated_kernels library)
  file(GLOB kernels CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/csrc/cuda/*.cu)
  file(GLOB emulator CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/csrc/cuda/emulate/*.cpp
       ${PROJECT_SOURCE_DIR}/csrc/cuda/caching.cpp ${PROJECT_SOURCE_DIR}/csrc/cuda/pinned.cpp
       ${PROJECT_SOURCE_DIR}/csrc/cuda/provider*.cpp ${PROJECT_SOURCE_DIR}/csrc/cuda/tune.cpp)
  add_library(${library} OBJECT ${kernels} ${emulator} ${ARGN})
  set_source_files_properties(${kernels} PROPERTIES LANGUAGE CXX)
  target_compile_definitions(${library} PUBLIC LM_EMULATE PRIVATE LAMINA_VERSION="${PROJECT_VERSION}")
  target_link_libraries(${library} PUBLIC lamina_core ${CMAKE_DL_LIBS})
  # Kernels are looked up by name at run time, so their symbols are exported.
  set_target_properties(${library} PROPERTIES CXX_VISIBILITY_PRESET default VISIBILITY_INLINES_HIDDEN OFF)
  target_compile_options(${library} PUBLIC ${LAMINA_EMULATE_FLAGS})
endfunction()

# unknown-pragmas: #pragma unroll. The checks trap, and the emulator turns the trap into a report of the thread: a vector
# access that is not aligned is an error on a GPU and silent on x86.
set(LAMINA_EMULATE_FLAGS -Wno-unknown-pragmas)
if(NOT LAMINA_SANITIZE)
  list(APPEND LAMINA_EMULATE_FLAGS -fsanitize=alignment,bounds -fsanitize-undefined-trap-on-error)
endif()
