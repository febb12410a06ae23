// What the kernels of harmonics are given. Formulas are those of
// equipot/ops/solid_harmonics.py.
#pragma once

#include <cstdint>

#include "isa.h"

namespace equipot {

// Derivatives of harmonics, dY_row / dn_axis = sum of value * Y_column over entries.
struct HarmonicEntry {
  int32_t row, axis, column;
};

template <class S>
struct Harmonics {
  const HarmonicEntry* entries;  // rows ascend, each column is of one degree less
  const S* values;
  int64_t num_entries;
  int32_t components;  // (lmax + 1)^2
  // Of edges: n, t and n_bar have three components, the others all. Those that an op
  // does not have are null.
  const S *n, *g, *t;
  S *y, *n_bar, *g_bar;
};

#define EQUIPOT_HARMONICS(ISA)                                                         \
  namespace ISA {                                                                      \
  /* Scalars of scratch space that a range of edges needs. */                          \
  template <class S>                                                                   \
  int64_t harmonics_scratch(const Harmonics<S>&);                                      \
                                                                                       \
  /* Results of the edges from first up to last. */                                    \
  template <class S>                                                                   \
  void harmonics(const Harmonics<S>&, int64_t first, int64_t last, S* scratch);        \
  }
EQUIPOT_FOR_EACH_ISA(EQUIPOT_HARMONICS)
#undef EQUIPOT_HARMONICS

}  // namespace equipot
