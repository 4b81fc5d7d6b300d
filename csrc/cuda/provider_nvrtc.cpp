// Compiles CUDA source at run time by NVRTC: no device, no toolkit, no files.
#include "cuda/provider_nvrtc.h"

#include <dlfcn.h>

namespace lamina::cuda {

Nvrtc::Nvrtc()
    : Provider("nvrtc", {"LAMINA_NVRTC_PATH", {"libnvrtc.so.13", "libnvrtc.so.12"}, {"cu13", "cuda_nvrtc"}, false}) {
#define LM_FIND(RESULT, NAME, PARAMETERS) find(#NAME, NAME);
  LM_NVRTC(LM_FIND)
#undef LM_FIND
  if (!usable()) return;
  int major = 0, minor = 0;
  nvrtcVersion(&major, &minor);
  version = str(major, ".", minor);
  // It looks for its other half on the system's path only.
  Dl_info here{};
  dladdr(reinterpret_cast<void*>(nvrtcVersion), &here);
  const std::string path = here.dli_fname;
  dlopen((path.substr(0, path.rfind('/') + 1) + "libnvrtc-builtins.so." + version).c_str(), RTLD_NOW | RTLD_LOCAL);
}

const Nvrtc& nvrtc() {
  static const auto* one = new Nvrtc;
  return *one;
}

std::string Nvrtc::compile_cubin(const std::string& source, const char* file, const std::string& architecture) const {
  LM_CHECK(usable(), RuntimeError, "nvrtc: ", file, " cannot be compiled: ", why_absent);
  auto check = [&](int status, const char* call) {
    LM_CHECK(status == 0, RuntimeError, "nvrtc: ", call, " failed: ", nvrtcGetErrorString(status));
  };
  struct Program {
    const Nvrtc& library;
    void* handle = nullptr;
    ~Program() {
      if (handle) library.nvrtcDestroyProgram(&handle);
    }
  } program{*this};
  check(nvrtcCreateProgram(&program.handle, source.c_str(), file, 0, nullptr, nullptr), "nvrtcCreateProgram");
  const std::string target = "-arch=" + architecture;
  const char* const options[] = {target.c_str(), "-std=c++20"};
  const int status = nvrtcCompileProgram(program.handle, 2, options);
  size_t bytes = 0;
  if (status != 0) {
    check(nvrtcGetProgramLogSize(program.handle, &bytes), "nvrtcGetProgramLogSize");
    std::string log(bytes, '\0');
    check(nvrtcGetProgramLog(program.handle, log.data()), "nvrtcGetProgramLog");
    fail<RuntimeError>("nvrtc: ", file, " for ", architecture, ": ", nvrtcGetErrorString(status), "\n", log.c_str());
  }
  check(nvrtcGetCUBINSize(program.handle, &bytes), "nvrtcGetCUBINSize");
  std::string cubin(bytes, '\0');
  check(nvrtcGetCUBIN(program.handle, cubin.data()), "nvrtcGetCUBIN");
  return cubin;
}

}  // namespace lamina::cuda
