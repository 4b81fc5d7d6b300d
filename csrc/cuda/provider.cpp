// See provider.h.
#include "cuda/provider.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "cuda/memory.h"
#include "cuda/provider_cublaslt.h"
#include "cuda/provider_cudnn.h"
#include "cuda/provider_nvrtc.h"
#include "cuda/tune.h"

namespace lamina::cuda {
namespace {

// LAMINA_PROVIDERS: a list of names, or "none"; unset, all.
bool wanted(const std::string& name) {
  const char* list = std::getenv("LAMINA_PROVIDERS");
  if (!list) return true;
  std::istringstream names(list);
  for (std::string item; std::getline(names, item, ',');)
    if (item == name) return true;
  return false;
}

// site-packages, where this library is site-packages/lamina/liblamina_cuda.so.
std::filesystem::path packages() {
  Dl_info here{};
  dladdr(reinterpret_cast<void*>(&packages), &here);
  std::error_code ignored;
  return std::filesystem::weakly_canonical(here.dli_fname ? here.dli_fname : "", ignored).parent_path().parent_path();
}

Tuner& tuner() {
  static auto* one = new Tuner(Tuner::from_environment());
  return *one;
}

}  // namespace

Provider::Provider(const char* name, const Names& names) : name(name) {
  if (wanted(name))
    open(names);
  else
    why_absent = str("turned off by LAMINA_PROVIDERS=", std::getenv("LAMINA_PROVIDERS"));
}

void Provider::open(const Names& names) {
  constexpr int kFlags = RTLD_NOW | RTLD_LOCAL;
  if (const char* path = std::getenv(names.variable)) {
    library_ = dlopen(path, kFlags);
    if (!library_) why_absent = str(names.variable, ": ", dlerror());
    return;
  }
#ifdef LM_EMULATE
  if (names.on_device) {
    why_absent = str("the emulator has none; need ", names.variable);
    return;
  }
#endif
  for (const char* soname : names.sonames)
    if (!library_) library_ = dlopen(soname, kFlags | RTLD_NOLOAD);
  std::error_code ignored;
  for (const char* wheel : names.wheels)
    for (const char* soname : names.sonames) {
      const auto path = packages() / "nvidia" / wheel / "lib" / soname;
      if (library_ || !std::filesystem::exists(path, ignored)) continue;
      library_ = dlopen(path.c_str(), kFlags);
      if (!library_) why_absent = dlerror();
    }
  for (const char* soname : names.sonames)
    if (!library_) library_ = dlopen(soname, kFlags);
  if (library_)
    why_absent.clear();
  else if (why_absent.empty())
    why_absent = str("no ", names.sonames[0], " in ", packages().string(), "/nvidia/", names.wheels[0],
                     "/lib or on the library path; ", names.variable, " can name one");
}

void* Provider::address(const char* symbol) {
  void* found = library_ ? dlsym(library_, symbol) : nullptr;
  if (!found && why_absent.empty()) why_absent = str("the library has no ", symbol);
  return found;
}

std::vector<std::pair<std::string, std::string>> providers() {
  std::vector<std::pair<std::string, std::string>> out;
  for (const Provider* p : {static_cast<const Provider*>(&cublaslt()), static_cast<const Provider*>(&cudnn()),
                            static_cast<const Provider*>(&nvrtc())})
    out.emplace_back(p->name, p->usable() ? p->version : p->why_absent);
  return out;
}

bool worth_offering(double work) { return work >= 1 << 20 || tuner().mode() == TuneMode::Provider; }

void run_faster(Stream stream, const std::optional<Offer>& offer, void* out,
                const std::function<void(void* out)>& own) {
  if (!offer) return own(out);
  const Provider& provider = offer->provider;
  const std::string key = device_name(stream) + ", lamina " LAMINA_VERSION ", " + provider.name + " " +
                          provider.version + ", " + offer->key;
  std::optional<bool> theirs = tuner().chosen(key, provider.name);
  if (!theirs && !capturing(stream)) {
    std::optional<Workspace> scratch;
    auto other = [&] { return (scratch ? *scratch : scratch.emplace(stream, offer->out_bytes)).as<void>(); };
    theirs = tuner().time(
        key, provider.name, [&] { own(other()); }, [&] { return offer->run(other()); },
        [&](const Tuner::Run& run) {  // several, so that the time to queue one hides behind the work of another
          constexpr int kCalls = 4;
          auto calls = [&] {
            for (int i = 0; i < kCalls; ++i) run();
          };
          return milliseconds(stream, calls) / kCalls;
        });
  }
  if (!theirs.value_or(false) || !offer->run(out)) own(out);
}

}  // namespace lamina::cuda
