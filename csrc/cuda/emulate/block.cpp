#include "cuda/emulate/block.h"

#include <cstring>
#include <map>

#include "cuda/emulate/memory.h"

namespace lamina::emulate {

Block block;
std::string kernel_name;

uint64_t next_random() {  // xorshift64*
  uint64_t& x = block.random;
  x ^= x >> 12, x ^= x << 25, x ^= x >> 27;
  return x * 0x2545f4914f6cdd1dull;
}

namespace {

unsigned random_below(unsigned n) { return unsigned(((next_random() >> 32) * n) >> 32); }

bool same(const char* a, const char* b) { return a == b || std::strcmp(a, b) == 0; }

std::string where(Site site) {
  const char* name = std::strrchr(site.file, '/');
  return str(name ? name + 1 : site.file, ":", site.line);
}

std::string triple(unsigned x, unsigned y, unsigned z) { return str("(", x, ",", y, ",", z, ")"); }

// Nobody can run: who waits where?
std::string stall() {
  std::map<std::string, int> groups;
  for (unsigned i = 0; i < block.count; ++i) {
    const Thread& t = block.threads[i];
    ++groups[t.state == State::Exited ? std::string("returned")
                                      : str("wait in ", t.what, " at ", where(t.site),
                                            t.state == State::Warp ? str(", mask ", std::hex, t.mask) : "")];
  }
  std::string text = block.arrived ? "divergent " + std::string(block.barrier_what) : "deadlock";
  text += ": of " + std::to_string(block.count) + " threads";
  for (const auto& [what, n] : groups) text += str(what == groups.begin()->first ? " " : "; ", n, " ", what);
  return text;
}

Thread* pick() {
  if (block.ready.empty()) return nullptr;
  const unsigned i = random_below(unsigned(block.ready.size()));
  Thread* thread = &block.threads[block.ready[i]];
  block.ready[i] = block.ready.back();
  block.ready.pop_back();
  return thread;
}

std::string of_this_thread(const std::string& message) {
  const uint3 t = block.current->index;
  return str("thread ", triple(t.x, t.y, t.z), ": ", message);
}

[[noreturn]] void leave_with(std::string text) {
  block.fault.swap(text);
  std::string().swap(text);  // this stack is not unwound
  switch_to(block.current->fibre, block.main, true);
  __builtin_unreachable();
}

// The current thread waits, or has returned.
void hand_over(bool leaving = false) {
  Thread* self = block.current;
  Thread* next = pick();
  if (!next) {
    if (block.exited == block.count) {
      switch_to(self->fibre, block.main, true);
      __builtin_unreachable();
    }
    leave_with(stall());
  }
  if (next == self) return;
  block.current = next;
  switch_to(self->fibre, next->fibre, leaving);
}

void make_ready(Thread& thread) {
  thread.state = State::Ready;
  block.ready.push_back(thread.id);
}

void thread_main() {
  entered();
  std::string text;
  try {
    block.body(block.closure);
    if (!block.current->copies.empty()) fault("cp.async: a copy was issued and never waited for");
  } catch (const std::exception& error) {
    text = of_this_thread(error.what());
  }
  if (!text.empty()) leave_with(std::move(text));
  Thread& self = *block.current;
  self.state = State::Exited;
  ++block.exited;
  hand_over(true);
}

}  // namespace

void fault(std::string message) { throw Fault(std::move(message)); }

void fault_here(std::string message) {
  std::string text = of_this_thread(message);
  std::string().swap(message);  // nobody will unwind this stack
  leave_with(std::move(text));
}

void preempt() {
  block.preempt = 1 + random_below(64);
  make_ready(*block.current);
  hand_over();
}

int barrier(const char* what, Vote vote, int predicate, Site site) {
  Thread& self = *block.current;
  if (block.arrived == 0) {
    block.barrier_site = site;
    block.barrier_what = what;
    block.vote = vote == Vote::And;
  } else if (block.barrier_site.line != site.line || !same(block.barrier_site.file, site.file)) {
    fault(str("divergent ", what, ": this thread is at ", where(site), ", others at ", where(block.barrier_site)));
  }
  if (vote == Vote::Or) block.vote |= predicate != 0;
  if (vote == Vote::And) block.vote &= predicate != 0;
  if (vote == Vote::Count) block.vote += predicate != 0;
  self.warp_epoch = 0;
  if (++block.arrived < block.count) {
    self.state = State::Barrier;
    self.site = site;
    self.what = what;
    hand_over();
    return int(block.result);
  }
  block.arrived = 0;
  block.result = block.vote;
  ++block.epoch;
  for (unsigned i = 0; i < block.count; ++i)
    if (i != self.id) make_ready(block.threads[i]);
  preempt();
  return int(block.result);
}

Meeting::Meeting(const char* what, unsigned mask, const void* value, size_t bytes, Site site)
    : warp_(block.warps[block.current->warp]), mask_(mask) {
  Thread& self = *block.current;
  if (!(mask >> self.lane & 1)) fault(str(what, " at ", where(site), ": lane ", self.lane, " is not in its own mask"));
  if (mask & ~warp_.lanes) fault(str(what, " at ", where(site), ": the mask names lanes that do not exist"));
  std::memcpy(warp_.pending[self.lane], value, bytes);
  self.what = what;
  self.mask = mask;
  self.site = site;
  warp_.waiting |= 1u << self.lane;
  const unsigned first = self.warp * kWarp;
  bool complete = (warp_.waiting & mask) == mask;
  for (unsigned lane = 0; complete && lane < kWarp; ++lane)
    if (mask >> lane & 1) complete = block.threads[first + lane].mask == mask;
  if (!complete) {
    self.state = State::Warp;
    hand_over();
    slot_ = self.slot;
    return;
  }
  slot_ = 0;
  while (warp_.unread[slot_]) ++slot_;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if (!(mask >> lane & 1)) continue;
    Thread& other = block.threads[first + lane];
    if (!same(other.what, what))
      fault(str("divergent warp: ", what, " at ", where(site), ", but lane ", lane, " is in ", other.what, " at ",
                where(other.site)));
    std::memcpy(warp_.slots[slot_][lane], warp_.pending[lane], bytes);
    other.slot = slot_;
    ++warp_.unread[slot_];
    if (&other != &self) make_ready(other);
  }
  warp_.waiting &= ~mask;
}

Meeting::~Meeting() { --warp_.unread[slot_]; }

const void* Meeting::shown(unsigned lane) const {
  if (!(mask_ >> lane & 1)) fault(str(block.current->what, ": lane ", lane, " is read but is not in the mask"));
  return warp_.slots[slot_][lane];
}

void run_block(void (*body)(const void*), const void* closure) {
  block.body = body;
  block.closure = closure;
  block.count = block.dim.x * block.dim.y * block.dim.z;
  block.begin = ++block.epoch;
  block.arrived = block.exited = 0;
  block.preempt = 1 + random_below(64);
  block.fault.clear();
  block.ready.clear();
  block.threads.resize(kMaxFibres);
  block.warps.resize(kMaxFibres / kWarp);
  for (unsigned i = 0; i < block.count; ++i) {
    Thread& t = block.threads[i];
    t.index = {i % block.dim.x, i / block.dim.x % block.dim.y, i / (block.dim.x * block.dim.y)};
    t.id = uint16_t(i);
    t.lane = i % kWarp;
    t.warp = uint16_t(i / kWarp);
    t.warp_epoch = 0;
    t.mask = 0;
    t.copies.clear();
    t.copy_groups.clear();
    prepare(t.fibre, int(i), &thread_main);
    make_ready(t);
    if (t.lane == 0) {
      Warp& warp = block.warps[t.warp];
      const unsigned lanes = block.count - i;
      warp.lanes = lanes >= kWarp ? ~0u : (1u << lanes) - 1;
      warp.waiting = 0;
      std::memset(warp.unread, 0, sizeof warp.unread);
    }
  }
  block.current = pick();
  switch_to(block.main, block.current->fibre);
  block.current = nullptr;
  if (!block.fault.empty()) {
    abandon_stacks();
    throw Fault(str("kernel ", kernel_name, " <<<", triple(block.grid.x, block.grid.y, block.grid.z), ", ",
                    triple(block.dim.x, block.dim.y, block.dim.z), ">>> block ",
                    triple(block.index.x, block.index.y, block.index.z), " ", block.fault,
                    " [LAMINA_EMULATE_SEED=", seed(), "]"));
  }
}

}  // namespace lamina::emulate
