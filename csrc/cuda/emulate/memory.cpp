#include "cuda/emulate/memory.h"

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdlib>
#include <map>
#include <random>

#include "cuda/emulate/block.h"

namespace lamina::emulate {
namespace {

constexpr size_t kPage = 4096, kAlign = 16;
constexpr unsigned char kCanary = 0xc5;

struct Mapping {
  char* base;
  size_t size;   // with the guard pages
  size_t bytes;  // of the buffer
};
std::map<void*, Mapping>& live() {
  static std::map<void*, Mapping> map;
  return map;
}

uint64_t& seed_value() {
  static uint64_t value = [] {
    const char* text = std::getenv("LAMINA_EMULATE_SEED");
    return text ? std::strtoull(text, nullptr, 0) : uint64_t(std::random_device{}());
  }();
  return value;
}

bool protecting = false;
int accesses = 0;

void set_access(const Mapping& m, bool reachable) {
  mprotect(m.base + kPage, m.size - 2 * kPage, reachable ? PROT_READ | PROT_WRITE : PROT_NONE);
}
void set_access(bool reachable) {
  for (const auto& [data, m] : live()) set_access(m, reachable);
}

const char* fault_text = "";
uintptr_t fault_address = 0;

// Runs on the stack of the thread that did it, as if it had called this function.
[[noreturn]] void report_access() {
  std::string text = str(fault_text, " at address 0x", std::hex, fault_address, std::dec);
  for (const auto& [data, m] : live()) {
    const auto first = reinterpret_cast<uintptr_t>(data);
    if (fault_address >= reinterpret_cast<uintptr_t>(m.base) &&
        fault_address < reinterpret_cast<uintptr_t>(m.base) + m.size)
      text += str(": byte ", int64_t(fault_address - first), " of a buffer of ", m.bytes);
  }
  fault_here(std::move(text));
}

void on_signal(int number, siginfo_t* info, void* context) {
#if defined(__x86_64__)
  if (block.current) {
    fault_address = reinterpret_cast<uintptr_t>(info->si_addr);
    fault_text = number == SIGILL ? "misaligned access or index outside a local array, instruction"
                                  : "out of bounds: global memory";
    auto* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    registers[REG_RSP] = ((registers[REG_RSP] - 256) & ~greg_t(15)) - 8;  // below the red zone, aligned as after a call
    registers[REG_RIP] = reinterpret_cast<greg_t>(&report_access);
    return;
  }
#else
  (void)info, (void)context;
#endif
  signal(number, SIG_DFL);  // not ours: happens again, and ends the process
}

}  // namespace

uint64_t seed() { return seed_value(); }
void set_seed(uint64_t seed) {
  seed_value() = seed;
  block.random = seed * 0x9e3779b97f4a7c15ull + 0x1234567;
  if (!block.random) block.random = 1;
}

void install_fault_handler() {
  static bool done = [] {
    set_seed(seed());
    static unsigned char stack[64 << 10];
    stack_t alternate{};
    alternate.ss_sp = stack;
    alternate.ss_size = sizeof stack;
    sigaltstack(&alternate, nullptr);
    struct sigaction action{};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (int number : {SIGSEGV, SIGBUS, SIGILL}) sigaction(number, &action, nullptr);
    return true;
  }();
  (void)done;
}

void* allocate_guarded(size_t bytes) {
  const size_t pages = (bytes + kAlign + kPage - 1) / kPage * kPage, size = pages + 2 * kPage;
  void* base = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  LM_CHECK(base != MAP_FAILED, OutOfMemoryError, "emulate: no memory for a buffer of ", bytes, " bytes");
  char* first = static_cast<char*>(base);
  mprotect(first, kPage, PROT_NONE);
  mprotect(first + kPage + pages, kPage, PROT_NONE);
  std::memset(first + kPage, kCanary, pages);
  char* data = first + kPage + pages - (bytes + kAlign - 1) / kAlign * kAlign;
  std::memset(data, 0xff, bytes);
  live()[data] = {first, size, bytes};
  if (protecting && accesses == 0) set_access(live()[data], false);
  return data;
}

void protect(bool on) {
  protecting = on;
  set_access(!on);
}
MemoryAccess::MemoryAccess() {
  if (accesses++ == 0 && protecting) set_access(true);
}
MemoryAccess::~MemoryAccess() {
  if (--accesses == 0 && protecting) set_access(false);
}

void free_guarded(void* p) {
  auto it = live().find(p);
  munmap(it->second.base, it->second.size);
  live().erase(it);
}

void check_canaries() {
  for (const auto& [data, m] : live()) {
    const auto* first = reinterpret_cast<unsigned char*>(m.base) + kPage;
    const auto* begin = static_cast<unsigned char*>(data);
    const auto* last = reinterpret_cast<unsigned char*>(m.base) + m.size - kPage;
    for (const auto* p = first; p < last; ++p) {
      if (p == begin) p += m.bytes;
      if (p < last && *p != kCanary)
        throw Fault(str("kernel ", kernel_name, ": out of bounds write at byte ", p - begin, " of a buffer of ",
                        m.bytes, " [LAMINA_EMULATE_SEED=", seed(), "]"));
    }
  }
}

}  // namespace lamina::emulate
