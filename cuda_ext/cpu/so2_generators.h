// Infinitesimal rotations about the axes x and z of the frame of an edge.
//
// With c_m = sqrt(l(l + 1) - m(m + 1)) / 2 for m > 0 and c_0 = sqrt(l(l + 1) / 2), the
// generators of degree l, antisymmetric, have for m >= 0 (and -m only where m > 0)
//
//   J_x: (m + 1, m) and (-m - 1, -m) = c_m,    J_z: (m, -m - 1) and (m + 1, -m) = c_m.
#pragma once

#include "so2_pack.h"

namespace equipot {
namespace EQUIPOT_ISA {
namespace {

constexpr double square_root(double value) {
  double root = value > 1 ? value : 1;
  for (int n = 0; n < 50; ++n) root = (root + value / root) / 2;
  return root;
}

// c_m of degree l at l(l - 1)/2 + m.
template <class S>
struct Ladder {
  S values[21];
  constexpr Ladder() : values() {
    for (int l = 1; l <= 6; ++l) {
      for (int m = 0; m < l; ++m) {
        const double square = (l * (l + 1) - m * (m + 1)) * (m == 0 ? 0.5 : 0.25);
        values[l * (l - 1) / 2 + m] = static_cast<S>(square_root(square));
      }
    }
  }
};
template <class S>
constexpr Ladder<S> kLadder{};

// Sums over channels and components of h J_x v and h J_z v, lane by lane.
template <class S, int N>
struct Torque {
  Pack<S, N> x, z;
};

// Adds those of degree l; h and v point at m = 0 of it.
template <int l, class S, int N>
EQUIPOT_NOINLINE void add_torque(int packs, int components, const Pack<S, N>* h,
                                 const Pack<S, N>* v, Torque<S, N>& torque) {
  const S* c = kLadder<S>.values + l * (l - 1) / 2;
  Pack<S, N> x = torque.x, z = torque.z;
  for (int pack = 0; pack < packs; ++pack) {
    EQUIPOT_UNROLL
    for (int m = 0; m < l; ++m) {
      const int next = m + 1;
      Pack<S, N> about_x = h[next] * v[m] - h[m] * v[next];
      Pack<S, N> about_z = h[m] * v[-next] - h[-next] * v[m];
      if (m > 0) {
        about_x += h[-next] * v[-m] - h[-m] * v[-next];
        about_z += h[next] * v[-m] - h[-m] * v[next];
      }
      x += c[m] * about_x;
      z += c[m] * about_z;
    }
    h += components;
    v += components;
  }
  torque.x = x;
  torque.z = z;
}

// Adds (angle.x J_x + angle.z J_z) v to result, for degree l.
template <int l, class S, int N>
EQUIPOT_NOINLINE void add_tilted(int packs, int components, S angle_x, S angle_z,
                                 const Pack<S, N>* v, Pack<S, N>* result) {
  S x[l], z[l];
  for (int m = 0; m < l; ++m) {
    x[m] = angle_x * kLadder<S>.values[l * (l - 1) / 2 + m];
    z[m] = angle_z * kLadder<S>.values[l * (l - 1) / 2 + m];
  }
  for (int pack = 0; pack < packs; ++pack) {
    EQUIPOT_UNROLL
    for (int m = 0; m <= l; ++m) {
      Pack<S, N> plus = result[m], minus = result[-m];
      if (m < l) {
        plus += z[m] * v[-m - 1] - x[m] * v[m + 1];
        minus -= x[m] * v[-m - 1] + z[m] * v[m + 1];
      }
      if (m > 0) {
        plus += x[m - 1] * v[m - 1];
        minus -= z[m - 1] * v[m - 1];
      }
      if (m > 1) {
        plus += z[m - 1] * v[1 - m];
        minus += x[m - 1] * v[1 - m];
      }
      if (m > 0) result[-m] = minus;
      result[m] = plus;
    }
    v += components;
    result += components;
  }
}

// The same for all degrees up to lmax.
template <class S, int N>
void add_torque(int lmax, int packs, const Pack<S, N>* h, const Pack<S, N>* v,
                Torque<S, N>& torque) {
  const int components = (lmax + 1) * (lmax + 1);
  for (int degree = 1; degree <= lmax; ++degree) {
    with_degree(degree, [&](auto l) {
      if constexpr (l > 0) {
        const int middle = l * l + l;
        add_torque<l, S, N>(packs, components, h + middle, v + middle, torque);
      }
    });
  }
}

template <class S, int N>
void add_tilted(int lmax, int packs, S angle_x, S angle_z, const Pack<S, N>* v,
                Pack<S, N>* result) {
  const int components = (lmax + 1) * (lmax + 1);
  for (int degree = 1; degree <= lmax; ++degree) {
    with_degree(degree, [&](auto l) {
      if constexpr (l > 0) {
        const int middle = l * l + l;
        add_tilted<l, S, N>(packs, components, angle_x, angle_z, v + middle,
                            result + middle);
      }
    });
  }
}

}  // namespace
}  // namespace EQUIPOT_ISA
}  // namespace equipot
