// Rotation of features to the edge frame, in which the edge points along y, and back.
//
// The rotation R_x(-b) R_y(-a) maps the direction (sin b sin a, cos b, sin b cos a) to y.
// R_y(-a) mixes components m and -m, R_x(-b) mixes components with equal sign of m, which
// takes half as many multiplications as a full matrix. The row of an edge in `rotations`
// holds, for degrees l = 1, 2, ...:
//
//   cos(l a), sin(l a),
//   P^l: D^l_{m k}(R_x(-b)) for m and k from 0 to l,
//   N^l: D^l_{-m -k}(R_x(-b)) for m and k from 1 to l.
#pragma once

#include "so2_pack.h"

namespace equipot {
namespace EQUIPOT_ISA {
namespace {

// Offset of degree l in a row of `rotations`.
constexpr int rotation_start(int l) {
  int start = 0;
  for (int k = 1; k < l; ++k) start += 2 + 2 * k * k + 2 * k + 1;
  return start;
}

// Applies R_y(-a), or R_y(a) if sign is -1, in place. Component m of degree l is a[l +
// m].
template <int l, class S, int N>
EQUIPOT_INLINE void turn(const S* rotation, S sign, Pack<S, N>* a) {
  EQUIPOT_UNROLL
  for (int m = 1; m <= l; ++m) {
    const S cosine = rotation[rotation_start(m)];
    const S sine = sign * rotation[rotation_start(m) + 1];
    const Pack<S, N> plus = a[l + m], minus = a[l - m];
    a[l + m] = cosine * plus + sine * minus;
    a[l - m] = cosine * minus - sine * plus;
  }
}

// result[m * kStep] = sum_k block[m, k] a[k * kStep] for 0 <= m, k < kSize; uses block[k,
// m] if kTranspose.
template <int kSize, int kStep, bool kTranspose, class S, int N>
EQUIPOT_INLINE void apply_block(const S* block, const Pack<S, N>* a, Pack<S, N>* result) {
  Pack<S, N> sum[kSize];
  EQUIPOT_UNROLL
  for (int k = 0; k < kSize; ++k) {
    const Pack<S, N> value = a[k * kStep];
    EQUIPOT_UNROLL
    for (int m = 0; m < kSize; ++m) {
      const S factor = block[kTranspose ? k * kSize + m : m * kSize + k];
      if (k == 0) {
        sum[m] = factor * value;
      } else {
        sum[m] += factor * value;
      }
    }
  }
  EQUIPOT_UNROLL
  for (int m = 0; m < kSize; ++m) result[m * kStep] = sum[m];
}

// Applies R_x(-b), or its inverse R_x(b) if kTranspose.
template <int l, bool kTranspose, class S, int N>
EQUIPOT_INLINE void tip(const S* rotation, const Pack<S, N>* a, Pack<S, N>* result) {
  const S* block = rotation + rotation_start(l) + 2;
  apply_block<l + 1, 1, kTranspose>(block, a + l, result + l);
  block += (l + 1) * (l + 1);
  apply_block<l, -1, kTranspose>(block, a + l - 1, result + l - 1);
}

// Rotates components of degree l to the edge frame. `rows` holds 2 l + 1 rows of channels
// with the given stride; consecutive packs of the result are `components` apart.
template <int l, class S, int N>
EQUIPOT_NOINLINE void to_frame(const S* rotation, const S* rows, int64_t stride, int packs,
                               int components, Pack<S, N>* result) {
  for (int pack = 0; pack < packs; ++pack) {
    Pack<S, N> a[2 * l + 1];
    EQUIPOT_UNROLL
    for (int m = 0; m < 2 * l + 1; ++m) a[m] = load_pack<S, N>(rows + m * stride);
    if constexpr (l == 0) {
      result[0] = a[0];
    } else {
      turn<l>(rotation, S(1), a);
      tip<l, false>(rotation, a, result);
    }
    rows += N * kLanes<S>;
    result += components;
  }
}

// Rotates components of degree l from the edge frame back and adds them to rows.
template <int l, class S, int N>
EQUIPOT_NOINLINE void add_from_frame(const S* rotation, const Pack<S, N>* components_of_l,
                                     int packs, int components, S* rows, int64_t stride) {
  const Pack<S, N>* in_frame = components_of_l;
  for (int pack = 0; pack < packs; ++pack) {
    Pack<S, N> a[2 * l + 1];
    if constexpr (l == 0) {
      a[0] = in_frame[0];
    } else {
      tip<l, true>(rotation, in_frame, a);
      turn<l>(rotation, S(-1), a);
    }
    EQUIPOT_UNROLL
    for (int m = 0; m < 2 * l + 1; ++m) {
      a[m] += load_pack<S, N>(rows + m * stride);
      store_pack<S, N>(rows + m * stride, a[m]);
    }
    rows += N * kLanes<S>;
    in_frame += components;
  }
}

// Overloads of to_frame and add_from_frame that process all degrees up to lmax.
template <class S, int N>
void to_frame(int lmax, const S* rotation, const S* rows, int64_t stride, int packs,
              Pack<S, N>* result) {
  const int components = (lmax + 1) * (lmax + 1);
  for (int degree = 0; degree <= lmax; ++degree) {
    with_degree(degree, [&](auto l) {
      to_frame<l, S, N>(rotation, rows + l * l * stride, stride, packs, components,
                        result + l * l);
    });
  }
}

template <class S, int N>
void add_from_frame(int lmax, const S* rotation, const Pack<S, N>* in_frame, int packs,
                    S* rows, int64_t stride) {
  const int components = (lmax + 1) * (lmax + 1);
  for (int degree = 0; degree <= lmax; ++degree) {
    with_degree(degree, [&](auto l) {
      add_from_frame<l, S, N>(rotation, in_frame + l * l, packs, components,
                              rows + l * l * stride, stride);
    });
  }
}

// Components x and z of a vector in the edge frame; the edge is along y.
template <class S>
struct Horizontal {
  S x, z;
};

// Rotates a vector to the edge frame and drops the component along y. Precondition: lmax
// of the rotations is at least 1.
template <class S>
Horizontal<S> vector_to_frame(const S* rotation, const S* vector) {
  const S cos_a = rotation[0], sin_a = rotation[1], cos_b = rotation[2], sin_b = rotation[3];
  const S along = sin_a * vector[0] + cos_a * vector[2];
  return {cos_a * vector[0] - sin_a * vector[2], cos_b * along - sin_b * vector[1]};
}

// Inverse of vector_to_frame for vectors perpendicular to the edge.
template <class S>
void vector_from_frame(const S* rotation, const Horizontal<S>& vector, S* result) {
  const S cos_a = rotation[0], sin_a = rotation[1], cos_b = rotation[2], sin_b = rotation[3];
  const S along = cos_b * vector.z;
  result[0] = cos_a * vector.x + sin_a * along;
  result[1] = -sin_b * vector.z;
  result[2] = cos_a * along - sin_a * vector.x;
}

}  // namespace
}  // namespace EQUIPOT_ISA
}  // namespace equipot
