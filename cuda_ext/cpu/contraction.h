// Arguments of the kernels of the contraction. For the formulas see
// equipot/ops/contraction.py.
#pragma once

#include <cstdint>

#include "isa.h"

namespace equipot {

template <class S>
struct Contraction {
  int64_t components;      // monomials of one factor, the first ones
  int64_t num_monomials;   // all, ascending by number of factors
  int64_t num_stored;      // those that can be parents: all but those of most factors
  int64_t num_terms;
  int64_t num_outputs;
  const int64_t *parents, *factors;  // of each monomial; not used for components
  const int64_t* first_term;         // of each monomial, and num_terms
  const int64_t* outputs;            // component of the result of each term
  // Arrays [nodes, components or num_outputs, stride] and, for coefficients, [rows,
  // num_terms, stride], where the stride is the number of channels rounded up to whole
  // vectors. Operands and results that an op does not have are null.
  int64_t stride;
  const S *x, *a, *g, *x_dot, *a_dot;
  S *out, *x_bar, *a_bar, *g_bar;  // a_bar is zero before
  // If given, x_bar is the tangent of the derivative with respect to x, of which g and x
  // have the tangents g_dot and x_dot, and a is constant.
  const S* g_dot;
};

#define EQUIPOT_CONTRACTION(ISA)                                                       \
  namespace ISA {                                                                      \
  /* Number of channels rounded up to whole vectors. */                                \
  template <class S>                                                                   \
  int64_t contraction_stride(int64_t channels);                                        \
                                                                                       \
  /* Number of scalars of scratch space per call of `contraction`. */                  \
  template <class S>                                                                   \
  int64_t contraction_scratch(const Contraction<S>&);                                  \
                                                                                       \
  /* Results of the nodes order[first], ..., order[last - 1], which have the given row \
     of coefficients, for one vector of channels. */                                   \
  template <class S>                                                                   \
  void contraction(const Contraction<S>&, const int64_t* order, int64_t first,         \
                   int64_t last, int64_t row, int64_t vector, S* scratch);             \
  }
EQUIPOT_FOR_EACH_ISA(EQUIPOT_CONTRACTION)
#undef EQUIPOT_CONTRACTION

}  // namespace equipot
