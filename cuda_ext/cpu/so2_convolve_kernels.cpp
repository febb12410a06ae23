// Forward pass of the convolution in edge frames.
#include "so2_edges.h"
#include "so2_frame.h"

namespace equipot {
namespace EQUIPOT_ISA {
namespace {

template <class S, int N>
void convolve_packs(const So2Convolution<S>& c, const S* rotation, const S* x,
                    const WeightRows<S>& rows, int packs, Pack<S, N>* memory, S* z) {
  Frame<S, N> frame{};
  frame.inputs = (c.lmax_in + 1) * (c.lmax_in + 1);
  frame.outputs = (c.lmax_out + 1) * (c.lmax_out + 1);
  frame.x = memory;
  frame.z = frame.x + packs * frame.inputs;
  to_frame(c.lmax_in, rotation, x, rows.stride, packs, frame.x);
  clear(frame.z, packs * frame.outputs);
  for_mixings(c, [&](auto max, auto odd, const Mixing& mixing, const S* factors) {
    mix<max, odd, S, N>(mixing, factors, rows, packs, frame);
  });
  add_from_frame(c.lmax_out, rotation, frame.z, packs, z, rows.stride);
}

}  // namespace

template <class S>
int64_t so2_scratch(const So2Convolution<S>& c) {
  return Scratch<S>(c, nullptr).size;
}

template <class S>
void so2_convolve(const So2Convolution<S>& c, int64_t first, int64_t last, S* memory) {
  const Scratch<S> scratch(c, memory);
  const int64_t stride = scratch.stride;
  const int64_t inputs = (c.lmax_in + 1) * (c.lmax_in + 1);
  const int64_t outputs = (c.lmax_out + 1) * (c.lmax_out + 1);
  const int limit = packs_at_once<S>(inputs + outputs);
  const int64_t row = c.num_paths * c.channels;
  for (int64_t node = first; node < last; ++node) {
    S* out = c.z + node * outputs * c.channels;
    S* sum = c.channels == stride ? out : scratch.sum;
    std::memset(sum, 0, outputs * stride * sizeof(S));
    for (int64_t e = c.pointers[node]; e < c.pointers[node + 1]; ++e) {
      const int64_t next = e + 1 < c.pointers[last] ? e + 1 : e;
      WeightRows<S> rows{};
      rows.stride = stride;
      rows.w = whole_vectors(c.w + e * row, c.num_paths, c.channels, stride, scratch.w);
      rows.w_next = c.w + next * row;
      const S* x = whole_vectors(c.x + c.senders[e] * inputs * c.channels, inputs,
                                 c.channels, stride, scratch.x);
      for_packs_of_channels<S>(stride, limit, [&](auto size, int64_t channel, int packs) {
        convolve_packs(c, c.rotations + e * c.rotation_size, x + channel,
                       rows.at(channel), packs,
                       static_cast<Pack<S, size>*>(scratch.frame), sum + channel);
      });
    }
    without_padding(sum, outputs, c.channels, stride, out);
  }
}

template int64_t so2_scratch(const So2Convolution<float>&);
template int64_t so2_scratch(const So2Convolution<double>&);
template void so2_convolve(const So2Convolution<float>&, int64_t, int64_t, float*);
template void so2_convolve(const So2Convolution<double>&, int64_t, int64_t, double*);

}  // namespace EQUIPOT_ISA
}  // namespace equipot
