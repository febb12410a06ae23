// Edges that share vectors, one in each lane.
#pragma once

#include <cstdint>

#include "simd.h"

namespace equipot {
namespace EQUIPOT_ISA {
namespace {

template <class S>
struct EdgeBlock {
  int64_t edges[kLanes<S>];  // the last one is repeated
  int count;

  // Edges from first up to last, or those that order lists there; as many as fit.
  static EdgeBlock of(int64_t first, int64_t last, const int64_t* order = nullptr) {
    EdgeBlock block;
    block.count = last - first < kLanes<S> ? last - first : kLanes<S>;
    for (int e = 0; e < kLanes<S>; ++e) {
      const int64_t edge = first + (e < block.count ? e : block.count - 1);
      block.edges[e] = order == nullptr ? edge : order[edge];
    }
    return block;
  }

  // Vector j holds component j of all edges.
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
