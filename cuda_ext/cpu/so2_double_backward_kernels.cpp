// Double backward pass of the convolution in edge frames.
//
// A tangent n_dot of the direction n is an infinitesimal rotation about n cross n_dot,
// which is equivalent to the opposite rotation of x and g. Let t be the rotation vector
// in the edge frame and tJ its generator: the tangents of features and message gradients
// in the frame are x_dot - tJ x and -tJ g. The results are the derivatives of the
// backward kernel along these tangents, transformed back from the rotating frame:
//
//   x_dot' = x_dot - tJ x,    g_dot' = -tJ g,
//   z = W x,    z_dot = W x_dot' + W_dot x,    h = W^T g,    h_dot = W^T g_dot' + W_dot^T g,
//   gradients of g: z_dot + tJ z,    of x: h_dot + tJ h,
//   of W: x_dot' g + x g_dot',
//   torque: <gradient of g, J g> + <gradient of x, J x> + <h, J x_dot>,
//
// minus n . n_dot times the torque of the backward pass, <z, J g> + <h, J x>, because
// gradients with respect to directions are orthogonal to the directions and rotate with
// them.
#include "so2_edges.h"
#include "so2_frame.h"
#include "so2_generators.h"

namespace equipot {
namespace EQUIPOT_ISA {
namespace {

// Operands of an edge; row pointers are at the first channel of the current packs.
template <class S>
struct Operands {
  const S *rotation, *x, *x_dot, *g;
  Horizontal<S> angle;
  S along;  // n . n_dot
  S *x_bar, *g_bar;

  Operands at(int64_t channel) const {
    Operands operands = *this;
    for (const S** row : {&operands.x, &operands.x_dot, &operands.g}) *row += channel;
    operands.x_bar += channel;
    operands.g_bar += channel;
    return operands;
  }
};

// Computes the weight gradients of one edge and accumulates x_bar, g_bar and the torque.
template <class S, int N>
void double_backward_packs(const So2Convolution<S>& c, const Operands<S>& o,
                           const WeightRows<S>& rows, int packs, Pack<S, N>* memory,
                           Horizontal<S>& torque) {
  Frame<S, N> frame{};
  frame.inputs = (c.lmax_in + 1) * (c.lmax_in + 1);
  frame.outputs = (c.lmax_out + 1) * (c.lmax_out + 1);
  const int inputs = packs * frame.inputs, outputs = packs * frame.outputs;
  Pack<S, N>* x_dot = memory;
  frame.x = x_dot + inputs;
  frame.x_dot = frame.x + inputs;
  frame.g = frame.x_dot + inputs;
  frame.g_dot = frame.g + outputs;
  frame.z = frame.g_dot + outputs;
  frame.z_dot = frame.z + outputs;
  frame.h = frame.z_dot + outputs;
  frame.h_dot = frame.h + inputs;

  to_frame(c.lmax_in, o.rotation, o.x, rows.stride, packs, frame.x);
  to_frame(c.lmax_in, o.rotation, o.x_dot, rows.stride, packs, x_dot);
  to_frame(c.lmax_out, o.rotation, o.g, rows.stride, packs, frame.g);
  std::memcpy(static_cast<void*>(frame.x_dot), x_dot, inputs * sizeof(Pack<S, N>));
  clear(frame.g_dot, 3 * outputs + 2 * inputs);
  const Horizontal<S> back{-o.angle.x, -o.angle.z};
  add_tilted(c.lmax_in, packs, back.x, back.z, frame.x, frame.x_dot);
  add_tilted(c.lmax_out, packs, back.x, back.z, frame.g, frame.g_dot);
  for_mixings(c, [&](auto max, auto odd, const Mixing& mixing, const S* factors) {
    mix_double_backward<max, odd, S, N>(mixing, factors, rows, packs, frame);
  });
  add_tilted(c.lmax_in, packs, o.angle.x, o.angle.z, frame.h, frame.h_dot);
  add_tilted(c.lmax_out, packs, o.angle.x, o.angle.z, frame.z, frame.z_dot);
  add_from_frame(c.lmax_in, o.rotation, frame.h_dot, packs, o.x_bar, rows.stride);
  add_from_frame(c.lmax_out, o.rotation, frame.z_dot, packs, o.g_bar, rows.stride);
  add_multiple(-o.along, frame.h, inputs, frame.h_dot);
  add_multiple(-o.along, frame.z, outputs, frame.z_dot);
  Torque<S, N> sum{};
  add_torque(c.lmax_out, packs, frame.z_dot, frame.g, sum);
  add_torque(c.lmax_in, packs, frame.h_dot, frame.x, sum);
  add_torque(c.lmax_in, packs, frame.h, x_dot, sum);
  torque.x += sum_of_lanes(sum.x);
  torque.z += sum_of_lanes(sum.z);
}

}  // namespace

template <class S>
void so2_convolve_double_backward(const So2Convolution<S>& c, int64_t first, int64_t last,
                                  int64_t first_edge, S* sent, S* memory) {
  const Scratch<S> scratch(c, memory);
  const int64_t stride = scratch.stride;
  const int64_t inputs = (c.lmax_in + 1) * (c.lmax_in + 1);
  const int64_t outputs = (c.lmax_out + 1) * (c.lmax_out + 1);
  const int limit = packs_at_once<S>(5 * inputs + 4 * outputs);
  const int64_t row = c.num_paths * c.channels;
  for (int64_t node = first; node < last; ++node) {
    S* g_bar = c.g_bar + node * outputs * c.channels;
    S* sum = c.channels == stride ? g_bar : scratch.sum;
    std::memset(sum, 0, outputs * stride * sizeof(S));
    Operands<S> operands{};
    operands.g = whole_vectors(c.g + node * outputs * c.channels, outputs, c.channels,
                               stride, scratch.g);
    operands.g_bar = sum;
    for (int64_t e = c.pointers[node]; e < c.pointers[node + 1]; ++e) {
      const int64_t next = e + 1 < c.pointers[last] ? e + 1 : e;
      const int64_t features = c.senders[e] * inputs * c.channels;
      S* w_bar = c.w_bar + e * row;
      WeightRows<S> rows{};
      rows.stride = stride;
      rows.w = whole_vectors(c.w + e * row, c.num_paths, c.channels, stride, scratch.w);
      rows.w_next = c.w + next * row;
      if (c.w_dot != nullptr) {
        rows.w_dot = whole_vectors(c.w_dot + e * row, c.num_paths, c.channels, stride,
                                   scratch.w_dot);
        rows.w_dot_next = c.w_dot + next * row;
      }
      rows.w_bar = c.channels == stride ? w_bar : scratch.w_bar;
      rows.w_bar_next = c.w_bar + next * row;
      operands.rotation = c.rotations + e * c.rotation_size;
      operands.x = whole_vectors(c.x + features, inputs, c.channels, stride, scratch.x);
      operands.x_dot =
          whole_vectors(c.x_dot + features, inputs, c.channels, stride, scratch.x_dot);
      operands.x_bar = sent + (e - first_edge) * inputs * stride;
      std::memset(operands.x_bar, 0, inputs * stride * sizeof(S));
      operands.angle = angle_of_motion(c, e);
      operands.along = motion_along(c, e);
      Horizontal<S> torque{};
      for_packs_of_channels<S>(stride, limit, [&](auto size, int64_t channel, int packs) {
        double_backward_packs(c, operands.at(channel), rows.at(channel), packs,
                              static_cast<Pack<S, size>*>(scratch.frame), torque);
      });
      without_padding(rows.w_bar, c.num_paths, c.channels, stride, w_bar);
      store_direction_gradient(c, e, torque);
    }
    without_padding(sum, outputs, c.channels, stride, g_bar);
  }
}

template <class S>
int64_t sent_size(const So2Convolution<S>& c) {
  return (c.lmax_in + 1) * (c.lmax_in + 1) * padded<S>(c.channels);
}

template <class S>
void add_to_senders(const So2Convolution<S>& c, const S* sent, int64_t first_edge,
                    int64_t last_edge, int64_t first, int64_t last) {
  const int64_t inputs = (c.lmax_in + 1) * (c.lmax_in + 1);
  const int64_t stride = padded<S>(c.channels);
  for (int64_t e = first_edge; e < last_edge; ++e) {
    const S* block = sent + (e - first_edge) * inputs * stride;
    S* x_bar = c.x_bar + c.senders[e] * inputs * c.channels;
    for (int64_t r = first; r < last; ++r) {
      for (int64_t channel = 0; channel < c.channels; ++channel) {
        x_bar[r * c.channels + channel] += block[r * stride + channel];
      }
    }
  }
}

#define EQUIPOT_INSTANTIATE(S)                                                         \
  template void so2_convolve_double_backward(const So2Convolution<S>&, int64_t, int64_t, \
                                             int64_t, S*, S*);                         \
  template int64_t sent_size(const So2Convolution<S>&);                                \
  template void add_to_senders(const So2Convolution<S>&, const S*, int64_t, int64_t,   \
                               int64_t, int64_t);
EQUIPOT_INSTANTIATE(float)
EQUIPOT_INSTANTIATE(double)
#undef EQUIPOT_INSTANTIATE

}  // namespace EQUIPOT_ISA
}  // namespace equipot
