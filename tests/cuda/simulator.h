// A GPU for tests: runs CUDA kernels on the host, and finds what they do wrong.
//
// Blocks run one after another. The threads of a block are fibres that switch at barriers
// and shuffles only, in an order that a seed chooses: where a barrier is missing, some
// thread reads what another has not written yet, or has already overwritten, under one of
// a few seeds. Shared memory starts as NaN and ends with a guard. Reported as errors:
//
//   - a barrier that not all threads of a block, or lanes of a warp, meet in one place
//   - threads that wait for others which have returned
//   - writing beyond the shared memory that the launch asked for
//
// A test can have one barrier ignored, to see that its absence is found.
//
// Not modelled: caches and the order in which other threads see writes; warps that are
// converged where no barrier says so; collectives of a part of a warp.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

#define CUDASIM_PLACE \
  cudasim::Place { __FILE__, __LINE__ }
#define __syncthreads() cudasim::barrier(cudasim::Scope::kBlock, CUDASIM_PLACE)
#define __syncwarp() cudasim::barrier(cudasim::Scope::kWarp, CUDASIM_PLACE)
#define __shfl_xor_sync(lanes, value, mask) \
  cudasim::exchange(lanes, value, mask, CUDASIM_PLACE)

struct Index {
  unsigned x = 0;
};
inline Index threadIdx, blockIdx, blockDim, gridDim;

template <typename Element>
inline Element __ldg(const Element* from) {
  return *from;
}

namespace cudasim {

constexpr unsigned kWarpSize = 32;
constexpr int64_t kMaxSharedBytes = 232448;  // of a block on sm_90
constexpr int64_t kGuardBytes = 4096;
constexpr unsigned char kPoison = 0xff;  // NaN as float and as double

enum class Scope { kBlock, kWarp };

struct Place {
  const char* file;
  int line;

  bool operator==(const Place& other) const {
    return line == other.line && std::strcmp(file, other.file) == 0;
  }
  std::string name() const {
    const std::string path(file);
    return path.substr(path.rfind('/') + 1) + ":" + std::to_string(line);
  }
};

struct Fibre {
  enum class State { kReady, kWaiting, kReturned };

  State state = State::kReturned;
  Scope scope = Scope::kBlock;
  Place place{"", 0};
  unsigned char exchanged[16] = {};
  bool started = false;
  jmp_buf registers;
  ucontext_t start;
  std::vector<char> stack = std::vector<char>(256 << 10);
};

inline std::vector<Fibre> fibres;
inline unsigned running = 0;
inline jmp_buf scheduler;
inline std::function<void()> kernel;
inline std::string error;
inline std::set<std::string> barriers;  // that were met, by name
inline std::string ignored_barrier;
alignas(16) inline unsigned char shared[kMaxSharedBytes + kGuardBytes];

// Leaves the running fibre; it goes on from here when it is resumed.
inline void leave() {
  if (_setjmp(fibres[running].registers) == 0) _longjmp(scheduler, 1);
}

inline void meet(Scope scope, Place place) {
  Fibre& self = fibres[running];
  self.state = Fibre::State::kWaiting;
  self.scope = scope;
  self.place = place;
  leave();
}

inline void barrier(Scope scope, Place place) {
  const std::string name = place.name();
  barriers.insert(name);
  if (name != ignored_barrier) meet(scope, place);
}

template <typename Value>
Value exchange(unsigned lanes, Value value, unsigned mask, Place place) {
  static_assert(sizeof(Value) <= sizeof(Fibre::exchanged));
  if (lanes != 0xffffffffu || mask >= kWarpSize) {
    throw std::logic_error("the simulator only shuffles whole warps");
  }
  std::memcpy(fibres[running].exchanged, &value, sizeof value);
  meet(Scope::kWarp, place);
  Value other;
  std::memcpy(&other, fibres[running ^ mask].exchanged, sizeof other);
  meet(Scope::kWarp, place);
  return other;
}

// Ends the block; the running thread does not go on.
inline void stop(const std::string& message) {
  if (error.empty()) error = message;
  fibres[running].state = Fibre::State::kReturned;
  leave();
}

inline void run_fibre() {
  kernel();
  fibres[running].state = Fibre::State::kReturned;
  leave();
}

inline void resume(unsigned index) {
  running = index;
  threadIdx.x = index;
  Fibre& fibre = fibres[index];
  if (_setjmp(scheduler) != 0) return;
  if (fibre.started) _longjmp(fibre.registers, 1);
  fibre.started = true;
  setcontext(&fibre.start);
}

// What some threads of a block are doing.
struct Survey {
  int ready = 0, returned = 0, at_block_barrier = 0, elsewhere = 0;
  const Fibre* first_waiting = nullptr;

  Survey(unsigned first, unsigned end) {
    for (unsigned n = first; n < end; ++n) count(fibres[n]);
  }

  void count(const Fibre& fibre) {
    ready += fibre.state == Fibre::State::kReady;
    returned += fibre.state == Fibre::State::kReturned;
    if (fibre.state != Fibre::State::kWaiting) return;
    at_block_barrier += fibre.scope == Scope::kBlock;
    if (first_waiting == nullptr) first_waiting = &fibre;
    elsewhere += !(fibre.place == first_waiting->place);
  }

  bool together() const { return returned == 0 && elsewhere == 0; }

  std::string problem(const std::string& who) const {
    return who + " do not meet: one waits at " + first_waiting->place.name() + ", " +
           std::to_string(elsewhere) + " elsewhere, and " + std::to_string(returned) +
           " have returned";
  }
};

// Lets threads that have all met go on.
inline void release(unsigned first, unsigned end) {
  for (unsigned n = first; n < end; ++n) fibres[n].state = Fibre::State::kReady;
}

// Lets the lanes of a warp go on if they have met; notes if they cannot meet.
inline bool release_warp(unsigned first) {
  const Survey warp(first, first + kWarpSize);
  const int waiting = kWarpSize - warp.returned;
  if (!error.empty() || waiting == warp.at_block_barrier) return false;
  if (!warp.together()) error = warp.problem("lanes of a warp");
  release(first, first + kWarpSize);
  return true;
}

// Lets the block go on, all of which waits at a barrier; notes if it cannot meet there.
inline void release_block() {
  const auto size = static_cast<unsigned>(fibres.size());
  const Survey block(0, size);
  if (!error.empty() || block.first_waiting == nullptr) return;
  if (!block.together()) error = block.problem("threads of a block");
  release(0, size);
}

inline bool all_returned() {
  return std::all_of(fibres.begin(), fibres.end(), [](const Fibre& fibre) {
    return fibre.state == Fibre::State::kReturned;
  });
}

// In which order a seed lets threads run: as they are (0), reversed (1), or shuffled anew
// at each meeting; and by odd seeds one warp runs until it waits for the others, by even
// ones all warps run from meeting to meeting.
class Schedule {
 public:
  explicit Schedule(int seed) : seed_(seed), random_(static_cast<unsigned>(seed)) {}

  std::vector<unsigned> order(unsigned count) {
    std::vector<unsigned> order(count);
    for (unsigned n = 0; n < count; ++n) order[n] = seed_ == 1 ? count - 1 - n : n;
    if (seed_ > 1) std::shuffle(order.begin(), order.end(), random_);
    return order;
  }

  bool one_warp_ahead() const { return seed_ % 2 == 1; }

 private:
  int seed_;
  std::mt19937 random_;
};

inline void run_warp(Schedule& schedule, unsigned first) {
  bool met = true;
  while (met && error.empty()) {
    for (unsigned lane : schedule.order(kWarpSize)) {
      const bool ready = fibres[first + lane].state == Fibre::State::kReady;
      if (ready && error.empty()) resume(first + lane);
    }
    met = release_warp(first) && schedule.one_warp_ahead();
  }
}

inline void run_block(Schedule& schedule) {
  const auto warps = static_cast<unsigned>(fibres.size()) / kWarpSize;
  while (!all_returned() && error.empty()) {
    bool ran = false;
    for (unsigned warp : schedule.order(warps)) {
      const unsigned first = warp * kWarpSize;
      if (Survey(first, first + kWarpSize).ready == 0) continue;
      run_warp(schedule, first);
      ran = true;
    }
    if (!ran) release_block();
  }
}

inline void prepare_fibres() {
  for (Fibre& fibre : fibres) {
    fibre.state = Fibre::State::kReady;
    fibre.started = false;
    getcontext(&fibre.start);
    fibre.start.uc_stack.ss_sp = fibre.stack.data();
    fibre.start.uc_stack.ss_size = fibre.stack.size();
    fibre.start.uc_link = nullptr;
    makecontext(&fibre.start, run_fibre, 0);
  }
}

inline void check_guard(int64_t shared_bytes) {
  for (int64_t n = shared_bytes; n < shared_bytes + kGuardBytes; ++n) {
    if (shared[n] != kPoison) {
      error = "a block wrote beyond its " + std::to_string(shared_bytes) +
              " bytes of shared memory";
      return;
    }
  }
}

// Runs a grid of one-dimensional blocks. Throws std::runtime_error for what is wrong.
inline void run(
    unsigned blocks, unsigned threads, int64_t shared_bytes, int seed,
    std::function<void()> body) {
  if (threads % kWarpSize != 0 || shared_bytes > kMaxSharedBytes) {
    throw std::logic_error("a launch that the simulator cannot run");
  }
  kernel = std::move(body);
  error.clear();
  fibres.resize(threads);
  gridDim.x = blocks;
  blockDim.x = threads;
  Schedule schedule(seed);
  for (unsigned block : schedule.order(blocks)) {
    blockIdx.x = block;
    std::memset(shared, kPoison, sizeof shared);
    prepare_fibres();
    run_block(schedule);
    if (error.empty()) check_guard(shared_bytes);
    if (!error.empty()) throw std::runtime_error(error);
  }
}

}  // namespace cudasim

namespace equipot {

inline unsigned char* shared_memory() { return cudasim::shared; }
inline void fail(const char* message) { cudasim::stop(message); }

}  // namespace equipot
