// The part of NVIDIA's nvrtc.h that provider_nvrtc.cpp needs, declared here: the build needs no header of theirs.
#pragma once
#include <cstddef>

#include "cuda/provider.h"

// F(result, name, parameters). Programs are pointers, enumerations ints.
#define LM_NVRTC(F)                                                                                  \
  F(int, nvrtcVersion, (int* major, int* minor))                                                     \
  F(const char*, nvrtcGetErrorString, (int status))                                                  \
  F(int, nvrtcCreateProgram,                                                                         \
    (void** program, const char* source, const char* name, int headers, const char* const* contents, \
     const char* const* names))                                                                      \
  F(int, nvrtcDestroyProgram, (void** program))                                                      \
  F(int, nvrtcCompileProgram, (void* program, int count, const char* const* options))                \
  F(int, nvrtcGetProgramLogSize, (void* program, size_t* bytes))                                     \
  F(int, nvrtcGetProgramLog, (void* program, char* log))                                             \
  F(int, nvrtcGetCUBINSize, (void* program, size_t* bytes))                                          \
  F(int, nvrtcGetCUBIN, (void* program, char* cubin))

namespace lamina::cuda {

struct Nvrtc : Provider {
  Nvrtc();
#define LM_MEMBER(RESULT, NAME, PARAMETERS) RESULT(*NAME) PARAMETERS = nullptr;
  LM_NVRTC(LM_MEMBER)
#undef LM_MEMBER

  // CUDA source to the machine code of one architecture ("sm_90a"), which needs no device. Throws RuntimeError with
  // what the compiler says, or with why there is no compiler.
  std::string compile_cubin(const std::string& source, const char* file, const std::string& architecture) const;
};

const Nvrtc& nvrtc();  // opened by the first call

}  // namespace lamina::cuda
