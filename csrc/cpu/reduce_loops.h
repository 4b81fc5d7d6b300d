// Pieces of a reduction for one thread, under cpu/reduce.cpp. Next: kernels/reduce.cpp (loops),
// kernels/reduce_states.h (states).
#pragma once
#include "kernel/reduce.h"

namespace lamina {

inline constexpr int64_t kColumnTile = 512;  // results side by side in one unit of work
inline constexpr int64_t kStateBytes = 32;   // room for any State

// Results [begin, end) over the reduced elements [from, to). A unit is one result, or one tile of columns.
// states null: finish and store; else leave a State per result there, for reduce_finish.
LM_LOOP(void, reduce_part, (const ReduceJob& job, int64_t begin, int64_t end, int64_t from, int64_t to, void* states))
// states is [pieces][results]: merges the pieces of results [begin, end) in order and stores.
LM_LOOP(void, reduce_finish,
        (const ReduceJob& job, int64_t begin, int64_t end, int64_t pieces, int64_t results, void* states))

}  // namespace lamina
