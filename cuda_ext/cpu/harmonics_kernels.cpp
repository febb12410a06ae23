// Solid harmonics of directions and their derivatives, with SIMD over edges.
//
// Solid harmonics are homogeneous polynomials whose derivatives are solid harmonics of
// one degree less. Euler's theorem gives the recurrence l Y^l = sum_a n_a dY^l / dn_a.
#include "edge_block.h"
#include "harmonics.h"
#include "padding.h"

namespace equipot {
namespace EQUIPOT_ISA {
namespace {

// Scatters vectors to rows of `to`, an array [edges, components]: vector j holds
// component j of all edges of the block.
template <class S>
void write(const EdgeBlock<S>& block, const S* from, int components, S* to) {
  for (int e = 0; e < block.count; ++e) {
    for (int j = 0; j < components; ++j) {
      to[block.edges[e] * components + j] = from[j * kLanes<S> + e];
    }
  }
}

template <class S>
void set_zero(S* to, int components) {
  for (int n = 0; n < components * kLanes<S>; ++n) to[n] = 0;
}

// Adds value * a_i * b_j to out_k for all entries; `of` maps an entry to the indices (i,
// j, k).
template <class S, class Order>
void add_products(const Harmonics<S>& h, const S* a, const S* b, S* out, Order of) {
  for (int64_t q = 0; q < h.num_entries; ++q) {
    const auto [i, j, k] = of(h.entries[q]);
    S* to = out + k * kLanes<S>;
    store(to, load(to) + h.values[q] * load(a + i * kLanes<S>) * load(b + j * kLanes<S>));
  }
}

struct Places {
  int32_t i, j, k;
};

template <class S>
void make_harmonics(const Harmonics<S>& h, const S* n, S* y) {
  set_zero(y, h.components);
  for (int e = 0; e < kLanes<S>; ++e) y[e] = 1;
  int32_t degree = 1;
  const auto divide = [&](int32_t l) {
    for (int32_t j = l * l; j < (l + 1) * (l + 1); ++j) {
      store(y + j * kLanes<S>, load(y + j * kLanes<S>) / static_cast<S>(l));
    }
  };
  for (int64_t q = 0; q < h.num_entries; ++q) {
    const HarmonicEntry& entry = h.entries[q];
    if (entry.row >= (degree + 1) * (degree + 1)) divide(degree++);
    S* to = y + entry.row * kLanes<S>;
    store(to, load(to) + h.values[q] * load(n + entry.axis * kLanes<S>) *
                             load(y + entry.column * kLanes<S>));
  }
  divide(degree);
}

}  // namespace

template <class S>
int64_t harmonics_scratch(const Harmonics<S>& h) {
  return kLanes<S> * (3 * 3 + 4 * static_cast<int64_t>(h.components));
}

template <class S>
void harmonics(const Harmonics<S>& h, int64_t first, int64_t last, S* scratch) {
  Parts<S> parts(scratch);
  const auto take = [&](int components) { return parts.take(kLanes<S> * components); };
  S *n = take(3), *t = take(3), *n_bar = take(3);
  S *y = take(h.components), *g = take(h.components);
  S *g_bar = take(h.components), *y_bar = take(h.components);
  for (int64_t edge = first; edge < last; edge += kLanes<S>) {
    const auto block = EdgeBlock<S>::of(edge, last);
    block.read(h.n, 3, n);
    make_harmonics(h, n, y);
    if (h.y != nullptr) {
      write(block, y, h.components, h.y);
      continue;
    }
    block.read(h.g, h.components, g);
    set_zero(n_bar, 3);
    const S* of_n = g;
    if (h.t != nullptr) {
      block.read(h.t, 3, t);
      set_zero(g_bar, h.components);
      set_zero(y_bar, h.components);
      add_products<S>(h, t, y, g_bar, [](const HarmonicEntry& entry) {
        return Places{entry.axis, entry.column, entry.row};
      });
      add_products<S>(h, t, g, y_bar, [](const HarmonicEntry& entry) {
        return Places{entry.axis, entry.row, entry.column};
      });
      write(block, g_bar, h.components, h.g_bar);
      of_n = y_bar;
    }
    add_products<S>(h, of_n, y, n_bar, [](const HarmonicEntry& entry) {
      return Places{entry.row, entry.column, entry.axis};
    });
    write(block, n_bar, 3, h.n_bar);
  }
}

#define EQUIPOT_INSTANTIATE(S)                             \
  template int64_t harmonics_scratch(const Harmonics<S>&); \
  template void harmonics(const Harmonics<S>&, int64_t, int64_t, S*);
EQUIPOT_INSTANTIATE(float)
EQUIPOT_INSTANTIATE(double)

}  // namespace EQUIPOT_ISA
}  // namespace equipot
