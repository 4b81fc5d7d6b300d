// The pool behind parallel_for: threads that spin for a moment, then sleep in the kernel until the next region. Read
// Note [Claiming chunks] first; run() is one region as its caller sees it, worker() the life of a thread.
#include "core/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <exception>
#include <string>
#include <thread>
#include <vector>

#include "core/errors.h"

namespace lamina {
namespace {

constexpr int kSpins = 200;  // about 4 us: longer than the gap between two operators of one model

inline void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Note [Claiming chunks]
// `remaining_` is the whole protocol. The caller, who holds `busy_`, writes the job and then stores the number of
// chunks; a thread that decrements it from r to r - 1 owns chunk (chunks - r) and may read the job, because the region
// cannot end before that chunk is counted in `done_`. A thread that sees zero touches nothing. So no thread ever reads
// a job that is being replaced, and the caller waits for chunks, not for threads.
class Pool {
 public:
  explicit Pool(int64_t threads) : target_(threads) {}

  int64_t target() const { return target_.load(std::memory_order_relaxed); }
  void set_target(int64_t threads) { target_.store(threads, std::memory_order_relaxed); }

  // One region, from the caller's side: publish the job, wake who sleeps, work, wait for the chunks of others.
  // False when another region is running (in this thread or another one): the caller then works alone.
  bool run(int64_t chunks, detail::ChunkFunction function, void* context) {
    if (busy_.exchange(true, std::memory_order_acquire)) return false;
    if (static_cast<int64_t>(workers_.size()) != target() - 1) resize(target() - 1);
    function_ = function;
    context_ = context;
    chunks_ = chunks;
    done_.store(0, std::memory_order_relaxed);
    // Sequentially consistent, like the counter of sleepers: either we see a thread about to sleep, or it sees the
    // chunks.
    remaining_.store(chunks);
    if (int sleepers = sleepers_.load()) wake(std::min<int64_t>(sleepers, chunks - 1));
    work();
    wait_until_done();
    std::exception_ptr error;
    if (failed_.load(std::memory_order_relaxed)) {
      error = std::exchange(error_, nullptr);
      failed_.store(false, std::memory_order_relaxed);
    }
    busy_.store(false, std::memory_order_release);
    if (error) std::rethrow_exception(error);
    return true;
  }

  // At exit: nobody starts regions any more except daemon threads, which keep `busy_`; then workers are left to the
  // system.
  void shut_down() {
    for (int i = 0; busy_.exchange(true, std::memory_order_acquire); ++i) {
      if (i == 1000) return;
      std::this_thread::yield();
    }
    resize(0);
  }

 private:
  // Claims and runs chunks until none is left; the caller and the workers alike.
  void work() {
    int64_t r = remaining_.load(std::memory_order_relaxed);
    while (r > 0) {
      if (!remaining_.compare_exchange_weak(r, r - 1, std::memory_order_acq_rel, std::memory_order_relaxed)) continue;
      run_chunk(chunks_ - r);
      r = remaining_.load(std::memory_order_relaxed);
    }
  }

  void run_chunk(int64_t chunk) {
    const int64_t chunks = chunks_;  // read now: once the last chunk is counted, the job may be replaced
    if (!failed_.load(std::memory_order_relaxed)) {
      try {
        function_(context_, chunk);
      } catch (...) {
        // This handler ends before the chunk is counted, so the exception is the caller's alone when it is rethrown.
        if (!failed_.exchange(true, std::memory_order_relaxed)) error_ = std::current_exception();
      }
    }
    if (done_.fetch_add(1) + 1 == chunks && caller_sleeps_.load()) {
      finished_.fetch_add(1);
      finished_.notify_one();
    }
  }

  // Others finish their chunks soon, unless the system has given their core to somebody else: then sleep.
  void wait_until_done() {
    for (int spin = 0; spin < kSpins * 10; ++spin) {
      if (done_.load(std::memory_order_acquire) == chunks_) return;
      pause_cpu();
    }
    // The order of the flag here and of the counter in run_chunk makes one of the two sides see the other.
    while (true) {
      const int32_t seen = finished_.load();
      caller_sleeps_.store(true);
      if (done_.load() == chunks_) break;
      finished_.wait(seen);
    }
    caller_sleeps_.store(false);
  }

  // No more threads than there are chunks for: waking one costs about 5 us.
  void wake(int64_t count) {
    signal_.fetch_add(1);
    if (count >= sleepers_.load(std::memory_order_relaxed)) return signal_.notify_all();
    for (int64_t i = 0; i < count; ++i) signal_.notify_one();
  }

  void worker(int64_t index) {
    while (true) {
      // Between two operators of one model there is no time to sleep and wake up.
      int spin = 0;
      while (spin < kSpins && remaining_.load(std::memory_order_relaxed) <= 0) {
        pause_cpu();
        ++spin;
      }
      if (spin == kSpins) {
        // `signal_` is read before the last look at the chunks: a wake-up after that look changes it, and wait returns.
        const int32_t seen = signal_.load();
        sleepers_.fetch_add(1);
        if (remaining_.load() <= 0 && index < keep_.load()) signal_.wait(seen);
        sleepers_.fetch_sub(1);
      }
      if (index >= keep_.load()) return;
      work();
    }
  }

  // The holder of `busy_` starts workers, or ends those whose index is not kept.
  void resize(int64_t count) {
    keep_.store(count);
    if (count < static_cast<int64_t>(workers_.size())) {
      signal_.fetch_add(1);
      signal_.notify_all();
      for (size_t i = count; i < workers_.size(); ++i) workers_[i].join();
      workers_.resize(count);
    }
    // Signals stay with the threads of the program: Python expects its handlers to run there.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      while (static_cast<int64_t>(workers_.size()) < count) {
        const int64_t index = workers_.size();
        workers_.emplace_back([this, index] { worker(index); });
      }
    } catch (...) {  // the system's limit of threads: work with those there are
      keep_.store(workers_.size());
      target_.store(workers_.size() + 1);
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  // One cache line for what a worker reads to start, one for what it writes to finish, one for sleeping, one for the
  // caller.
  alignas(64) std::atomic<int64_t> remaining_{0};
  detail::ChunkFunction function_ = nullptr;
  void* context_ = nullptr;
  int64_t chunks_ = 0;
  std::atomic<bool> failed_{false};

  alignas(64) std::atomic<int64_t> done_{0};
  std::atomic<bool> caller_sleeps_{false};
  std::atomic<int32_t> finished_{0};

  alignas(64) std::atomic<int32_t> sleepers_{0};
  std::atomic<int32_t> signal_{0};
  std::atomic<int64_t> keep_{0};

  alignas(64) std::atomic<bool> busy_{false};
  std::atomic<int64_t> target_;
  std::exception_ptr error_;
  std::vector<std::thread> workers_;
};

int64_t default_threads() {
  if (const char* text = std::getenv("LAMINA_NUM_THREADS")) {
    const long n = std::strtol(text, nullptr, 10);
    if (n >= 1) return n;
  }
#if defined(__linux__)
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0) return std::max(1, CPU_COUNT(&cpus));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

// The pool is never destroyed: threads may still look at it while the process ends. A forked child has none of the
// parent's workers, so it starts over with a fresh pool and forgets the old one.
std::atomic<Pool*> g_pool{nullptr};

Pool& pool() {
  static Pool* first = [] {
    Pool* created = new Pool(default_threads());
    g_pool.store(created);
    pthread_atfork(nullptr, nullptr, [] { g_pool.store(new Pool(g_pool.load()->target())); });
    std::atexit([] { g_pool.load()->shut_down(); });
    return created;
  }();
  (void)first;
  return *g_pool.load(std::memory_order_acquire);
}

}  // namespace

void set_num_threads(int64_t n) {
  LM_CHECK(n >= 1, ValueError, "set_num_threads: got ", n, "; need at least 1");
  pool().set_target(n);
}

int64_t get_num_threads() { return pool().target(); }

void detail::run_chunks(int64_t chunks, ChunkFunction function, void* context) {
  if (chunks <= 0) return;
  Pool& p = pool();
  if (p.target() > 1 && p.run(chunks, function, context)) return;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) function(context, chunk);
}

}  // namespace lamina
