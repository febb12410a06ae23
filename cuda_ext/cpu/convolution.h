// Arguments of the convolution kernels: plain data, validated and laid out by
// convolution.cpp. For the formulas see equipot/ops/convolution.py.
#pragma once

#include <cstdint>

#include "isa.h"

namespace equipot {

// One coupling (l_in, l_filter, l_out).
struct Path {
  int32_t rows;     // 2 l_in + 1
  int32_t columns;  // 2 l_out + 1
  int32_t x;        // first component of the features
  int32_t z;        // first component of the messages
  int32_t element;  // first element of its matrix, see Layout
  bool diagonal;    // whether only the diagonal is stored
};

// Consecutive paths that contribute to the same components of the messages.
struct Group {
  int32_t first, last;  // path indices first, ..., last - 1
};

// Storage order of a matrix of shape rows x columns.
enum class Layout { by_row, by_column };

// Linear map from the harmonics of an edge to the elements of its path matrices.
template <class S>
struct EdgeMap {
  int32_t harmonics;
  int32_t elements;  // padded with zeros to a multiple of kElementBlock
  // Element n is the sum over q < terms of values[m] * harmonic[columns[m]], where
  // m = q * elements + n.
  int32_t terms;
  const int32_t* columns;
  const S* values;
  // The transposed map: harmonic j contributes to element transposed_elements[q] with
  // coefficient transposed_values[q], for starts[j] <= q < starts[j + 1].
  const int32_t* starts;
  const int32_t* transposed_elements;
  const S* transposed_values;
};
constexpr int kElementBlock = 16;

// Which of the tangents x_dot, y_dot, w_dot are present; w_dot may be omitted if it is
// zero.
enum class Tangents { none, without_weights, all };

// Operands that an op does not have are null and not read.
template <class S>
struct Convolution {
  const Path* paths;
  int32_t num_paths;
  const Group* groups;
  int32_t num_groups;
  EdgeMap<S> map;

  int64_t channels;
  int32_t x_rows, z_rows;
  const int64_t *senders, *receivers;
  // Edges of node n are order[pointers[n]], ..., order[pointers[n + 1] - 1], or
  // pointers[n], ..., pointers[n + 1] - 1 if order is null.
  const int64_t *pointers, *order;

  Tangents tangents;
  bool derivatives;  // whether to compute x_bar, y_bar, w_bar instead of z
  const S *x, *y, *w, *g;
  const S *x_dot, *y_dot, *w_dot;
  S *z, *x_bar, *y_bar, *w_bar;
  // Whether to add to z or x_bar; only if channels are whole vectors.
  bool add;
};

// Kernels process all edges of nodes first, ..., last - 1. Scratch space of
// scratch_size() scalars must be zero-initialized.
#define EQUIPOT_CONVOLUTION(ISA)                                                       \
  namespace ISA {                                                                      \
  template <class S>                                                                   \
  int64_t scratch_size(const Convolution<S>&);                                         \
                                                                                       \
  /* Messages z from x, y, w; edges by receiver, matrices by row. With tangents, the  \
     directional derivative of the messages along them. */                            \
  template <class S>                                                                   \
  void gather(const Convolution<S>&, int64_t first, int64_t last, S* scratch);         \
                                                                                       \
  /* Gradients x_bar, y_bar, w_bar of F = <g, z>; edges by sender, matrices by column.\
     With tangents, the gradients of its directional derivative along them. */        \
  template <class S>                                                                   \
  void differentiate(const Convolution<S>&, int64_t first, int64_t last, S* scratch);  \
  }
EQUIPOT_FOR_EACH_ISA(EQUIPOT_CONVOLUTION)
#undef EQUIPOT_CONVOLUTION

}  // namespace equipot
