// Arguments of the kernels of solid harmonics. For the formulas see
// equipot/ops/solid_harmonics.py.
#pragma once

#include <cstdint>

#include "isa.h"

namespace equipot {

// Sparse derivative of the harmonics: dY_row / dn_axis is the sum of value * Y_column
// over all entries with this row and axis.
struct HarmonicEntry {
  int32_t row, axis, column;
};

template <class S>
struct Harmonics {
  const HarmonicEntry* entries;  // by ascending row; the column is of one degree less
  const S* values;
  int64_t num_entries;
  int32_t components;  // (lmax + 1)^2
  // Arrays per edge: n, t and n_bar have shape [edges, 3], the others [edges,
  // components]. Operands and results that an op does not have are null.
  const S *n, *g, *t;
  S *y, *n_bar, *g_bar;
};

#define EQUIPOT_HARMONICS(ISA)                                                         \
  namespace ISA {                                                                      \
  /* Number of scalars of scratch space per call of `harmonics`. */                    \
  template <class S>                                                                   \
  int64_t harmonics_scratch(const Harmonics<S>&);                                      \
                                                                                       \
  /* Results of edges first to last - 1. */                                            \
  template <class S>                                                                   \
  void harmonics(const Harmonics<S>&, int64_t first, int64_t last, S* scratch);        \
  }
EQUIPOT_FOR_EACH_ISA(EQUIPOT_HARMONICS)
#undef EQUIPOT_HARMONICS

}  // namespace equipot
