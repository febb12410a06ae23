// Convolution in the edge frame, which is block-diagonal in |m|.
//
// The weights w_p of the paths are combined to W^m = sum_p factors[p, m] w_p in
// registers. With k = m for paths of even sum l_in + l_filter + l_out, and k = -m for
// paths of odd sum, for which the terms of negative m change sign,
//
//   z_k = W^|m| x_m,    h_m = W^|m| g_k,    gradient of W^|m|: sum over +-m of x_m g_k.
#pragma once

#include "so2.h"
#include "so2_pack.h"

namespace equipot {
namespace EQUIPOT_ISA {
namespace {

// Arrays [packs, components] in the edge frame, with the components of all degrees.
template <class S, int N>
struct Frame {
  int inputs, outputs;         // numbers of components of features and messages
  Pack<S, N> *x, *h;           // features and their gradients
  Pack<S, N> *g, *z;           // gradients of the messages, and messages
  Pack<S, N> *x_dot, *h_dot;   // tangents
  Pack<S, N> *g_dot, *z_dot;
};

// Rows of weights of an edge, at the first channel of the first pack, and the rows of the
// next edge, which are prefetched.
template <class S>
struct WeightRows {
  const S *w, *w_next;
  const S *w_dot, *w_dot_next;  // null if zero
  S *w_bar, *w_bar_next;
  int64_t stride;

  WeightRows at(int64_t channel) const {
    WeightRows rows = *this;
    rows.w += channel;
    rows.w_next += channel;
    if (w_dot != nullptr) {
      rows.w_dot += channel;
      rows.w_dot_next += channel;
    }
    rows.w_bar += channel;
    rows.w_bar_next += channel;
    return rows;
  }
};

// Computes W^m for 0 <= m <= kMax.
template <int kMax, class S, int N>
EQUIPOT_INLINE void mixed_weights(const Mixing& mixing, const S* factors, const S* w,
                                  const S* w_next, int64_t stride,
                                  Pack<S, N> (&mixed)[kMax + 1]) {
  const int64_t step = mixing.step * stride;
  w += mixing.first * stride;
  w_next += mixing.first * stride;
  const Pack<S, N> weight = load_pack<S, N>(w);
  prefetch_pack<S, N>(w_next);
  EQUIPOT_UNROLL
  for (int m = 0; m <= kMax; ++m) mixed[m] = factors[m] * weight;
  for (int path = 1; path < mixing.count; ++path) {
    w += step;
    w_next += step;
    factors += kMax + 1;
    const Pack<S, N> another = load_pack<S, N>(w);
    prefetch_pack<S, N>(w_next);
    EQUIPOT_UNROLL
    for (int m = 0; m <= kMax; ++m) mixed[m] += factors[m] * another;
  }
}

// Computes and stores the gradients of w from the gradients of W^m.
template <int kMax, class S, int N>
EQUIPOT_INLINE void store_weight_gradients(const Mixing& mixing, const S* factors,
                                           const Pack<S, N> (&mixed)[kMax + 1], S* w_bar,
                                           S* w_bar_next, int64_t stride) {
  const int64_t step = mixing.step * stride;
  w_bar += mixing.first * stride;
  w_bar_next += mixing.first * stride;
  for (int path = 0; path < mixing.count; ++path) {
    Pack<S, N> sum = factors[0] * mixed[0];
    EQUIPOT_UNROLL
    for (int m = 1; m <= kMax; ++m) sum += factors[m] * mixed[m];
    store_pack<S, N>(w_bar, sum);
    prefetch_pack_to_write<S, N>(w_bar_next);
    w_bar += step;
    w_bar_next += step;
    factors += kMax + 1;
  }
}

// Calls body(i, k, negate) for the components of order |i| = m, where k is the order of
// the message component and `negate` whether the term changes sign.
template <bool kOdd, class Body>
EQUIPOT_INLINE void for_both_signs(int m, const Body& body) {
  if (m > 0 || !kOdd) body(m, kOdd ? -m : m, false);
  if (m > 0) body(-m, kOdd ? m : -m, kOdd);
}

template <class S, int N>
EQUIPOT_INLINE Pack<S, N> signed_pack(bool negative, const Pack<S, N>& value) {
  return negative ? Pack<S, N>{} - value : value;
}

// Adds the messages of a mixing: z_k += W^|m| x_m.
template <int kMax, bool kOdd, class S, int N>
EQUIPOT_NOINLINE void mix(const Mixing& mixing, const S* factors, const WeightRows<S>& rows,
                          int packs, const Frame<S, N>& frame) {
  const Pack<S, N>* x = frame.x + mixing.l_in * (mixing.l_in + 1);
  Pack<S, N>* z = frame.z + mixing.l_out * (mixing.l_out + 1);
  for (int pack = 0; pack < packs; ++pack) {
    const int64_t channel = pack * N * kLanes<S>;
    Pack<S, N> weights[kMax + 1];
    mixed_weights<kMax>(mixing, factors, rows.w + channel, rows.w_next + channel,
                        rows.stride, weights);
    EQUIPOT_UNROLL
    for (int m = 0; m <= kMax; ++m) {
      for_both_signs<kOdd>(m, [&](int i, int k, bool negative) __attribute__((always_inline)) {
        z[k] += signed_pack(negative, weights[m]) * x[i];
      });
    }
    x += frame.inputs;
    z += frame.outputs;
  }
}

// Adds z and h of a mixing and stores its weight gradients.
template <int kMax, bool kOdd, class S, int N>
EQUIPOT_NOINLINE void mix_backward(const Mixing& mixing, const S* factors,
                                   const WeightRows<S>& rows, int packs,
                                   const Frame<S, N>& frame) {
  const int in = mixing.l_in * (mixing.l_in + 1), out = mixing.l_out * (mixing.l_out + 1);
  const Pack<S, N>*x = frame.x + in, *g = frame.g + out;
  Pack<S, N>*h = frame.h + in, *z = frame.z + out;
  for (int pack = 0; pack < packs; ++pack) {
    const int64_t channel = pack * N * kLanes<S>;
    Pack<S, N> weights[kMax + 1];
    mixed_weights<kMax>(mixing, factors, rows.w + channel, rows.w_next + channel,
                        rows.stride, weights);
    EQUIPOT_UNROLL
    for (int m = 0; m <= kMax; ++m) {
      Pack<S, N> gradient{};
      for_both_signs<kOdd>(m, [&](int i, int k, bool negative) __attribute__((always_inline)) {
        const Pack<S, N> weight = signed_pack(negative, weights[m]);
        z[k] += weight * x[i];
        h[i] += weight * g[k];
        gradient += signed_pack(negative, x[i] * g[k]);
      });
      weights[m] = gradient;
    }
    store_weight_gradients<kMax>(mixing, factors, weights, rows.w_bar + channel,
                                 rows.w_bar_next + channel, rows.stride);
    x += frame.inputs;
    h += frame.inputs;
    g += frame.outputs;
    z += frame.outputs;
  }
}

// Adds z, h and their tangents of a mixing and stores the tangents of its weight
// gradients, x_dot g + x g_dot.
template <int kMax, bool kOdd, class S, int N>
EQUIPOT_NOINLINE void mix_double_backward(const Mixing& mixing, const S* factors,
                                          const WeightRows<S>& rows, int packs,
                                          const Frame<S, N>& frame) {
  const int in = mixing.l_in * (mixing.l_in + 1), out = mixing.l_out * (mixing.l_out + 1);
  const Pack<S, N>*x = frame.x + in, *x_dot = frame.x_dot + in;
  const Pack<S, N>*g = frame.g + out, *g_dot = frame.g_dot + out;
  Pack<S, N>*h = frame.h + in, *h_dot = frame.h_dot + in;
  Pack<S, N>*z = frame.z + out, *z_dot = frame.z_dot + out;
  for (int pack = 0; pack < packs; ++pack) {
    const int64_t channel = pack * N * kLanes<S>;
    Pack<S, N> weights[kMax + 1], weights_dot[kMax + 1] = {};
    mixed_weights<kMax>(mixing, factors, rows.w + channel, rows.w_next + channel,
                        rows.stride, weights);
    if (rows.w_dot != nullptr) {
      mixed_weights<kMax>(mixing, factors, rows.w_dot + channel,
                          rows.w_dot_next + channel, rows.stride, weights_dot);
    }
    EQUIPOT_UNROLL
    for (int m = 0; m <= kMax; ++m) {
      Pack<S, N> gradient{};
      for_both_signs<kOdd>(m, [&](int i, int k, bool negative) __attribute__((always_inline)) {
        const Pack<S, N> weight = signed_pack(negative, weights[m]);
        const Pack<S, N> weight_dot = signed_pack(negative, weights_dot[m]);
        const Pack<S, N> a = x[i], a_dot = x_dot[i], b = g[k], b_dot = g_dot[k];
        z[k] += weight * a;
        h[i] += weight * b;
        z_dot[k] += weight * a_dot + weight_dot * a;
        h_dot[i] += weight * b_dot + weight_dot * b;
        gradient += signed_pack(negative, a_dot * b + a * b_dot);
      });
      weights[m] = gradient;
    }
    store_weight_gradients<kMax>(mixing, factors, weights, rows.w_bar + channel,
                                 rows.w_bar_next + channel, rows.stride);
    x += frame.inputs;
    x_dot += frame.inputs;
    h += frame.inputs;
    h_dot += frame.inputs;
    g += frame.outputs;
    g_dot += frame.outputs;
    z += frame.outputs;
    z_dot += frame.outputs;
  }
}

// Calls body(Number<kMax>, kOdd, mixing, factors) for all mixings, where kMax is
// min(l_in, l_out) and kOdd, the parity, is a std::bool_constant.
template <class S, class Body>
EQUIPOT_INLINE void for_mixings(const So2Convolution<S>& c, const Body& body) {
  for (const Mixing* mixing = c.mixings; mixing != c.mixings + c.num_mixings; ++mixing) {
    const S* factors = c.factors + mixing->factors;
    const int max = mixing->l_in < mixing->l_out ? mixing->l_in : mixing->l_out;
    with_degree(max, [&](auto m) {
      if (mixing->odd) {
        body(m, std::true_type{}, *mixing, factors);
      } else {
        body(m, std::false_type{}, *mixing, factors);
      }
    });
  }
}

}  // namespace
}  // namespace EQUIPOT_ISA
}  // namespace equipot
