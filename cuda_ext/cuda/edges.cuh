// Iteration of a warp over the edges of a node.
#pragma once

#include "device.cuh"
#include "problem.h"

namespace equipot {

// Iterates over every `num_warps`-th edge of a node. Indices are loaded in advance to
// hide latency: the edge index two steps ahead, and the node at its other end one step
// ahead.
template <Direction kDirection, typename Scalar>
class Edges {
 public:
  __device__ Edges(const Problem<Scalar>& problem, int64_t node) : problem_(problem) {
    const int64_t* pointers = kDirection == Direction::kReceive
                                  ? problem.receiver_pointers
                                  : problem.sender_pointers;
    position_ = pointers[node] + warp_index();
    end_ = pointers[node + 1];
    if (pointers[node] < 0 || end_ > problem.num_edges) {
      fail("receiver_pointers and sender_pointers must be in 0 to the number of edges");
    }
    edge_ = edge_at(position_);
    next_edge_ = edge_at(position_ + num_warps());
    after_next_edge_ = edge_at(position_ + 2 * num_warps());
    other_node_ = other_node_at(position_, edge_);
    next_other_node_ = other_node_at(position_ + num_warps(), next_edge_);
  }

  __device__ bool any() const { return position_ < end_; }
  __device__ int64_t edge() const { return edge_; }

  // Sender of the edge when receiving, its receiver when sending. Fails if out of
  // range.
  __device__ int64_t other_node() const {
    if (other_node_ < 0 || other_node_ >= problem_.num_nodes) {
      fail("senders and receivers must be nodes");
    }
    return other_node_;
  }

  __device__ void advance() {
    position_ += num_warps();
    edge_ = next_edge_;
    other_node_ = next_other_node_;
    next_edge_ = after_next_edge_;
    next_other_node_ = other_node_at(position_ + num_warps(), next_edge_);
    after_next_edge_ = edge_at(position_ + 2 * num_warps());
  }

 private:
  __device__ int64_t edge_at(int64_t position) const {
    if (position >= end_) return 0;
    return kDirection == Direction::kReceive ? position
                                             : __ldg(problem_.sender_order + position);
  }

  __device__ int64_t other_node_at(int64_t position, int64_t edge) const {
    if (position >= end_) return 0;
    if (edge < 0 || edge >= problem_.num_edges) {
      fail("sender_order must hold numbers of edges");
    }
    return __ldg(
        (kDirection == Direction::kReceive ? problem_.senders : problem_.receivers) + edge);
  }

  const Problem<Scalar>& problem_;
  int64_t position_, end_;
  int64_t edge_, next_edge_, after_next_edge_;
  int64_t other_node_, next_other_node_;
};

}  // namespace equipot
