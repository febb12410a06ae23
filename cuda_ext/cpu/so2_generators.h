// Generators of rotations about the x and z axes of the edge frame.
//
// With c_m = sqrt(l(l + 1) - m(m + 1)) / 2 for m > 0 and c_0 = sqrt(l(l + 1) / 2), the
// antisymmetric generators of degree l have, for m >= 0 (elements with -m only for m >
// 0), the elements
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

// Table of c_m: the value of degree l is at l(l - 1)/2 + m.
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

// Sums of h J_x v and h J_z v over components and channels; lanes are not yet summed.
template <class S, int N>
struct Torque {
  Pack<S, N> x, z;
};

// Adds the contribution of degree l; h and v point to its component m = 0.
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

// Adds (angle_x J_x + angle_z J_z) v to result, for degree l; v and result point to its
// component m = 0.
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

// Overloads of add_torque and add_tilted that process all degrees up to lmax.
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
