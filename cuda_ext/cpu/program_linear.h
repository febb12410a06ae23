// Instructions that are linear in the features of a node.
#pragma once

#include <algorithm>
#include <tuple>
#include <vector>

#include "matrices.h"
#include "program_parser.h"

namespace equipot {

// out[n] (+)= table[element of n].
template <class S>
struct Embed final : TwiceDifferentiable<S> {
  explicit Embed(Parser<S>& p) : out(p.place("embed: result")) {
    add = p.number(0, 1, "embed: add") == 1;
    table = p.scalars({p.elements, out.size}, "embed: table");
    width = p.buffers[out.buffer].width;
  }
  void evaluate(Run<S>& run) const override {
    S* to = run.values(out.buffer) + out.offset;
    const auto kernel = EQUIPOT_SELECT(scaled<S>);
    share_ranges(run.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        kernel(1, table + run.edges.elements[n] * out.size, out.size, to + n * width, add);
      }
    });
  }
  void differentiate(Run<S>&) const override {}
  void evaluate_tangents(TangentRun<S>& t) const override {
    if (add) return;
    S* to = t.dot.values(out.buffer) + out.offset;
    for (int64_t n = 0; n < t.at.nodes; ++n) std::fill_n(to + n * width, out.size, S{0});
  }
  void differentiate_tangents(TangentRun<S>&) const override {}
  Place out;
  bool add;
  const S* table;
  int64_t width;
};

// A matrix, or one for each element, applied to the components of one degree.
template <class S>
struct LinearMap final : TwiceDifferentiable<S> {
  explicit LinearMap(Parser<S>& p) {
    in = p.buffer("linear: operand");
    const int64_t in_width = p.buffers[in].width;
    const int64_t in_offset = p.aligned(0, in_width, "linear: operand");
    const int64_t in_component_stride = p.aligned(0, in_width, "linear: stride");
    parts = p.number(1, kLargest, "linear: parts");
    const int64_t part_stride = p.aligned(0, in_width, "linear: stride of parts");
    depth = p.aligned(1, in_width, "linear: depth");
    out = p.buffer("linear: result");
    const int64_t out_width = p.buffers[out].width;
    const int64_t out_offset = p.aligned(0, out_width, "linear: result");
    const int64_t out_component_stride = p.aligned(0, out_width, "linear: stride");
    columns = p.aligned(1, out_width, "linear: columns");
    components = p.number(1, kLargest, "linear: components");
    add = p.number(0, 1, "linear: add") == 1;
    matrices = p.number(0, 1, "linear: of elements") == 1 ? p.elements : 1;
    const auto reach = [&](int64_t offset, int64_t stride, int64_t rest) {
      return offset + (components - 1) * stride + rest;
    };
    EQUIPOT_CHECK(
        reach(in_offset, in_component_stride, (parts - 1) * part_stride + depth) <=
                in_width &&
            reach(out_offset, out_component_stride, columns) <= out_width,
        "a linear map reaches beyond its buffers");
    const S* weights = p.scalars({matrices, parts, depth, columns}, "linear: weights");
    size = EQUIPOT_SELECT(packed_size<S>)(parts * depth, 1, columns);
    size_back = EQUIPOT_SELECT(packed_size<S>)(columns, parts, depth);
    S* packed = forward_.at_least(matrices * size);
    S* packed_back = backward_.at_least(matrices * size_back);
    for (int64_t z = 0; z < matrices; ++z, weights += parts * depth * columns) {
      EQUIPOT_SELECT(pack<S>)
      (weights, parts * depth, 1, columns, columns, 0, 1, packed + z * size);
      EQUIPOT_SELECT(pack<S>)
      (weights, columns, parts, depth, 1, depth * columns, columns,
       packed_back + z * size_back);
    }
    there = {nullptr,   in_width,  in_component_stride,  parts, part_stride, depth,
             nullptr,   out_width, out_component_stride, 1,     0,           columns,
             components, packed,   add};
    back = {nullptr,    out_width, out_component_stride, 1,     0,           columns,
            nullptr,    in_width,  in_component_stride,  parts, part_stride, depth,
            components, packed_back, false};
    this->in_offset = in_offset;
    this->out_offset = out_offset;
  }
  void evaluate(Run<S>& run) const override {
    Linear<S> m = there;
    m.in = run.values(in) + in_offset;
    m.out = run.values(out) + out_offset;
    apply(run, m, size);
  }
  void differentiate(Run<S>& run) const override {
    Linear<S> m = back;
    m.add = run.adds_to(in);
    m.in = run.derivatives(out) + out_offset;
    m.out = run.derivatives(in) + in_offset;
    apply(run, m, size_back);
  }
  void evaluate_tangents(TangentRun<S>& t) const override { evaluate(t.dot); }
  void differentiate_tangents(TangentRun<S>& t) const override { differentiate(t.dot); }
  void apply(Run<S>& run, const Linear<S>& m, int64_t matrix_size) const {
    const auto kernel = EQUIPOT_SELECT(linear<S>);
    if (matrices == 1) {
      share_ranges(run.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
        kernel(m, run.order, first, last);
      });
      return;
    }
    std::vector<std::tuple<int64_t, int64_t, int64_t>> pieces;
    for (int64_t z = 0; z < matrices; ++z) {
      const int64_t end = run.by_element.pointers[z + 1];
      for (int64_t n = run.by_element.pointers[z]; n < end; n += kNodesPerPiece) {
        pieces.emplace_back(z, n, std::min(end, n + kNodesPerPiece));
      }
    }
    share(static_cast<int64_t>(pieces.size()), [&](int64_t piece, int64_t) {
      const auto [z, first, last] = pieces[piece];
      Linear<S> of_element = m;
      of_element.weights += z * matrix_size;
      kernel(of_element, run.by_element.order.data(), first, last);
    });
  }
  int64_t in, in_offset, out, out_offset, parts, depth, columns, components, matrices;
  int64_t size, size_back;
  bool add;
  Linear<S> there, back;
  Memory<S> forward_, backward_;
};

// Adds a weighted sum of scalars of a node to its energy; weights are of its element.
template <class S>
struct Read final : TwiceDifferentiable<S> {
  explicit Read(Parser<S>& p) : in(p.place("read: operand")) {
    weights = p.scalars({p.elements, in.size}, "read: weights");
    width = p.buffers[in.buffer].width;
  }
  void evaluate(Run<S>& run) const override {
    const S* from = run.values(in.buffer) + in.offset;
    const auto kernel = EQUIPOT_SELECT(dot<S>);
    share_ranges(run.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        run.energies[n] += kernel(from + n * width, of_node(run, n), in.size);
      }
    });
  }
  void differentiate(Run<S>& run) const override {
    const bool add = run.adds_to(in.buffer);
    S* to = run.derivatives(in.buffer) + in.offset;
    const auto kernel = EQUIPOT_SELECT(scaled<S>);
    share_ranges(run.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        kernel(1, of_node(run, n), in.size, to + n * width, add);
      }
    });
  }
  void evaluate_tangents(TangentRun<S>&) const override {}
  void differentiate_tangents(TangentRun<S>& t) const override {
    if (t.dot.adds_to(in.buffer)) return;
    S* to = t.dot.derivatives(in.buffer) + in.offset;
    for (int64_t n = 0; n < t.at.nodes; ++n) std::fill_n(to + n * width, in.size, S{0});
  }
  const S* of_node(const Run<S>& run, int64_t n) const {
    return weights + run.edges.elements[n] * in.size;
  }
  Place in;
  const S* weights;
  int64_t width;
};

// Adds a buffer, times a constant for each of its scalars.
template <class S>
struct Accumulate final : Step<S> {
  explicit Accumulate(Parser<S>& p) {
    in = p.buffer("accumulate: operand"), out = p.buffer("accumulate: result");
    width = p.buffers[in].width;
    EQUIPOT_CHECK(width == p.buffers[out].width && in != out,
                  "accumulation needs two buffers of equal width");
    factors = p.scalars({width}, "accumulate: factors");
  }
  void evaluate(Run<S>& run) const override {
    apply(run, run.values(in), run.values(out), true);
  }
  void differentiate(Run<S>& run) const override {
    const bool add = run.adds_to(in);
    apply(run, run.derivatives(out), run.derivatives(in), add);
  }
  void apply(Run<S>& run, const S* from, S* to, bool add) const {
    const auto kernel = EQUIPOT_SELECT(multiplied<S>);
    share_ranges(run.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        kernel(factors, from + n * width, width, to + n * width, add);
      }
    });
  }
  int64_t in, out, width;
  const S* factors;
};

}  // namespace equipot
