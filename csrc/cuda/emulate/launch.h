// Runs a grid: its blocks one after the other in random order, each by run_block(). Counts the kernels it has run.
#pragma once
#include <functional>
#include <set>
#include <string>
#include <tuple>

#include "cuda/emulate/block.h"
#include "cuda/emulate/memory.h"

namespace lamina::emulate {

void run_grid(const void* kernel, dim3 grid, dim3 block, size_t shared_bytes, void (*body)(const void*),
              const void* closure);

// Names of the kernels launched so far, without template arguments.
const std::set<std::string>& launched_kernels();

// Where there are streams (runtime/streams.cpp), kernels run when their turn comes; at once where this is null.
extern void (*enqueue_kernel)(void* stream, std::function<void()> kernel);
inline void run_in(void* stream, std::function<void()> work) {
  if (enqueue_kernel)
    enqueue_kernel(stream, std::move(work));
  else
    work();
}

template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, void* stream, const A&... args) {
  run_in(stream, [=, values = std::tuple<P...>(args...)] {
    const auto body = [&] { std::apply(kernel, values); };
    using Body = decltype(body);
    run_grid(
        reinterpret_cast<const void*>(kernel), grid, block, shared_bytes,
        [](const void* closure) { (*static_cast<const Body*>(closure))(); }, &body);
  });
}

}  // namespace lamina::emulate
