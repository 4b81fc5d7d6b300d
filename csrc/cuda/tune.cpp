// See tune.h. The file is one JSON object of strings; another process may replace it at any time, by a whole one.
#include "cuda/tune.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/errors.h"

namespace lamina::cuda {
namespace {

constexpr const char* kFormat = "lamina tune";  // first entry of the file: the version of its format
constexpr const char* kVersion = "1";
constexpr const char* kOwn = "own";
constexpr const char* kFailed = "failed";  // own, and not written: it may work another time
constexpr int kWarm = 2, kTimed = 5;

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += (unsigned char)(c) < ' ' ? ' ' : c;
  }
  return out + "\"";
}

// Reads what quoted() writes, between tokens; anything else fails.
struct Reader {
  std::istringstream in;

  bool token(char expected) {
    char c = 0;
    return in >> c && c == expected;
  }
  bool string(std::string& out) {
    if (!token('"')) return false;
    out.clear();
    for (int c = in.get(); c != EOF; c = in.get()) {
      if (c == '"') return true;
      if (c == '\\' && (c = in.get()) != '"' && c != '\\') return false;
      out += char(c);
    }
    return false;
  }
};

// {"lamina tune": "1", "key": "choice", ...}; nothing if the text is anything else.
std::optional<std::map<std::string, std::string>> parse(const std::string& text) {
  std::map<std::string, std::string> out;
  Reader read{std::istringstream(text)};
  std::string key, value;
  if (!read.token('{')) return {};
  do {
    if (!read.string(key) || !read.token(':') || !read.string(value)) return {};
    out[key] = value;
  } while (read.in >> std::ws && read.in.peek() == ',' && read.in.get());
  const auto format = out.find(kFormat);
  if (!read.token('}') || format == out.end() || format->second != kVersion) return {};
  out.erase(format);
  return out;
}

double median_time(const Tuner::Run& run, const Tuner::Clock& clock) {
  for (int i = 0; i < kWarm; ++i) clock(run);
  double times[kTimed];
  for (double& t : times) t = clock(run);
  std::nth_element(times, times + kTimed / 2, times + kTimed);
  return times[kTimed / 2];
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

Tuner Tuner::from_environment() {
  std::string path = variable("LAMINA_TUNE_CACHE");
  if (!std::getenv("LAMINA_TUNE_CACHE")) {
    const std::string cache = variable("XDG_CACHE_HOME"), home = variable("HOME");
    if (!cache.empty())
      path = cache + "/lamina/tune.json";
    else if (!home.empty())
      path = home + "/.cache/lamina/tune.json";
  }
  const std::string mode = variable("LAMINA_TUNE");
  return Tuner(path, mode == "off" ? TuneMode::Off : mode == "provider" ? TuneMode::Provider : TuneMode::Time);
}

std::optional<bool> Tuner::chosen(const std::string& key, const std::string& provider) {
  if (mode_ == TuneMode::Provider) return true;
  const std::scoped_lock lock(mutex_);
  if (!loaded_) load();
  const auto choice = choices_.find(key);
  if (choice != choices_.end() && choice->second == provider) return true;
  const bool own = choice != choices_.end() && (choice->second == kOwn || choice->second == kFailed);
  if (own || mode_ == TuneMode::Off) return false;
  return {};
}

bool Tuner::time(const std::string& key, const std::string& provider, const Run& own,
                 const std::function<bool()>& theirs, const Clock& clock) {
  const std::scoped_lock timing(timing_);                       // one after the other, or they disturb each other
  if (const auto known = chosen(key, provider)) return *known;  // another thread was faster
  std::string choice = kFailed;
  try {
    const bool faster = theirs() && median_time([&] { theirs(); }, clock) < median_time(own, clock);
    choice = faster ? provider : kOwn;
  } catch (const RuntimeError&) {      // a provider that fails does not end a program that never asked for it,
  } catch (const OutOfMemoryError&) {  // nor does the memory that timing takes
  }
  const std::scoped_lock lock(mutex_);
  choices_[key] = choice;
  if (choice != kFailed) save();
  return choice == provider;
}

void Tuner::load() {
  loaded_ = true;
  std::ifstream file(path_);
  std::stringstream text;
  if (!file || !(text << file.rdbuf())) return;
  if (auto found = parse(text.str())) choices_.merge(*found);
}

void Tuner::save() {
  if (path_.empty()) return;
  load();  // choices of other processes since
  namespace fs = std::filesystem;
  std::error_code failed;
  fs::create_directories(fs::path(path_).parent_path(), failed);
  failed.clear();
  static std::atomic<int> count{0};
  const std::string temporary = str(path_, ".", getpid(), ".", count++);
  {
    std::ofstream file(temporary);
    file << "{" << quoted(kFormat) << ": " << quoted(kVersion);
    for (const auto& [key, choice] : choices_)
      if (choice != kFailed) file << ",\n" << quoted(key) << ": " << quoted(choice);
    file << "}\n";
    if (!file.flush()) failed = std::make_error_code(std::errc::io_error);
  }
  if (!failed) fs::rename(temporary, path_, failed);
  if (failed) fs::remove(temporary, failed);
}

}  // namespace lamina::cuda
