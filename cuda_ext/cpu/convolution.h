// What the kernels of the convolution are given: plain data, checked and laid out by
// convolution.cpp. Formulas are those of equipot/ops/convolution.py.
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
  bool diagonal;    // whether only the elements of the diagonal exist
};

// Consecutive paths to the same components of the messages.
struct Group {
  int32_t first, last;  // paths
};

// Order of the elements of a matrix of rows x columns.
enum class Layout { by_row, by_column };

// The linear map from the harmonics of an edge to its matrices.
template <class S>
struct EdgeMap {
  int32_t harmonics;
  int32_t elements;  // a multiple of kElementBlock; those that pad it are zero
  // Element n is the sum over q < terms of values[m] times harmonic columns[m], with
  // m = q * elements + n.
  int32_t terms;
  const int32_t* columns;
  const S* values;
  // The same by harmonic: number j contributes transposed_values[q] times itself to
  // element transposed_elements[q] for q from starts[j] up to the next.
  const int32_t* starts;
  const int32_t* transposed_elements;
  const S* transposed_values;
};
constexpr int kElementBlock = 16;

// Which tangents x_dot, y_dot, w_dot an op has; that of the weights may be zero.
enum class Tangents { none, without_weights, all };

// Operands that an op does not have are not read.
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
  // Edges of node n: order[pointers[n]] and on; those numbers themselves without order.
  const int64_t *pointers, *order;

  Tangents tangents;
  bool derivatives;  // x_bar, y_bar, w_bar rather than z
  const S *x, *y, *w, *g;
  const S *x_dot, *y_dot, *w_dot;
  S *z, *x_bar, *y_bar, *w_bar;
};

// Kernels work on all edges of the nodes from first up to last. Each needs so many
// scalars of scratch space, which are zero at first.
#define EQUIPOT_CONVOLUTION(ISA)                                                       \
  namespace ISA {                                                                      \
  template <class S>                                                                   \
  int64_t scratch_size(const Convolution<S>&);                                         \
                                                                                       \
  /* Messages z from x, y, w; edges by receiver, matrices by row. With tangents, the  \
     derivative of the messages along them. */                                         \
  template <class S>                                                                   \
  void gather(const Convolution<S>&, int64_t first, int64_t last, S* scratch);         \
                                                                                       \
  /* Derivatives x_bar, y_bar, w_bar of F; edges by sender, matrices by column. With  \
     tangents, those of its derivative along them. */                                  \
  template <class S>                                                                   \
  void differentiate(const Convolution<S>&, int64_t first, int64_t last, S* scratch);  \
  }
EQUIPOT_FOR_EACH_ISA(EQUIPOT_CONVOLUTION)
#undef EQUIPOT_CONVOLUTION

}  // namespace equipot
