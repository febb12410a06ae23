// Rotations to edge frames, with SIMD over edges. Computed in double precision.
//
// With c = cos b the blocks P^l and N^l of so2_frame.h satisfy, for 0 <= m, k <= l,
//
//   P^{l+1} = A c P^l - B N^l - C P^{l-1},    N^{l+1} = A c N^l - B P^l - C N^{l-1},
//
// the recurrence of the Wigner d-matrices in l. The initial values are d^l_{l k} and
// d^l_{m l}.
#include "simd.h"
#include "so2.h"

namespace equipot {
namespace EQUIPOT_ISA {
namespace {

using Doubles = Vector<double>;
constexpr int kEdges = kLanes<double>;

// Angles of a block of edges: rotation by a about y, then by b about x.
struct Angles {
  Doubles cos_a, sin_a, cos_b, sin_b;
};

// Along y the angle a is undetermined and set to zero; results must not depend on it.
template <class S>
Angles angles_of(const S* directions, const int64_t (&edges)[kEdges]) {
  Angles angles;
  for (int n = 0; n < kEdges; ++n) {
    const S* direction = directions + 3 * edges[n];
    const double x = direction[0], y = direction[1], z = direction[2];
    const double across = __builtin_sqrt(x * x + z * z);
    const double length = __builtin_sqrt(x * x + y * y + z * z);
    angles.cos_a[n] = across > 0 ? z / across : 1;
    angles.sin_a[n] = across > 0 ? x / across : 0;
    angles.cos_b[n] = y / length;
    angles.sin_b[n] = across / length;
  }
  return angles;
}

// Blocks P and N of one degree; element (m, k) is at m * (lmax + 1) + k.
struct Blocks {
  Doubles *p, *n;
};

// Sets row l and column l of the blocks of degree l.
void start(const RotationRecurrence& recurrence, int l, const Angles& angles,
           const Blocks& blocks) {
  const int size = recurrence.lmax + 1;
  const Doubles plus = (1 + angles.cos_b) / 2, minus = (1 - angles.cos_b) / 2;
  Doubles power_plus = plus * 0 + 1, power_minus = power_plus;
  for (int m = 0; m <= l; ++m) {
    Doubles factor = recurrence.start[l * size + m] + 0 * plus;
    for (int n = m; n < l; ++n) factor *= angles.sin_b;
    const Doubles other = m % 2 == 0 ? power_minus : -power_minus;
    const double sign = (l - m) % 2 == 0 ? 1 : -1;
    const Doubles p = factor * (power_plus + other), n = factor * (power_plus - other);
    blocks.p[m * size + l] = p;
    blocks.n[m * size + l] = n;
    blocks.p[l * size + m] = sign * p;
    blocks.n[l * size + m] = sign * n;
    power_plus *= plus;
    power_minus *= minus;
  }
}

// Sets rows and columns 0, ..., l - 1 of the blocks of degree l from the blocks of
// degrees l - 1 and l - 2.
void recur(const RotationRecurrence& recurrence, int l, const Angles& angles,
           const Blocks& blocks, const Blocks& before, const Blocks& before_that) {
  const int size = recurrence.lmax + 1;
  const double* a = recurrence.a + l * size * size;
  const double* b = recurrence.b + l * size * size;
  const double* c = recurrence.c + l * size * size;
  for (int m = 0; m < l; ++m) {
    for (int k = 0; k < l; ++k) {
      const int at = m * size + k;
      const Doubles first = a[at] * angles.cos_b;
      blocks.p[at] =
          first * before.p[at] - b[at] * before.n[at] - c[at] * before_that.p[at];
      blocks.n[at] =
          first * before.n[at] - b[at] * before.p[at] - c[at] * before_that.n[at];
    }
  }
}

}  // namespace

template <class S>
void edge_rotations(const RotationRecurrence& recurrence, const S* directions,
                    int64_t first, int64_t last, S* rotations) {
  const int size = recurrence.lmax + 1;
  int64_t row = 0;
  for (int l = 1; l <= recurrence.lmax; ++l) row += 2 + 2 * l * l + 2 * l + 1;
  alignas(sizeof(Doubles)) Doubles memory[3][2][(kMaxDegree + 1) * (kMaxDegree + 1)] = {};
  for (int64_t edge = first; edge < last; edge += kEdges) {
    int64_t edges[kEdges];
    for (int n = 0; n < kEdges; ++n) edges[n] = edge + n < last ? edge + n : last - 1;
    const Angles angles = angles_of(directions, edges);
    int64_t place = 0;
    const auto write = [&](const Doubles& values) {
      for (int n = 0; n < kEdges; ++n) {
        rotations[edges[n] * row + place] = static_cast<S>(values[n]);
      }
      ++place;
    };
    Doubles cos_la = angles.cos_a, sin_la = angles.sin_a;
    memory[0][0][0] = angles.cos_a * 0 + 1;
    memory[2][0][0] = angles.cos_a * 0;
    for (int l = 1; l <= recurrence.lmax; ++l) {
      const auto blocks_of = [&](int degree) {
        return Blocks{memory[(degree + 3) % 3][0], memory[(degree + 3) % 3][1]};
      };
      const Blocks blocks = blocks_of(l);
      recur(recurrence, l, angles, blocks, blocks_of(l - 1), blocks_of(l - 2));
      start(recurrence, l, angles, blocks);
      write(cos_la);
      write(sin_la);
      for (int m = 0; m <= l; ++m) {
        for (int k = 0; k <= l; ++k) write(blocks.p[m * size + k]);
      }
      for (int m = 1; m <= l; ++m) {
        for (int k = 1; k <= l; ++k) write(blocks.n[m * size + k]);
      }
      const Doubles cosine = cos_la * angles.cos_a - sin_la * angles.sin_a;
      sin_la = sin_la * angles.cos_a + cos_la * angles.sin_a;
      cos_la = cosine;
    }
  }
}

template void edge_rotations(const RotationRecurrence&, const float*, int64_t, int64_t,
                             float*);
template void edge_rotations(const RotationRecurrence&, const double*, int64_t, int64_t,
                             double*);

}  // namespace EQUIPOT_ISA
}  // namespace equipot
