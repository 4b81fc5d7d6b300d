# Every file of csrc/cpu/kernels is compiled once per instruction set, into namespace lamina::cpu::<isa>; LM_LOOP and
# LM_KERNEL (csrc/kernel) declare them all and choose at load. Nothing is built with -march=native, so one wheel runs on every machine.
set(LAMINA_ISAS base)
if(LAMINA_X86)
  list(APPEND LAMINA_ISAS avx2 avx512)
endif()
set(LAMINA_FLAGS_base "")
set(LAMINA_FLAGS_avx2 -march=x86-64-v3)
set(LAMINA_FLAGS_avx512 -march=x86-64-v4 -mprefer-vector-width=512)

function(lamina_add_kernels library directory)
  file(GLOB sources CONFIGURE_DEPENDS ${directory}/*.cpp)
  if(NOT sources)
    return()
  endif()
  foreach(isa IN LISTS LAMINA_ISAS)
    set(objects lamina_kernels_${isa})
    add_library(${objects} OBJECT ${sources})
    target_compile_definitions(${objects} PRIVATE LM_ISA=${isa})
    # psabi: passing 64-byte vectors changes the ABI between instruction sets; all such helpers are inlined.
    # maybe-uninitialized: GCC's own AVX-512 intrinsics pass an undefined register on purpose (GCC bug 105593).
    target_compile_options(${objects} PRIVATE ${LAMINA_FLAGS_${isa}} -Wno-psabi -Wno-maybe-uninitialized $<$<CONFIG:Release>:-O3>)
    target_include_directories(${objects} PRIVATE csrc)
    target_link_libraries(${objects} PRIVATE OpenBLAS::OpenBLAS)
    target_sources(${library} PRIVATE $<TARGET_OBJECTS:${objects}>)
  endforeach()
endfunction()
