// Which of two ways to compute the same is faster, ours or a provider's: timed once for a key, then remembered, in
// memory and in a JSON file. The one idea: the tuner knows neither devices nor kernels, only functions to run and a
// clock, so that it is tested without a GPU. Next: provider.h, who asks.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace lamina::cuda {

enum class TuneMode : uint8_t {
  Time,      // what was chosen before; what is new is timed
  Off,       // what was chosen before; what is new runs on our own kernels
  Provider,  // the provider, always: to test it
};

class Tuner {
 public:
  using Run = std::function<void()>;
  using Clock = std::function<double(const Run&)>;  // milliseconds that the work of one call takes

  // `path` of the file; empty: there is none. It is read when first needed; what cannot be read, or written, does not
  // matter.
  explicit Tuner(std::string path, TuneMode mode = TuneMode::Time) : path_(std::move(path)), mode_(mode) {}
  // From LAMINA_TUNE and LAMINA_TUNE_CACHE.
  static Tuner from_environment();

  TuneMode mode() const { return mode_; }
  // Whether `provider` computes `key`; nothing if that has to be timed.
  std::optional<bool> chosen(const std::string& key, const std::string& provider);
  // Times both, and chooses; a provider that throws or returns false (it cannot) has lost.
  bool time(const std::string& key, const std::string& provider, const Run& own, const std::function<bool()>& theirs,
            const Clock& clock);

 private:
  using Choices = std::map<std::string, std::string>;  // to a provider's name or "own"

  void load();  // what the file has and we have not
  void save();

  std::string path_;
  TuneMode mode_;
  std::mutex mutex_, timing_;
  bool loaded_ = false;
  Choices choices_;
};

}  // namespace lamina::cuda
