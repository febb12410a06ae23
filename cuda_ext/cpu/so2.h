// Arguments of the kernels of the convolution in edge frames: plain data, validated and
// laid out by so2.cpp. For the formulas see equipot/ops/so2_convolution.py.
#pragma once

#include <cstdint>

#include "isa.h"

namespace equipot {

constexpr int kMaxDegree = 6;

// Paths with the same l_in, l_out and parity of l_in + l_filter + l_out. In the edge
// frame, paths of even sum map component m of the features to component m of the
// messages, paths of odd sum to component -m.
struct Mixing {
  int32_t l_in, l_out;
  int32_t first, step, count;  // path indices first, first + step, ...
  int32_t factors;             // offset of factors [count, min(l_in, l_out) + 1]
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
  const S *x_dot, *directions_dot, *w_dot;  // w_dot is null if it is zero
  const int64_t *senders, *receivers;
  // Edges of node n are order[pointers[n]], ..., order[pointers[n + 1] - 1] in the
  // backward pass, and pointers[n], ..., pointers[n + 1] - 1 otherwise.
  const int64_t *pointers, *order;

  S* z;
  S *x_bar, *directions_bar, *w_bar, *g_bar;
};

// Coefficients of the recurrence for rotation blocks; see so2_rotations_kernels.cpp.
struct RotationRecurrence {
  int32_t lmax;
  const double *start, *a, *b, *c;
};

#define EQUIPOT_SO2(ISA)                                                              \
  namespace ISA {                                                                     \
  /* Messages z of nodes first to last - 1; edges by receiver. */                     \
  template <class S>                                                                  \
  void so2_convolve(const So2Convolution<S>&, int64_t first, int64_t last, S* scratch); \
  /* x_bar of nodes first to last - 1, and directions_bar and w_bar of the edges that \
     leave them; edges by sender. */                                                  \
  template <class S>                                                                  \
  void so2_convolve_backward(const So2Convolution<S>&, int64_t first, int64_t last,   \
                             S* scratch);                                             \
  /* g_bar of nodes first to last - 1, and directions_bar and w_bar of the edges that  \
     arrive at them. Contributions to x_bar are written to `sent`, one block of padded \
     rows per edge, starting with edge first_edge. */                                  \
  template <class S>                                                                  \
  void so2_convolve_double_backward(const So2Convolution<S>&, int64_t first,          \
                                    int64_t last, int64_t first_edge, S* sent,        \
                                    S* scratch);                                      \
  /* Adds rows first to last - 1 of the blocks in `sent` to x_bar of the senders. */  \
  template <class S>                                                                  \
  void add_to_senders(const So2Convolution<S>&, const S* sent, int64_t first_edge,    \
                      int64_t last_edge, int64_t first, int64_t last);                \
  /* Number of scalars in one block of `sent`. */                                     \
  template <class S>                                                                  \
  int64_t sent_size(const So2Convolution<S>&);                                        \
  /* Number of scalars of zero-initialized scratch space per call of these kernels. */\
  template <class S>                                                                  \
  int64_t so2_scratch(const So2Convolution<S>&);                                      \
  template <class S>                                                                  \
  void edge_rotations(const RotationRecurrence&, const S* directions, int64_t first,  \
                      int64_t last, S* rotations);                                    \
  }
EQUIPOT_FOR_EACH_ISA(EQUIPOT_SO2)
#undef EQUIPOT_SO2

}  // namespace equipot
