// What the kernels of the convolution in the frames of edges are given: plain data,
// checked and laid out by so2.cpp. Formulas are those of equipot/ops/so2_convolution.py.
#pragma once

#include <cstdint>

#include "isa.h"

namespace equipot {

constexpr int kMaxDegree = 6;

// Paths (l_in, any, l_out) of one parity. In the frame, those of even sum map component
// m of the features to component m of the messages, those of odd sum to -m.
struct Mixing {
  int32_t l_in, l_out;
  int32_t first, step, count;  // paths: first, first + step, ...
  int32_t factors;             // of those paths, for m = 0 to min(l_in, l_out)
  bool odd;
};

template <class S>
struct So2Convolution {
  const Mixing* mixings;
  int32_t num_mixings;
  const S* factors;
  int32_t num_paths;
  int32_t lmax_in, lmax_out;

  int64_t channels;
  const S* rotations;  // see so2_frame.h
  int64_t rotation_size;
  const S *x, *w, *g;
  const S *x_dot, *directions_dot, *w_dot;  // the last may be null: zero
  const int64_t *senders, *receivers;
  // edges of node n: order[pointers[n]] and on, or those numbers themselves
  const int64_t *pointers, *order;

  S* z;
  S *x_bar, *directions_bar, *w_bar, *g_bar;
};

// Coefficients of the recurrence for blocks of rotations; see so2_rotations_kernels.cpp.
struct RotationRecurrence {
  int32_t lmax;
  const double *start, *a, *b, *c;
};

#define EQUIPOT_SO2(ISA)                                                              \
  namespace ISA {                                                                     \
  /* Messages that the nodes first to last - 1 receive. */                            \
  template <class S>                                                                  \
  void so2_convolve(const So2Convolution<S>&, int64_t first, int64_t last, S* scratch); \
  /* Gradients of the edges that leave those nodes, and of their features. */         \
  template <class S>                                                                  \
  void so2_convolve_backward(const So2Convolution<S>&, int64_t first, int64_t last,   \
                             S* scratch);                                             \
  /* Gradients of the edges that arrive at those nodes, and of g; those of features    \
     go to sent, a padded block of rows for each edge from first_edge on. */          \
  template <class S>                                                                  \
  void so2_convolve_double_backward(const So2Convolution<S>&, int64_t first,          \
                                    int64_t last, int64_t first_edge, S* sent,        \
                                    S* scratch);                                      \
  /* Adds rows first to last - 1 of these blocks to the gradients of senders. */      \
  template <class S>                                                                  \
  void add_to_senders(const So2Convolution<S>&, const S* sent, int64_t first_edge,    \
                      int64_t last_edge, int64_t first, int64_t last);                \
  /* Scalars of each of these blocks. */                                              \
  template <class S>                                                                  \
  int64_t sent_size(const So2Convolution<S>&);                                        \
  /* Scalars of scratch space, zero at first, that each of them needs. */             \
  template <class S>                                                                  \
  int64_t so2_scratch(const So2Convolution<S>&);                                      \
  template <class S>                                                                  \
  void edge_rotations(const RotationRecurrence&, const S* directions, int64_t first,  \
                      int64_t last, S* rotations);                                    \
  }
EQUIPOT_FOR_EACH_ISA(EQUIPOT_SO2)
#undef EQUIPOT_SO2

}  // namespace equipot
