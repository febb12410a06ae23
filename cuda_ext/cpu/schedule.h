// Parallel loops over independent pieces and over the nodes of a graph.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace equipot {

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

// Allocates zero-initialized memory, aligned to a cache line (64 bytes).
template <class S>
std::unique_ptr<S[], Free> zeroed(int64_t size) {
  const std::size_t bytes = (size * sizeof(S) + 63) / 64 * 64;
  void* memory = std::aligned_alloc(64, bytes);
  if (memory == nullptr) throw std::bad_alloc();
  std::fill_n(static_cast<char*>(memory), bytes, 0);
  return std::unique_ptr<S[], Free>(static_cast<S*>(memory));
}

// Calls work(piece, scratch) for all pieces, scheduled dynamically; each thread has
// `scratch` scalars of zero-initialized memory.
template <class S, class Work>
void for_pieces(int64_t pieces, int64_t scratch, const Work& work) {
  const int64_t threads =
      std::clamp<int64_t>(pieces, 1, torch::stable::get_num_threads());
  std::atomic<int64_t> next{0};
  const auto memory = zeroed<S>(threads * scratch);
  torch::stable::parallel_for(0, threads, 1, [&](int64_t thread, int64_t) {
    // a thread that runs several iterations processes all remaining pieces in the first
    // one
    for (int64_t piece; (piece = next++) < pieces;) {
      work(piece, memory.get() + thread * scratch);
    }
  });
}

// Calls work(first, last, scratch) for ranges of nodes first, ..., last - 1 that cover
// all nodes. Ranges have about equal numbers of edges and are scheduled dynamically; each
// thread has `scratch` scalars of zero-initialized memory. Results do not depend on the
// schedule if `work` writes only to data of its own nodes.
template <class S, class Work>
void for_ranges_of_nodes(int64_t num_nodes, const int64_t* pointers, int64_t scratch,
                         const Work& work) {
  constexpr int64_t kEdgesPerPiece = 64;
  constexpr int64_t kPiecesPerThread = 8;
  const int64_t edges = pointers[num_nodes] - pointers[0];
  const int64_t threads = std::clamp<int64_t>(edges / kEdgesPerPiece, 1,
                                              torch::stable::get_num_threads());
  const int64_t pieces =
      threads == 1 ? 1
                   : std::clamp(edges / kEdgesPerPiece, threads, kPiecesPerThread * threads);
  const auto first_of = [&](int64_t piece) {
    if (piece == pieces) return num_nodes;
    const int64_t edge = pointers[0] + piece * edges / pieces;
    return std::lower_bound(pointers, pointers + num_nodes, edge) - pointers;
  };
  for_pieces<S>(pieces, scratch, [&](int64_t piece, S* memory) {
    work(first_of(piece), first_of(piece + 1), memory);
  });
}

}  // namespace equipot
