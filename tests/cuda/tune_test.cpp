// The tuner with a clock that only reads what each function says it takes, and files of every kind.
#include "cuda/tune.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "core/errors.h"

namespace lamina::cuda {
namespace {

namespace fs = std::filesystem;

struct TunerTest : testing::Test {
  fs::path directory = fs::temp_directory_path() / str("lamina_tune_", getpid());
  std::string path = (directory / "deep" / "tune.json").string();
  double elapsed = 0;  // moved forward by what runs
  int calls = 0;

  ~TunerTest() override { fs::remove_all(directory); }

  Tuner::Run takes(double ms) {
    return [this, ms] { ++calls, elapsed += ms; };
  }
  // Times `theirs` against `own` milliseconds.
  bool time(Tuner& tuner, const std::string& key, double own, double theirs) {
    auto clock = [this](const Tuner::Run& run) {
      const double start = elapsed;
      run();
      return elapsed - start;
    };
    return tuner.time(key, "vendor", takes(own), [run = takes(theirs)] { return run(), true; }, clock);
  }
  void write(const std::string& text) {
    fs::create_directories(fs::path(path).parent_path());
    std::ofstream(path) << text;
  }
  std::string read() {
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
};

TEST_F(TunerTest, KeepsTheFaster) {
  Tuner tuner("");
  EXPECT_EQ(tuner.chosen("a", "vendor"), std::nullopt);
  EXPECT_TRUE(time(tuner, "a", 2, 1));
  EXPECT_FALSE(time(tuner, "b", 1, 2));
  EXPECT_FALSE(time(tuner, "c", 1, 1));  // ours, if it is the same
  EXPECT_EQ(tuner.chosen("a", "vendor"), true);
  EXPECT_EQ(tuner.chosen("b", "vendor"), false);
  const int before = calls;
  EXPECT_TRUE(time(tuner, "a", 1, 5));  // chosen once for all
  EXPECT_EQ(calls, before);
  EXPECT_EQ(tuner.chosen("a", "another"), std::nullopt);
}

TEST_F(TunerTest, OneSlowCallDoesNotDecide) {
  Tuner tuner("");
  int i = 0;
  auto clock = [](const Tuner::Run& run) { return run(), 0.0; };
  auto slow_once = [&](const Tuner::Run& run) { return clock(run), i++ % 7 < 4 ? 100.0 : i <= 7 ? 1.0 : 2.0; };
  // Two calls to warm up, then 100, 100, 1, 1, 1 and 100, 100, 2, 2, 2.
  EXPECT_TRUE(tuner.time("a", "vendor", takes(1), [] { return true; }, slow_once));
}

TEST_F(TunerTest, ProviderThatCannot) {
  Tuner tuner(path);
  auto clock = [](const Tuner::Run& run) { return run(), 1.0; };
  EXPECT_FALSE(tuner.time("refuses", "vendor", takes(1), [] { return false; }, clock));
  EXPECT_FALSE(tuner.time("throws", "vendor", takes(1), []() -> bool { fail<RuntimeError>("status 14"); }, clock));
  EXPECT_FALSE(tuner.time("memory", "vendor", takes(1), []() -> bool { fail<OutOfMemoryError>("full"); }, clock));
  EXPECT_EQ(tuner.chosen("refuses", "vendor"), false);
  EXPECT_EQ(tuner.chosen("throws", "vendor"), false);
  Tuner next(path);  // what may work another time is tried again
  EXPECT_EQ(next.chosen("refuses", "vendor"), false);
  EXPECT_EQ(next.chosen("throws", "vendor"), std::nullopt);
  EXPECT_EQ(next.chosen("memory", "vendor"), std::nullopt);
}

TEST_F(TunerTest, ChoicesLast) {
  {
    Tuner tuner(path);
    EXPECT_EQ(tuner.chosen("a", "vendor"), std::nullopt);
    EXPECT_FALSE(fs::exists(directory));  // nothing is made before there is something to keep
    time(tuner, "a", 2, 1);
    time(tuner, "a \"quoted\" \\ b", 1, 2);
  }
  EXPECT_EQ(read(), "{\"lamina tune\": \"1\",\n\"a\": \"vendor\",\n\"a \\\"quoted\\\" \\\\ b\": \"own\"}\n");
  Tuner next(path);
  EXPECT_EQ(next.chosen("a", "vendor"), true);
  EXPECT_EQ(next.chosen("a \"quoted\" \\ b", "vendor"), false);
  int files = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(path).parent_path())) files += entry.is_regular_file();
  EXPECT_EQ(files, 1);
}

TEST_F(TunerTest, FilesThatAreNotOurs) {
  const std::string good = R"({"lamina tune": "1", "a": "vendor"})";
  write(good);
  EXPECT_EQ(Tuner(path).chosen("a", "vendor"), true);
  for (size_t n = 0; n < good.size(); ++n) {  // cut off anywhere
    write(good.substr(0, n));
    EXPECT_EQ(Tuner(path).chosen("a", "vendor"), std::nullopt) << n;
  }
  for (const char* text : {R"({"a": "vendor"})", R"({"lamina tune": "2", "a": "vendor"})", R"(["lamina tune", "1"])",
                           R"({"lamina tune": "1", "a": 3})", R"({"lamina tune": "1", "a": {"b": "vendor"}})",
                           R"({"lamina tune": "1", "a": "vend\u006fr"})", "\x7f\x45\x4c\x46\x02\x01"}) {
    write(text);
    Tuner tuner(path);
    EXPECT_EQ(tuner.chosen("a", "vendor"), std::nullopt) << text;
    time(tuner, "a", 2, 1);  // replaces it
    EXPECT_EQ(read(), "{\"lamina tune\": \"1\",\n\"a\": \"vendor\"}\n");
  }
  write(R"({"lamina tune": "1", "a": "a library we do not know", "b": "own"})");
  Tuner tuner(path);
  EXPECT_EQ(tuner.chosen("a", "vendor"), std::nullopt);
  EXPECT_EQ(tuner.chosen("b", "vendor"), false);
}

TEST_F(TunerTest, FileThatCannotBeWritten) {
  for (const std::string& place :
       {directory.string(), std::string("/proc/none/tune.json"), std::string("/dev/null/x")}) {
    fs::create_directories(directory);
    Tuner tuner(place);
    EXPECT_TRUE(time(tuner, "a", 2, 1)) << place;
    EXPECT_EQ(tuner.chosen("a", "vendor"), true);
  }
  EXPECT_FALSE(fs::exists(str(directory.string(), ".", getpid(), ".0")));
}

// Each as a process of its own would: a tuner on the same file. Whoever reads finds a whole file, and of the writers
// that came one after the other no choice is lost.
TEST_F(TunerTest, ManyWriters) {
  Tuner first(path), second(path);
  EXPECT_EQ(first.chosen("x", "vendor"), std::nullopt);
  EXPECT_EQ(second.chosen("x", "vendor"), std::nullopt);
  time(first, "x", 2, 1);
  time(second, "y", 2, 1);
  EXPECT_EQ(Tuner(path).chosen("x", "vendor"), true);
  EXPECT_EQ(Tuner(path).chosen("y", "vendor"), true);
  auto clock = [](const Tuner::Run& run) { return run(), 1.0; };
  auto writer = [&](int id) {
    for (int i = 0; i < 40; ++i) {
      Tuner tuner(path);
      tuner.time(str("writer ", id, " ", i), "vendor", [] {}, [] { return true; }, clock);
      EXPECT_EQ(Tuner(path).chosen("x", "vendor"), true);
    }
  };
  std::vector<std::thread> threads;
  for (int id = 0; id < 4; ++id) threads.emplace_back(writer, id);
  for (std::thread& t : threads) t.join();
}

TEST_F(TunerTest, ThreadsAgree) {
  Tuner tuner("");
  std::atomic<int> timed{0};
  auto clock = [&](const Tuner::Run& run) { return run(), double(timed++); };  // the later, the slower
  std::vector<std::thread> threads;
  std::atomic<int> theirs{0};
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] { theirs += tuner.time("a", "vendor", [] {}, [] { return true; }, clock); });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(theirs, 4);
  EXPECT_EQ(timed, 14);  // by one of them: 2 + 5 calls of each
}

TEST_F(TunerTest, Modes) {
  write(R"({"lamina tune": "1", "a": "vendor"})");
  Tuner off(path, TuneMode::Off);
  EXPECT_EQ(off.chosen("a", "vendor"), true);
  EXPECT_EQ(off.chosen("b", "vendor"), false);
  EXPECT_FALSE(time(off, "b", 2, 1));
  EXPECT_EQ(calls, 0);
  Tuner provider(path, TuneMode::Provider);
  EXPECT_EQ(provider.chosen("b", "vendor"), true);
}

TEST_F(TunerTest, Environment) {
  fs::create_directories(directory / "lamina");
  std::ofstream(directory / "lamina" / "tune.json") << R"({"lamina tune": "1", "in cache": "vendor"})";
  write(R"({"lamina tune": "1", "named": "vendor"})");
  unsetenv("LAMINA_TUNE_CACHE");
  setenv("XDG_CACHE_HOME", directory.c_str(), 1);
  EXPECT_EQ(Tuner::from_environment().chosen("in cache", "vendor"), true);
  setenv("LAMINA_TUNE_CACHE", path.c_str(), 1);
  EXPECT_EQ(Tuner::from_environment().chosen("in cache", "vendor"), std::nullopt);
  EXPECT_EQ(Tuner::from_environment().chosen("named", "vendor"), true);
  EXPECT_EQ(Tuner::from_environment().mode(), TuneMode::Time);
  setenv("LAMINA_TUNE", "off", 1);
  EXPECT_EQ(Tuner::from_environment().mode(), TuneMode::Off);
  setenv("LAMINA_TUNE", "provider", 1);
  EXPECT_EQ(Tuner::from_environment().mode(), TuneMode::Provider);
  for (const char* name : {"LAMINA_TUNE", "LAMINA_TUNE_CACHE", "XDG_CACHE_HOME"}) unsetenv(name);
}

}  // namespace
}  // namespace lamina::cuda
