// Host code: partition of the paths of a product for the table-driven kernels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "device.cuh"
#include "problem.h"

namespace equipot {

struct PlannedPath {
  int32_t row;         // first element of its matrix
  uint16_t component;  // first component of its messages
  uint8_t l_in;
  uint8_t l_out;
};

// A window is a range of message components whose sums fit into shared memory. A chunk
// is a range of paths whose edge matrices fit into shared memory. Passed to kernels by
// value.
struct Plan {
  static constexpr int kMaxPaths = 512;
  static constexpr int kMaxDegree = 255;
  static constexpr int kMaxComponents = 65535;
  static constexpr int64_t kRowsPerChunk = 512;
  static constexpr int64_t kComponentsPerWindow = 32;

  PlannedPath paths[kMaxPaths + 1];  // the additional entry is the end of the last path
  uint16_t chunks[kMaxPaths + 1];    // first path of each chunk, then number of paths
  uint16_t windows[kMaxPaths + 1];   // first chunk of each window, then number of chunks
  int32_t num_chunks;
  int32_t num_windows;
  int32_t rows_of_chunk;         // maximum over chunks
  int32_t components_of_window;  // maximum over windows

  EQUIPOT_CONSTEXPR int first_row(int chunk) const { return paths[chunks[chunk]].row; }

  // Components between the paths of two windows belong to the first of these windows;
  // components before all paths belong to window 0.
  EQUIPOT_CONSTEXPR int first_component(int window) const {
    return window == 0 ? 0 : paths[chunks[windows[window]]].component;
  }
};

namespace detail {

inline void require(bool condition, const std::string& message) {
  if (!condition) throw std::runtime_error("equipot: " + message);
}

// Sets the offsets and degrees of all paths. Throws if a limit of the kernels is
// exceeded.
inline void place_paths(Plan& plan, const PathList& list, int64_t outputs) {
  int64_t row = 0, component = 0;
  for (int64_t p = 0; p < list.count; ++p) {
    const int64_t degree = std::max(list.l_in(p), list.l_out(p));
    require(
        degree <= Plan::kMaxDegree,
        "the CUDA kernels take degrees up to 255, got " + std::to_string(degree));
    const int64_t start = list.concat ? component : list.l_out(p) * list.l_out(p);
    component = start + 2 * list.l_out(p) + 1;
    require(
        component <= outputs && component <= Plan::kMaxComponents,
        "path " + std::to_string(p) + " ends at component " + std::to_string(component) +
            " of the messages, which have " + std::to_string(outputs) +
            "; the CUDA kernels take up to 65535");
    plan.paths[p] = {
        static_cast<int32_t>(row), static_cast<uint16_t>(start),
        static_cast<uint8_t>(list.l_in(p)), static_cast<uint8_t>(list.l_out(p))};
    row += list.rows(p);
  }
  plan.paths[list.count] = {
      static_cast<int32_t>(row), static_cast<uint16_t>(outputs), 0, 0};
}

// Sets the maximum sizes of chunks and windows.
inline void measure(Plan& plan, int64_t outputs) {
  for (int c = 0; c < plan.num_chunks; ++c) {
    const int rows = plan.first_row(c + 1) - plan.first_row(c);
    plan.rows_of_chunk = std::max(plan.rows_of_chunk, rows);
  }
  for (int n = 0; n < plan.num_windows; ++n) {
    const int64_t end =
        n + 1 < plan.num_windows ? plan.first_component(n + 1) : outputs;
    plan.components_of_window = std::max(
        plan.components_of_window, static_cast<int32_t>(end - plan.first_component(n)));
  }
}

}  // namespace detail

// Partitions paths in the given order into chunks, and into windows if `windowed`.
// Unless list.concat, paths contribute to the same components, so that there is only
// one window.
inline Plan make_plan(const PathList& list, int64_t outputs, bool windowed) {
  detail::require(
      list.count <= Plan::kMaxPaths,
      "the CUDA kernels take up to 512 paths, got " + std::to_string(list.count));
  Plan plan{};
  plan.num_windows = 1;
  detail::place_paths(plan, list, outputs);
  for (int64_t p = 0; p < list.count; ++p) {
    const int64_t end = plan.paths[p].component + 2 * list.l_out(p) + 1;
    const bool new_window =
        list.concat && windowed && p > 0 &&
        end - plan.first_component(plan.num_windows - 1) > Plan::kComponentsPerWindow;
    const bool new_chunk =
        p == 0 || new_window ||
        plan.paths[p + 1].row - plan.first_row(plan.num_chunks - 1) > Plan::kRowsPerChunk;
    if (new_window) plan.windows[plan.num_windows++] = static_cast<uint16_t>(plan.num_chunks);
    if (new_chunk) plan.chunks[plan.num_chunks++] = static_cast<uint16_t>(p);
  }
  plan.chunks[plan.num_chunks] = static_cast<uint16_t>(list.count);
  plan.windows[plan.num_windows] = static_cast<uint16_t>(plan.num_chunks);
  detail::measure(plan, outputs);
  return plan;
}

}  // namespace equipot
