// Vendor libraries as second opinions: opened with dlopen when first needed, if they are there, and used for a shape
// where they are faster than our kernels (tune.h). The one idea: a provider makes an Offer to compute what a kernel was
// asked for, and run_faster() takes it or not; nothing of NVIDIA's is needed to build or to load this library. Next:
// provider_cublaslt.cpp.
#pragma once
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/device.h"
#include "core/errors.h"

#ifdef LM_EMULATE
#include "cuda/emulate/launch.h"
#else
#include "cuda/runtime.h"
#endif

namespace lamina::cuda {

// A vendor's library: its version, or why it is not used. Derived structs hold its functions.
struct Provider {
  const char* name;                 // in LAMINA_PROVIDERS and in the tuner's choices
  std::string version, why_absent;  // one of them is empty

  bool usable() const { return why_absent.empty(); }

 protected:
  // Where a library is looked for, in this order: what the variable of the environment names; a soname that is loaded
  // already (by PyTorch, say); nvidia/WHEEL/lib beside our own package; a soname on the system's path.
  struct Names {
    const char* variable;
    std::vector<const char*> sonames, wheels;
    bool on_device = true;  // it computes there, which the library for tests replaces
  };
  Provider(const char* name, const Names& names);

  template <class F>
  void find(const char* symbol, F*& function) {
    function = reinterpret_cast<F*>(address(symbol));
  }

 private:
  void open(const Names& names);
  void* address(const char* symbol);

  void* library_ = nullptr;
};

// {name, version or why it is not used} of all.
std::vector<std::pair<std::string, std::string>> providers();

// From runtime.cpp. While a stream records a graph nothing is timed, nor prepared: that takes memory, and waits.
bool capturing(Stream stream);
const std::string& device_name(Stream stream);
double milliseconds(Stream stream, const std::function<void()>& work);

// call(), with the stream's device current.
template <class F>
void on_device(Stream stream, F&& call) {
#ifdef LM_EMULATE
  (void)stream;
#else
  const DeviceGuard guard(stream.device.index);
#endif
  call();
}
// The same for a vendor's function that queues work; its stand-in in the emulator computes at once, and is queued. So
// `call` keeps what it needs by value.
template <class F>
void queue_call(Stream stream, F call) {
#ifdef LM_EMULATE
  emulate::run_in(stream.handle, [=] {
    const emulate::MemoryAccess access;
    call();
  });
#else
  on_device(stream, call);
#endif
}

// What a provider has prepared for the problems of one device. Whoever uses it holds the lock.
template <class Plan>
struct Plans {
  std::mutex mutex;
  void* handle = nullptr;  // of the library
  std::unordered_map<std::string, Plan> known;

  static Plans& of(Stream stream) {
    static auto* const all = new Plans[128];
    return all[stream.device.index];
  }
  // make() if there is none for `key` yet; null if now is not the time for it.
  template <class Make>
  const Plan* find(Stream stream, const std::string& key, Make make) {
    auto found = known.find(key);
    if (found == known.end()) {
      if (capturing(stream)) return nullptr;
      on_device(stream, [&] { found = known.emplace(key, make()).first; });
    }
    return &found->second;
  }
};

// The text that says which problem: Key("gemm ").add(m, n, k).text
struct Key {
  std::string text;

  explicit Key(const char* start) : text(start) {}
  template <class... T>
  Key& add(T... numbers) {
    ((text += std::to_string(numbers), text += ' '), ...);
    return *this;
  }
};

struct Offer {
  const Provider& provider;
  std::string key;                     // of everything that decides how fast it is
  size_t out_bytes;                    // of the result
  std::function<bool(void* out)> run;  // false, with nothing done: it cannot after all
};

// Whether so many multiplications are worth an offer: the time to make one must be less than what it can save.
bool worth_offering(double work);

// own(out) or the offer's run(out), whichever is faster. Both are timed, on other memory, the first time that an offer
// comes outside a capture.
void run_faster(Stream stream, const std::optional<Offer>& offer, void* out, const std::function<void(void* out)>& own);

}  // namespace lamina::cuda
