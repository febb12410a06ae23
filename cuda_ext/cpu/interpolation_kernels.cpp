// Interpolation in a table by B-splines, with SIMD over the columns of the table. The
// rows of a table fit into the L2 cache.
#include "interpolation.h"
#include "simd.h"

namespace equipot {
namespace EQUIPOT_ISA {

template <class S>
void interpolate(const Interpolation<S>& p, int64_t first, int64_t last) {
  constexpr int n = kLanes<S>;
  for (int64_t edge = first; edge < last; ++edge) {
    const S* basis = p.basis + edge * kTerms;
    const S* rows = p.table + p.first[edge] * p.columns;
    S* out = p.out + edge * p.columns;
    int64_t column = 0;
    for (; column + n <= p.columns; column += n) {
      Vector<S> sum{};
      EQUIPOT_UNROLL
      for (int j = 0; j < kTerms; ++j) {
        sum += basis[j] * load(rows + j * p.columns + column);
      }
      store(out + column, sum);
    }
    for (; column < p.columns; ++column) {
      S sum = 0;
      for (int j = 0; j < kTerms; ++j) sum += basis[j] * rows[j * p.columns + column];
      out[column] = sum;
    }
  }
}

template <class S>
void interpolate_basis(const Interpolation<S>& p, int64_t first, int64_t last) {
  constexpr int n = kLanes<S>;
  for (int64_t edge = first; edge < last; ++edge) {
    const S* rows = p.table + p.first[edge] * p.columns;
    const S* g = p.g + edge * p.columns;
    S* out = p.out + edge * kTerms;
    Vector<S> sum[kTerms];
    EQUIPOT_UNROLL
    for (int j = 0; j < kTerms; ++j) sum[j] = Vector<S>{};
    int64_t column = 0;
    for (; column + n <= p.columns; column += n) {
      const Vector<S> factor = load(g + column);
      EQUIPOT_UNROLL
      for (int j = 0; j < kTerms; ++j) {
        sum[j] += factor * load(rows + j * p.columns + column);
      }
    }
    store_sums<S>(out, sum);
    for (; column < p.columns; ++column) {
      for (int j = 0; j < kTerms; ++j) out[j] += g[column] * rows[j * p.columns + column];
    }
  }
}

template <class S>
void interpolate_table(const Interpolation<S>& p, int64_t first, int64_t last) {
  constexpr int n = kLanes<S>;
  for (int64_t edge = 0; edge < p.edges; ++edge) {
    const S* basis = p.basis + edge * kTerms;
    const S* g = p.g + edge * p.columns;
    S* rows = p.out + p.first[edge] * p.columns;
    int64_t column = first;
    for (; column + n <= last; column += n) {
      const Vector<S> factor = load(g + column);
      EQUIPOT_UNROLL
      for (int j = 0; j < kTerms; ++j) {
        S* to = rows + j * p.columns + column;
        store(to, load(to) + basis[j] * factor);
      }
    }
    for (; column < last; ++column) {
      for (int j = 0; j < kTerms; ++j) rows[j * p.columns + column] += basis[j] * g[column];
    }
  }
}

#define EQUIPOT_INSTANTIATE(S)                                                  \
  template void interpolate(const Interpolation<S>&, int64_t, int64_t);         \
  template void interpolate_basis(const Interpolation<S>&, int64_t, int64_t);   \
  template void interpolate_table(const Interpolation<S>&, int64_t, int64_t);
EQUIPOT_INSTANTIATE(float)
EQUIPOT_INSTANTIATE(double)

}  // namespace EQUIPOT_ISA
}  // namespace equipot
