// Stands in for libnvrtc: "compiles" everything to an ELF header with the source behind it, but `#error`.
#include "cuda/provider_nvrtc.h"

#include <cstring>
#include <string>

namespace {

struct Program {
  std::string source, options;
};
const std::string kLog = "kernel.cu(1): error: #error directive";

}  // namespace

extern "C" {

int nvrtcVersion(int* major, int* minor) {
  *major = 13, *minor = 0;
  return 0;
}
const char* nvrtcGetErrorString(int) { return "NVRTC_ERROR_COMPILATION"; }
int nvrtcCreateProgram(void** program, const char* source, const char*, int, const char* const*, const char* const*) {
  *program = new Program{source, ""};
  return 0;
}
int nvrtcDestroyProgram(void** program) {
  delete static_cast<Program*>(*program);
  *program = nullptr;
  return 0;
}
int nvrtcCompileProgram(void* p, int count, const char* const* options) {
  auto& program = *static_cast<Program*>(p);
  for (int i = 0; i < count; ++i) program.options += std::string(options[i]) + " ";
  return program.source.find("#error") == std::string::npos ? 0 : 6;
}
int nvrtcGetProgramLogSize(void*, size_t* bytes) {
  *bytes = kLog.size() + 1;
  return 0;
}
int nvrtcGetProgramLog(void*, char* log) {
  std::memcpy(log, kLog.c_str(), kLog.size() + 1);
  return 0;
}
int nvrtcGetCUBINSize(void* p, size_t* bytes) {
  const auto& program = *static_cast<Program*>(p);
  *bytes = 4 + program.options.size() + program.source.size();
  return 0;
}
int nvrtcGetCUBIN(void* p, char* cubin) {
  const auto& program = *static_cast<Program*>(p);
  const std::string text =
      "\x7f"
      "ELF" +
      program.options + program.source;
  std::memcpy(cubin, text.data(), text.size());
  return 0;
}

}  // extern "C"

// They are what is declared.
#define CHECK(RESULT, NAME, PARAMETERS) \
  static_assert(std::is_same_v<decltype(&::NAME), decltype(lamina::cuda::Nvrtc::NAME)>);
LM_NVRTC(CHECK)
