#include "cuda/emulate/launch.h"

#include <cxxabi.h>
#include <dlfcn.h>

#include <chrono>
#include <cstdlib>
#include <numeric>

#include "cuda/emulate/shared.h"
#include "cuda/memory.h"
#include "cuda/provider.h"

namespace lamina::emulate {
namespace {

std::set<std::string>& names() {
  static std::set<std::string> set;
  return set;
}

// The executable exports its symbols, so the dynamic linker knows every kernel by name.
std::string name_of(const void* kernel) {
  Dl_info info;
  if (!dladdr(kernel, &info) || !info.dli_sname) return "?";
  char* text = abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, nullptr);
  std::string name = text ? text : info.dli_sname;
  std::free(text);
  name = name.substr(0, name.find('('));
  if (name.starts_with("void ")) name = name.substr(5);
  return name;
}

std::string family(std::string name) {
  name = name.substr(0, name.find('<'));
  return name.substr(name.rfind(':') + 1);
}

}  // namespace

void (*enqueue_kernel)(void* stream, std::function<void()> kernel) = nullptr;

const std::set<std::string>& launched_kernels() { return names(); }

void run_grid(const void* kernel, dim3 grid, dim3 dim, size_t shared_bytes, void (*body)(const void*),
              const void* closure) {
  install_fault_handler();
  const MemoryAccess access;
  kernel_name = name_of(kernel);
  names().insert(family(kernel_name));
  const uint64_t threads = uint64_t(dim.x) * dim.y * dim.z, blocks = uint64_t(grid.x) * grid.y * grid.z;
  LM_CHECK(threads >= 1 && threads <= kMaxFibres && dim.z <= 64, RuntimeError, "launch: ", kernel_name, " with ",
           threads, " threads in a block; a block has 1 to ", kMaxFibres);
  LM_CHECK(grid.x < 1u << 31 && grid.y < 1 << 16 && grid.z < 1 << 16, RuntimeError, "launch: ", kernel_name,
           " with a grid of (", grid.x, ",", grid.y, ",", grid.z, "); at most (2^31-1,65535,65535)");
  block.grid = grid;
  block.dim = dim;
  // i -> (step i + start) mod blocks is a permutation if step and blocks have no common divisor.
  const uint64_t start = next_random() % blocks;
  uint64_t step = 1 + next_random() % blocks;
  while (std::gcd(step, blocks) != 1) ++step;
  for (uint64_t i = 0; i < blocks; ++i) {
    const auto n = uint64_t(((unsigned __int128)(step)*i + start) % blocks);
    block.index = {unsigned(n % grid.x), unsigned(n / grid.x % grid.y), unsigned(n / grid.x / grid.y)};
    begin_shared(shared_bytes);
    run_block(body, closure);
  }
  check_canaries();
}

}  // namespace lamina::emulate

// What cuda/runtime.cpp has better, where it is linked.
namespace lamina::cuda {
[[gnu::weak]] void* allocate_workspace(Stream, size_t bytes) { return emulate::allocate_guarded(bytes); }
[[gnu::weak]] void free_workspace(Stream, void* data) noexcept { emulate::free_guarded(data); }
[[gnu::weak]] void read_back(Stream, void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }
[[gnu::weak]] bool capturing(Stream) { return false; }
[[gnu::weak]] const std::string& device_name(Stream) {
  static const std::string name = "emulator";
  return name;
}
[[gnu::weak]] double milliseconds(Stream, const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}
[[gnu::weak]] DeviceReport* device_report(Stream) {
  static DeviceReport report{};
  return &report;
}
}  // namespace lamina::cuda
