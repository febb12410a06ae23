// Energies that are functions of the lengths of edges, without features.
#pragma once

#include <algorithm>
#include <cmath>

#include "program_edges.h"

namespace equipot {

// Energy of the number of neighbors: -shift * (exp(-n_i) - 1), where n_i is the sum of the
// polynomial envelope over the edges of atom i.
struct Coordination {
  double shift, cutoff;
  int power;

  // Adds energies and, unless `length_bar` is null, derivatives.
  void add(const Edges& edges, int64_t first, int64_t last, double* energies,
           double* length_bar) const {
    const double p = power, a = -(p + 1) * (p + 2) / 2, b = p * (p + 2), c = -p * (p + 1) / 2;
    for (int64_t node = first; node < last; ++node) {
      double count = 0;
      for (int64_t e = edges.pointers[node]; e < edges.pointers[node + 1]; ++e) {
        const double x = std::min(edges.lengths[e] / cutoff, 1.0);
        count += 1 + std::pow(x, power) * (a + x * (b + x * c));
      }
      energies[node] -= shift * std::expm1(-count);
      if (length_bar == nullptr) continue;
      const double factor = shift * std::exp(-count) / cutoff;
      for (int64_t e = edges.pointers[node]; e < edges.pointers[node + 1]; ++e) {
        const double x = std::min(edges.lengths[e] / cutoff, 1.0);
        length_bar[e] += factor * std::pow(x, power - 1) *
                         (p * a + x * ((p + 1) * b + x * (p + 2) * c));
      }
    }
  }

  // Adds tangents of the derivatives.
  void add_tangents(const Edges& edges, int64_t nodes, const double* length_dot,
                    double* length_bar_dot) const {
    const double p = power, a = -(p + 1) * (p + 2) / 2, b = p * (p + 2), c = -p * (p + 1) / 2;
    for (int64_t node = 0; node < nodes; ++node) {
      double count = 0, count_dot = 0;
      const auto for_each_edge = [&](const auto& work) {
        for (int64_t e = edges.pointers[node]; e < edges.pointers[node + 1]; ++e) {
          const double x = std::min(edges.lengths[e] / cutoff, 1.0);
          const double below = std::pow(x, power - 2), to_power = below * x;
          work(e, 1 + to_power * x * (a + x * (b + x * c)),
               to_power * (p * a + x * ((p + 1) * b + x * (p + 2) * c)) / cutoff,
               below *
                   (p * (p - 1) * a + x * ((p + 1) * p * b + x * (p + 2) * (p + 1) * c)) /
                   (cutoff * cutoff));
        }
      };
      for_each_edge([&](int64_t e, double value, double slope, double) {
        count += value;
        count_dot += slope * length_dot[e];
      });
      const double factor = shift * std::exp(-count);
      for_each_edge([&](int64_t e, double, double slope, double curvature) {
        length_bar_dot[e] += factor * (curvature * length_dot[e] - slope * count_dot);
      });
    }
  }
};

// Energies of pairs of atoms as functions of their distance, half of which belongs to each
// atom. They are in double precision: repulsions may be large.
struct PairEnergies {
  static constexpr int64_t kColumns = kRowBytes / static_cast<int64_t>(sizeof(double));

  template <class P>
  explicit PairEnergies(P& p) : table(p, kColumns) {}

  // Adds the energies of atoms and, unless the pointers are null, first and second
  // derivatives.
  void add(const Edges& edges, int64_t first, int64_t last, double* energies,
           double* length_bar, double* length_bend) const {
    alignas(64) double values[kColumns], slopes[kColumns], curvatures[kColumns];
    const auto kernel = EQUIPOT_SELECT(curved_splines<double>);
    const double reach = table.segments.back().stop;
    for (int64_t node = first; node < last; ++node) {
      for (int64_t e = edges.pointers[node]; e < edges.pointers[node + 1]; ++e) {
        if (edges.lengths[e] >= reach) continue;
        kernel(table.spline, edges, e, e + 1, values, slopes, curvatures);
        energies[node] += values[0];
        if (length_bar != nullptr) length_bar[e] += slopes[0];
        if (length_bend != nullptr) length_bend[e] += curvatures[0];
      }
    }
  }

  SplineTable<double> table;
};

}  // namespace equipot
