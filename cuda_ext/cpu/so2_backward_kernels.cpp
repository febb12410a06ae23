// Backward pass of the convolution in edge frames.
//
// A rotation of the edge direction about a perpendicular axis is equivalent to the
// inverse rotation of x and g. In the edge frame these axes are x and z. With generators
// J and the torque t_a = <h, J_a x> + <z, J_a g>, the gradient with respect to the
// direction is y cross t.
#include "so2_edges.h"
#include "so2_frame.h"
#include "so2_generators.h"

namespace equipot {
namespace EQUIPOT_ISA {
namespace {

// Computes the weight gradients of one edge and accumulates x_bar and the torque.
template <class S, int N>
void backward_packs(const So2Convolution<S>& c, const S* rotation, const S* x, const S* g,
                    const WeightRows<S>& rows, int packs, Pack<S, N>* memory, S* x_bar,
                    Horizontal<S>& torque) {
  Frame<S, N> frame{};
  frame.inputs = (c.lmax_in + 1) * (c.lmax_in + 1);
  frame.outputs = (c.lmax_out + 1) * (c.lmax_out + 1);
  frame.x = memory;
  frame.g = frame.x + packs * frame.inputs;
  frame.h = frame.g + packs * frame.outputs;
  frame.z = frame.h + packs * frame.inputs;
  to_frame(c.lmax_in, rotation, x, rows.stride, packs, frame.x);
  to_frame(c.lmax_out, rotation, g, rows.stride, packs, frame.g);
  clear(frame.h, packs * (frame.inputs + frame.outputs));
  for_mixings(c, [&](auto max, auto odd, const Mixing& mixing, const S* factors) {
    mix_backward<max, odd, S, N>(mixing, factors, rows, packs, frame);
  });
  Torque<S, N> sum{};
  add_torque(c.lmax_in, packs, frame.h, frame.x, sum);
  add_torque(c.lmax_out, packs, frame.z, frame.g, sum);
  torque.x += sum_of_lanes(sum.x);
  torque.z += sum_of_lanes(sum.z);
  add_from_frame(c.lmax_in, rotation, frame.h, packs, x_bar, rows.stride);
}

}  // namespace

template <class S>
void so2_convolve_backward(const So2Convolution<S>& c, int64_t first, int64_t last,
                           S* memory) {
  const Scratch<S> scratch(c, memory);
  const int64_t stride = scratch.stride;
  const int64_t inputs = (c.lmax_in + 1) * (c.lmax_in + 1);
  const int64_t outputs = (c.lmax_out + 1) * (c.lmax_out + 1);
  const int limit = packs_at_once<S>(2 * inputs + 2 * outputs);
  const int64_t row = c.num_paths * c.channels;
  for (int64_t node = first; node < last; ++node) {
    const S* x = whole_vectors(c.x + node * inputs * c.channels, inputs, c.channels, stride,
                               scratch.x);
    S* x_bar = c.x_bar + node * inputs * c.channels;
    S* sum = c.channels == stride ? x_bar : scratch.sum;
    std::memset(sum, 0, inputs * stride * sizeof(S));
    for (int64_t n = c.pointers[node]; n < c.pointers[node + 1]; ++n) {
      const int64_t e = c.order[n];
      const int64_t next = n + 1 < c.pointers[last] ? c.order[n + 1] : e;
      const S* rotation = c.rotations + e * c.rotation_size;
      S* w_bar = c.w_bar + e * row;
      WeightRows<S> rows{};
      rows.stride = stride;
      rows.w = whole_vectors(c.w + e * row, c.num_paths, c.channels, stride, scratch.w);
      rows.w_next = c.w + next * row;
      rows.w_bar = c.channels == stride ? w_bar : scratch.w_bar;
      rows.w_bar_next = c.w_bar + next * row;
      const S* g = whole_vectors(c.g + c.receivers[e] * outputs * c.channels, outputs,
                                 c.channels, stride, scratch.g);
      Horizontal<S> torque{};
      for_packs_of_channels<S>(stride, limit, [&](auto size, int64_t channel, int packs) {
        backward_packs(c, rotation, x + channel, g + channel, rows.at(channel), packs,
                       static_cast<Pack<S, size>*>(scratch.frame), sum + channel, torque);
      });
      without_padding(rows.w_bar, c.num_paths, c.channels, stride, w_bar);
      store_direction_gradient(c, e, torque);
    }
    without_padding(sum, inputs, c.channels, stride, x_bar);
  }
}

template void so2_convolve_backward(const So2Convolution<float>&, int64_t, int64_t, float*);
template void so2_convolve_backward(const So2Convolution<double>&, int64_t, int64_t,
                                    double*);

}  // namespace EQUIPOT_ISA
}  // namespace equipot
