// Host and device code: operands and results of the convolution kernels.
#pragma once

#include <cstdint>

namespace equipot {

// All arrays are contiguous and row-major; shapes are given in brackets.
template <typename Scalar>
struct Problem {
  const Scalar* x;      // [nodes, inputs, channels]
  const Scalar* y;      // [edges, harmonics]
  const Scalar* w;      // [edges, paths, channels]
  const Scalar* g;      // [nodes, outputs, channels]
  const Scalar* x_dot;  // as x; tangents are null if they are zero
  const Scalar* y_dot;  // as y
  const Scalar* w_dot;  // as w

  const int64_t* senders;            // [edges]
  const int64_t* receivers;          // [edges], ascending
  const int64_t* receiver_pointers;  // [nodes + 1], offsets into the edges
  const int64_t* sender_order;       // [edges], edge indices sorted by sender
  const int64_t* sender_pointers;    // [nodes + 1], offsets into sender_order

  const int32_t* rows;     // [nonzeros], ascending: element of the edge matrices
  const int32_t* columns;  // [nonzeros]: harmonic
  const Scalar* values;    // [nonzeros]: coefficient

  Scalar* messages;  // [nodes, outputs, channels]
  Scalar* x_bar;     // as x
  Scalar* y_bar;     // as y
  Scalar* w_bar;     // as w

  int64_t num_nodes;
  int64_t num_edges;
  int32_t channels;
  int32_t inputs;
  int32_t harmonics;
  int32_t outputs;
  int32_t num_paths;
  int32_t nonzeros;
};

// Degrees (l_in, l_filter, l_out) of each path. If `concat`, the messages of the paths
// are concatenated, otherwise they are summed per degree.
struct PathList {
  const int64_t* degrees;
  int64_t count;
  bool concat;

  int64_t l_in(int64_t path) const { return degrees[3 * path]; }
  int64_t l_filter(int64_t path) const { return degrees[3 * path + 1]; }
  int64_t l_out(int64_t path) const { return degrees[3 * path + 2]; }
  // Number of elements of the edge matrix of a path.
  int64_t rows(int64_t path) const { return (2 * l_in(path) + 1) * (2 * l_out(path) + 1); }
};

// Whether to sum over the edges that arrive at a node (kReceive) or leave it (kSend).
enum class Direction { kReceive, kSend };

}  // namespace equipot
