// Arguments of the kernels of programs, which evaluate frozen models without autograd.
// For the instructions see equipot/ops/program.py.
//
// Rows of channels are padded with zeros to whole cache lines (64 bytes), so that all
// vectors are whole.
#pragma once

#include <cstdint>

#include "isa.h"

namespace equipot {

// Bytes that rows of channels are padded to.
constexpr int64_t kRowBytes = 64;

// Functions of the length of an edge: uniform quintic B-splines on consecutive segments,
// and zero beyond.
struct Segment {
  double start, stop;       // in Å
  double intervals_per_length;
  int64_t intervals;
  int64_t row;              // first row of coefficients
};
template <class S>
struct Spline {
  int64_t columns;          // number of functions, padded
  const Segment* segments;
  int64_t num_segments;
  const S* coefficients;    // [pairs of elements, rows, columns]
  int64_t rows;
  // Table of each ordered pair of elements (of the sender, of the receiver), or null if
  // there is one for all.
  const int64_t* table_of_pair;
  int64_t num_elements;
};

// Edges of all nodes, sorted by receiver.
struct Edges {
  const int64_t *senders, *receivers, *pointers;
  const int64_t* elements;  // of each node
  const double* lengths;    // in Å
};

// A matrix that is applied to each component of some degree of each node:
// out[q][c] (+)= sum over p, k of in[p][k] * weight[p, k, q, c], where parts p of the
// operand and parts q of the result are `stride` scalars apart.
template <class S>
struct Linear {
  const S* in;
  int64_t in_width, in_component_stride, in_parts, in_part_stride, depth;
  S* out;
  int64_t out_width, out_component_stride, out_parts, out_part_stride, columns;
  int64_t components;
  const S* weights;  // packed; see `pack`
  bool add;
};

// Nonlinearities; `inverse` is 1 / (1 + x).
enum class Activation : int64_t { silu = 0, sigmoid = 1, tanh = 2, inverse = 3 };
constexpr int64_t kLastActivation = 3;

// Sums over the edges of a node: out[z, lm, k] = sum of f_k(r) Y_lm over the edges whose
// sender is of element z.
template <class S>
struct Moments {
  Spline<S> spline;
  int64_t harmonics;
  const S* y;
  S* out;          // [nodes, num_elements, harmonics, columns]
  const S* bar;    // derivative with respect to out
  S* y_bar;        // added to
  double* length_bar;  // added to
  // Derivatives of length_bar by the length of the same edge at constant bar; added to
  // unless null.
  double* length_bend;
  // Tangents. With them, y_bar and length_bar are tangents of derivatives, without the
  // part of length_bend. Edges that do not move have no tangents.
  const S *y_dot, *bar_dot;
  const double* length_dot;
  const char* moves;
};

// Components of one degree and the scalars that they are multiplied by, or tangents.
template <class S>
struct GateOperands {
  const S *x, *gates, *bar;  // bar is the derivative with respect to the result
};
struct GateShape {
  int64_t components, channels, stride, out_stride;
};

#define EQUIPOT_PROGRAM(ISA)                                                             \
  namespace ISA {                                                                        \
  /* Size of a packed matrix in scalars. */                                              \
  template <class S>                                                                     \
  int64_t packed_size(int64_t depth, int64_t parts, int64_t columns);                    \
                                                                                         \
  /* Packs a matrix [depth, parts, columns] with given strides for `linear`. */          \
  template <class S>                                                                     \
  void pack(const S* from, int64_t depth, int64_t parts, int64_t columns,                \
            int64_t depth_stride, int64_t part_stride, int64_t column_stride, S* to);    \
                                                                                         \
  /* Applies a matrix to nodes order[first], ..., order[last - 1]. */                    \
  template <class S>                                                                     \
  void linear(const Linear<S>&, const int64_t* order, int64_t first, int64_t last);      \
                                                                                         \
  /* Values of splines at edges first to last - 1, [edges, columns], and their           \
     derivatives unless `slopes` is null. */                                             \
  template <class S>                                                                     \
  void splines(const Spline<S>&, const Edges&, int64_t first, int64_t last, S* values,   \
               S* slopes);                                                               \
                                                                                         \
  /* The same with second derivatives. */                                                \
  template <class S>                                                                     \
  void curved_splines(const Spline<S>&, const Edges&, int64_t first, int64_t last,       \
                      S* values, S* slopes, S* curvatures);                              \
                                                                                         \
  /* Adds the dot products of the rows of two arrays [rows, columns] to `out`. */        \
  template <class S>                                                                     \
  void add_row_products(const S* a, const S* b, int64_t rows, int64_t columns,           \
                        double* out);                                                    \
                                                                                         \
  template <class S>                                                                     \
  void add_moments(const Moments<S>&, const Edges&, int64_t first, int64_t last,         \
                   S* scratch);                                                          \
  template <class S>                                                                     \
  void differentiate_moments(const Moments<S>&, const Edges&, int64_t first,             \
                             int64_t last, S* scratch);                                  \
  /* Tangents of the result, and of the derivatives. */                                  \
  template <class S>                                                                     \
  void add_moment_tangents(const Moments<S>&, const Edges&, int64_t first, int64_t last, \
                           S* scratch);                                                  \
  template <class S>                                                                     \
  void differentiate_moment_tangents(const Moments<S>&, const Edges&, int64_t first,     \
                                     int64_t last, S* scratch);                          \
                                                                                         \
  /* out = gain * f(x) for rows of `width` scalars. */                                   \
  template <class S>                                                                     \
  void activate(Activation, S gain, const S* x, int64_t width, S* out);                  \
  /* x_bar (+)= bar * gain * f'(x). */                                                   \
  template <class S>                                                                     \
  void differentiate_activation(Activation, S gain, const S* x, const S* bar,            \
                                int64_t width, S* x_bar, bool add);                      \
  template <class S>                                                                     \
  void activate_tangents(Activation, S gain, const S* x, const S* x_dot, int64_t width,  \
                         S* out_dot);                                                    \
  template <class S>                                                                     \
  void differentiate_activation_tangents(                                                \
      Activation, S gain, const S* x, const S* x_dot, const S* bar, const S* bar_dot,    \
      int64_t width, S* x_bar_dot, bool add);                                            \
                                                                                         \
  /* out[m] = x[m] * gain * f(gate) for components m, which are `stride` apart in x and  \
     `out_stride` apart in out. */                                                       \
  template <class S>                                                                     \
  void gate(Activation, S gain, const S* x, int64_t stride, const S* gates,              \
            int64_t components, int64_t channels, S* out, int64_t out_stride);           \
  template <class S>                                                                     \
  void differentiate_gate(Activation, S gain, const S* x, int64_t stride,                \
                          const S* gates, const S* bar, int64_t bar_stride,              \
                          int64_t components, int64_t channels, S* x_bar, bool add_x,    \
                          S* gates_bar, bool add_gates);                                 \
  template <class S>                                                                     \
  void gate_tangents(Activation, S gain, const GateOperands<S>& at,                      \
                     const GateOperands<S>& dot, const GateShape&, S* out_dot);          \
  template <class S>                                                                     \
  void differentiate_gate_tangents(                                                      \
      Activation, S gain, const GateOperands<S>& at, const GateOperands<S>& dot,         \
      const GateShape&, S* x_bar_dot, bool add_x, S* gates_bar_dot, bool add_gates);     \
                                                                                         \
  /* Root of the weighted sum of squares of rows: out = factors * x / sqrt(s + epsilon),  \
     where s is the sum of weights * x^2. If `centered`, the mean is subtracted before;  \
     weights are then equal where they are not zero, and sum to one. */                  \
  template <class S>                                                                     \
  void normalize(const S* weights, const S* factors, S epsilon, bool centered,           \
                 const S* x, int64_t width, S* out);                                     \
  template <class S>                                                                     \
  void differentiate_norm(const S* weights, const S* factors, S epsilon, bool centered,  \
                          const S* x, const S* bar, int64_t width, S* x_bar);            \
                                                                                         \
  /* out = sum of the squares of components, which are `stride` apart in x. */           \
  template <class S>                                                                     \
  void squares(const S* x, int64_t stride, int64_t components, int64_t channels, S* out); \
  template <class S>                                                                     \
  void differentiate_squares(const S* x, int64_t stride, const S* bar,                   \
                             int64_t components, int64_t channels, S* x_bar, bool add);  \
                                                                                         \
  /* to (+)= factors * from. */                                                          \
  template <class S>                                                                     \
  void multiplied(const S* factors, const S* from, int64_t width, S* to, bool add);      \
                                                                                         \
  template <class S>                                                                     \
  void normalize_tangents(const S* weights, const S* factors, S epsilon, const S* x,     \
                          const S* x_dot, int64_t width, S* out_dot);                    \
  template <class S>                                                                     \
  void differentiate_norm_tangents(                                                      \
      const S* weights, const S* factors, S epsilon, const S* x, const S* x_dot,         \
      const S* bar, const S* bar_dot, int64_t width, S* x_bar_dot);                      \
                                                                                         \
  /* out[r] (+)= sum of m[q, r] * x[q] over q for rows of channels; rows of m are        \
     strides apart. */                                                                   \
  template <class S>                                                                     \
  void multiply_rows(const S* m, int64_t stride_in, int64_t stride_out, const S* x,      \
                     int64_t rows_in, int64_t rows_out, int64_t channels, S* out,        \
                     bool add);                                                          \
                                                                                         \
  /* to (+)= factor * from. */                                                           \
  template <class S>                                                                     \
  void scaled(S factor, const S* from, int64_t width, S* to, bool add);                  \
  template <class S>                                                                     \
  double dot(const S* a, const S* b, int64_t width);                                     \
  }
EQUIPOT_FOR_EACH_ISA(EQUIPOT_PROGRAM)
#undef EQUIPOT_PROGRAM

}  // namespace equipot
