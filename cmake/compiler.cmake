# Language level, flags, warnings, sanitizers and compiler cache, for every target of this project.
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Release or Debug" FORCE)
endif()
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

if(NOT CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(CCACHE_PROGRAM ccache)
  if(CCACHE_PROGRAM)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  endif()
endif()

# -O2 keeps the bulk of the engine small; kernels raise it to -O3 (kernels.cmake). fp-contract lets a * b + c become one
# fused multiply-add where the instruction set has it; errno and traps are never observed and would stop vectorization.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g")
# wrapv: integer tensors wrap around as in PyTorch and NumPy, and so do the bit patterns that formulas compute with.
add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-ffp-contract=fast;-fwrapv;-fno-math-errno;-fno-trapping-math>")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(LAMINA_X86 ON)
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-march=x86-64-v2>)
endif()

if(LAMINA_SANITIZE)
  add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${LAMINA_SANITIZE};-fno-omit-frame-pointer>")
  add_link_options(-fsanitize=${LAMINA_SANITIZE})
  if(LAMINA_SANITIZE MATCHES "undefined")
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fno-sanitize-recover=undefined>)
  endif()
  # Python is built without sanitizers: where the build runs it with the extension, their runtime has to come first, and
  # libstdc++ with it.
  set(runtime libasan.so)
  if(LAMINA_SANITIZE MATCHES "thread")
    set(runtime libtsan.so)
  endif()
  set(LAMINA_STUB_PRELOAD "ASAN_OPTIONS=detect_leaks=0" "LD_PRELOAD=")
  foreach(library IN ITEMS ${runtime} libstdc++.so)
    execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=${library} OUTPUT_VARIABLE path
                    OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    string(APPEND LAMINA_STUB_PRELOAD "${path}:")
  endforeach()
endif()
