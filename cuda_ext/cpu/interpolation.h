// Arguments of the interpolation kernels. For the formulas see
// equipot/ops/interpolation.py.
#pragma once

#include <cstdint>

#include "isa.h"

namespace equipot {

// Number of B-splines that do not vanish at a point.
constexpr int kTerms = 6;

template <class S>
struct Interpolation {
  int64_t edges, rows, columns;
  const int64_t* first;  // first row of each edge, [edges]
  const S* basis;        // [edges, kTerms]
  const S* table;        // [rows, columns]
  const S* g;            // [edges, columns]
  S* out;                // shape of one of the arrays above
};

#define EQUIPOT_INTERPOLATION(ISA)                                                     \
  namespace ISA {                                                                      \
  /* Values of edges first to last - 1: sums of basis functions times rows. */         \
  template <class S>                                                                   \
  void interpolate(const Interpolation<S>&, int64_t first, int64_t last);              \
                                                                                       \
  /* Gradient of the basis functions of edges first to last - 1. */                    \
  template <class S>                                                                   \
  void interpolate_basis(const Interpolation<S>&, int64_t first, int64_t last);        \
                                                                                       \
  /* Gradient of columns first to last - 1 of the table, which is zero before. */      \
  template <class S>                                                                   \
  void interpolate_table(const Interpolation<S>&, int64_t first, int64_t last);        \
  }
EQUIPOT_FOR_EACH_ISA(EQUIPOT_INTERPOLATION)
#undef EQUIPOT_INTERPOLATION

}  // namespace equipot
