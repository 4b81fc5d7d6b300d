// The engine's thread pool: parallel_for(chunks, fn) runs fn(0) ... fn(chunks - 1) on the caller and the workers.
// The one idea: chunks are claimed by decrementing one atomic number, so a worker that wakes late finds nothing and a
// region never waits for it. Callers cut chunks from the problem size only, never from the number of threads: results
// do not depend on it. Nested calls, and calls while another thread uses the pool, run in the caller.
#pragma once
#include <cstdint>
#include <type_traits>

namespace lamina {

// Threads that may work on one region, the caller included. Any n >= 1, also more than there are cores.
// The default is the environment's LAMINA_NUM_THREADS, else the CPUs this process may run on.
void set_num_threads(int64_t n);
int64_t get_num_threads();

// A range of `count` elements cut into pieces of `grain`: how callers choose their chunks.
[[gnu::always_inline]] constexpr int64_t chunk_count(int64_t count, int64_t grain) {
  return (count + grain - 1) / grain;
}

namespace detail {
using ChunkFunction = void (*)(void* context, int64_t chunk);
void run_chunks(int64_t chunks, ChunkFunction function, void* context);
}  // namespace detail

// The first exception a chunk throws is rethrown here; chunks not yet started are then skipped.
template <class F>
void parallel_for(int64_t chunks, F&& fn) {
  if (chunks == 1) return fn(int64_t{0});
  using Fn = std::remove_reference_t<F>;
  auto call = [](void* context, int64_t chunk) { (*static_cast<Fn*>(context))(chunk); };
  detail::run_chunks(chunks, call, const_cast<void*>(static_cast<const void*>(&fn)));
}

}  // namespace lamina
