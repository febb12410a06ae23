// Products of 3x3 matrices as node features, one matrix per channel.
//
// A matrix has nine components in an orthonormal basis, rows of channels: the trace, the
// antisymmetric part, and the symmetric traceless part, the latter two like the harmonics
// of degrees 1 and 2 (see equipot.so3).
#pragma once

#include <cstdint>

#include "isa.h"

namespace equipot {

constexpr int64_t kMatrixComponents = 9;

#define EQUIPOT_MATRICES(ISA)                                                            \
  namespace ISA {                                                                        \
  /* out (+)= gain * (x y + y x) for the matrices of a node. */                          \
  template <class S>                                                                     \
  void matrix_product(S gain, const S* x, const S* y, int64_t channels, S* out,          \
                      bool add);                                                         \
  /* Derivatives with respect to both operands, which may be the same if both are        \
     added to. */                                                                        \
  template <class S>                                                                     \
  void differentiate_matrix_product(S gain, const S* x, const S* y, const S* bar,        \
                                    int64_t channels, S* x_bar, bool add_x, S* y_bar,    \
                                    bool add_y);                                         \
  }
EQUIPOT_FOR_EACH_ISA(EQUIPOT_MATRICES)
#undef EQUIPOT_MATRICES

}  // namespace equipot
