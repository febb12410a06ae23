// Blocks of edges for SIMD over edges, one edge per lane.
#pragma once

#include <cstdint>

#include "simd.h"

namespace equipot {
namespace EQUIPOT_ISA {
namespace {

template <class S>
struct EdgeBlock {
  int64_t edges[kLanes<S>];  // edge indices; unused lanes repeat the last edge
  int count;                 // number of lanes in use

  // Edges first, ..., last - 1, or order[first], ..., order[last - 1] if order is given;
  // at most as many as there are lanes.
  static EdgeBlock of(int64_t first, int64_t last, const int64_t* order = nullptr) {
    EdgeBlock block;
    block.count = last - first < kLanes<S> ? last - first : kLanes<S>;
    for (int e = 0; e < kLanes<S>; ++e) {
      const int64_t edge = first + (e < block.count ? e : block.count - 1);
      block.edges[e] = order == nullptr ? edge : order[edge];
    }
    return block;
  }

  // Gathers rows of `from`, an array [edges, components], so that vector j of `to` holds
  // component j of all edges of the block.
  void read(const S* from, int components, S* to) const {
    for (int j = 0; j < components; ++j) {
      for (int e = 0; e < kLanes<S>; ++e) {
        to[j * kLanes<S> + e] = from[edges[e] * components + j];
      }
    }
  }
};

}  // namespace
}  // namespace EQUIPOT_ISA
}  // namespace equipot
