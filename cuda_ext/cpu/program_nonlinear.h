// Instructions that are nonlinear in the features of a node.
#pragma once

#include <algorithm>
#include <tuple>
#include <vector>

#include "contraction.h"
#include "matrices.h"
#include "monomials.h"
#include "program_parser.h"

namespace equipot {

// Division of all features of a node by one plus the first column of another buffer.
template <class S>
struct Divide final : TwiceDifferentiable<S> {
  explicit Divide(Parser<S>& p) {
    in = p.buffer("divide: operand"), by = p.buffer("divide: divisor");
    out = p.buffer("divide: result");
    width = p.buffers[in].width, by_width = p.buffers[by].width;
    EQUIPOT_CHECK(width == p.buffers[out].width && !p.buffers[in].shared &&
                      !p.buffers[by].shared,
                  "a division needs buffers of equal width of its own");
  }
  void evaluate(Run<S>& run) const override {
    const S *x = run.values(in), *divisor = run.values(by);
    S* to = run.values(out);
    const auto kernel = EQUIPOT_SELECT(scaled<S>);
    share_ranges(run.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        kernel(1 / (1 + divisor[n * by_width]), x + n * width, width, to + n * width, false);
      }
    });
  }
  void differentiate(Run<S>& run) const override {
    const S *x = run.values(in), *divisor = run.values(by), *bar = run.derivatives(out);
    S *x_bar = run.derivatives(in), *by_bar = run.derivatives(by);
    const auto kernel = EQUIPOT_SELECT(scaled<S>);
    const auto product = EQUIPOT_SELECT(dot<S>);
    share_ranges(run.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        const S factor = 1 / (1 + divisor[n * by_width]);
        const double along = product(x + n * width, bar + n * width, width);
        std::fill_n(by_bar + n * by_width, by_width, S{0});
        by_bar[n * by_width] = -static_cast<S>(along) * factor * factor;
        kernel(factor, bar + n * width, width, x_bar + n * width, false);
      }
    });
  }
  void evaluate_tangents(TangentRun<S>& t) const override {
    const S *x = t.at.values(in), *divisor = t.at.values(by);
    const S *x_dot = t.dot.values(in), *divisor_dot = t.dot.values(by);
    S* to = t.dot.values(out);
    const auto kernel = EQUIPOT_SELECT(scaled<S>);
    share_ranges(t.at.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        const S factor = 1 / (1 + divisor[n * by_width]);
        kernel(factor, x_dot + n * width, width, to + n * width, false);
        kernel(-factor * factor * divisor_dot[n * by_width], x + n * width, width,
               to + n * width, true);
      }
    });
  }
  void differentiate_tangents(TangentRun<S>& t) const override {
    const S *x = t.at.values(in), *divisor = t.at.values(by), *bar = t.at.derivatives(out);
    const S *x_dot = t.dot.values(in), *divisor_dot = t.dot.values(by);
    const S* bar_dot = t.dot.derivatives(out);
    S *x_bar_dot = t.dot.derivatives(in), *by_bar_dot = t.dot.derivatives(by);
    const auto kernel = EQUIPOT_SELECT(scaled<S>);
    const auto product = EQUIPOT_SELECT(dot<S>);
    share_ranges(t.at.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        const int64_t at = n * width;
        const S factor = 1 / (1 + divisor[n * by_width]);
        const S factor_dot = -factor * factor * divisor_dot[n * by_width];
        const double along = product(x + at, bar + at, width);
        const double along_dot =
            product(x_dot + at, bar + at, width) + product(x + at, bar_dot + at, width);
        std::fill_n(by_bar_dot + n * by_width, by_width, S{0});
        by_bar_dot[n * by_width] =
            -factor * (factor * static_cast<S>(along_dot) +
                       2 * factor_dot * static_cast<S>(along));
        kernel(factor, bar_dot + at, width, x_bar_dot + at, false);
        kernel(factor_dot, bar + at, width, x_bar_dot + at, true);
      }
    });
  }
  int64_t in, by, out, width, by_width;
};

template <class S>
struct Contract final : TwiceDifferentiable<S> {
  explicit Contract(Parser<S>& p) {
    x = p.buffer("contract: operand");
    out = p.buffer("contract: result");
    const int64_t channels = p.aligned(1, kLargest, "contract: channels");
    rows = p.number(0, 1, "contract: of elements") == 1 ? p.elements : 1;
    const int64_t orders = p.number(1, kLargest, "contract: orders");
    for (int64_t n = 0; n < orders; ++n) {
      sizes.push_back(p.number(0, kLargest, "contract: monomials"));
    }
    parents = p.constant("contract: parents");
    factors = p.constant("contract: factors");
    monomials = p.constant("contract: monomials");
    outputs = p.constant("contract: outputs");
    const int64_t components = p.buffers[x].width / channels;
    const int64_t num_outputs = p.buffers[out].width / channels;
    EQUIPOT_CHECK(components * channels == p.buffers[x].width &&
                      num_outputs * channels == p.buffers[out].width,
                  "buffers of a contraction must be whole rows of channels");
    EQUIPOT_CHECK(!p.buffers[x].shared,
                  "features of a contraction must not be used otherwise");
    const Monomials given{sizes, parents, factors, monomials, outputs};
    const int64_t total = check_monomials(given, components, num_outputs);
    first = first_terms(given);
    const int64_t terms = given.monomials.size(0);
    const S* coefficients = p.scalars({rows, terms, channels}, "contract: coefficients");
    c.components = components;
    c.num_monomials = total;
    c.num_stored = total - (sizes.size() > 1 ? sizes.back() : 0);
    c.num_terms = terms;
    c.num_outputs = num_outputs;
    c.parents = data<int64_t>(parents);
    c.factors = data<int64_t>(factors);
    c.first_term = first.data();
    c.outputs = data<int64_t>(outputs);
    c.stride = channels;
    c.a = coefficients;
  }
  void evaluate(Run<S>& run) const override {
    Contraction<S> here = c;
    here.x = run.values(x);
    here.out = run.values(out);
    apply(run, here);
  }
  void differentiate(Run<S>& run) const override {
    Contraction<S> here = c;
    here.x = run.values(x);
    here.g = run.derivatives(out);
    here.x_bar = run.derivatives(x);
    apply(run, here);
  }
  // Keeps the first and second derivatives of each node, from unit tangents; with many
  // directions, their application is faster.
  void prepare(Run<S>& run, int64_t directions) override {
    const int64_t components = c.components, outputs = c.num_outputs, row = c.stride;
    const int64_t size = run.nodes * components * (outputs + components) * row;
    kept_ = directions > 2 * components &&
            size * static_cast<int64_t>(sizeof(S)) <= kMostKept;
    if (!kept_) return;
    const int64_t width = components * row, out_width = outputs * row;
    S* slopes = slopes_.at_least(run.nodes * components * out_width);
    S* curvatures = curvatures_.at_least(run.nodes * components * width);
    Memory<S> unit, zero, result;
    S* x_dot = unit.at_least(run.nodes * width);
    S* g_dot = zero.at_least(run.nodes * out_width);
    S* along = result.at_least(run.nodes * std::max(width, out_width));
    std::fill_n(x_dot, run.nodes * width, S{0});
    std::fill_n(g_dot, run.nodes * out_width, S{0});
    Contraction<S> here = c;
    here.x = run.values(x);
    here.x_dot = x_dot;
    for (int64_t j = 0; j < components; ++j) {
      const auto set_unit = [&](S value) {
        for (int64_t n = 0; n < run.nodes; ++n) {
          std::fill_n(x_dot + n * width + j * row, row, value);
        }
      };
      const auto keep = [&](int64_t rows, S* to) {
        for (int64_t n = 0; n < run.nodes; ++n) {
          std::copy_n(along + n * rows * row, rows * row,
                      to + (n * components + j) * rows * row);
        }
      };
      set_unit(S{1});
      here.out = along;
      here.g = here.g_dot = nullptr;
      here.x_bar = nullptr;
      apply(run, here);
      keep(outputs, slopes);
      here.out = nullptr;
      here.g = run.derivatives(out);
      here.g_dot = g_dot;
      here.x_bar = along;
      apply(run, here);
      keep(components, curvatures);
      set_unit(S{0});
    }
  }
  void release() override {
    slopes_.release();
    curvatures_.release();
  }
  void evaluate_kept(TangentRun<S>& t) const {
    const int64_t components = c.components, outputs = c.num_outputs, row = c.stride;
    const S *slopes = slopes_.get(), *x_dot = t.dot.values(x);
    S* to = t.dot.values(out);
    const auto kernel = EQUIPOT_SELECT(multiply_rows<S>);
    share_ranges(t.at.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        kernel(slopes + n * components * outputs * row, outputs * row, row,
               x_dot + n * components * row, components, outputs, row,
               to + n * outputs * row, false);
      }
    });
  }
  void differentiate_kept(TangentRun<S>& t) const {
    const int64_t components = c.components, outputs = c.num_outputs, row = c.stride;
    const S *slopes = slopes_.get(), *curvatures = curvatures_.get();
    const S *x_dot = t.dot.values(x), *g_dot = t.dot.derivatives(out);
    S* to = t.dot.derivatives(x);
    const auto kernel = EQUIPOT_SELECT(multiply_rows<S>);
    share_ranges(t.at.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        S* x_bar_dot = to + n * components * row;
        // the second derivatives are symmetric
        kernel(curvatures + n * components * components * row, row, components * row,
               x_dot + n * components * row, components, components, row, x_bar_dot, false);
        kernel(slopes + n * components * outputs * row, row, outputs * row,
               g_dot + n * outputs * row, outputs, components, row, x_bar_dot, true);
      }
    });
  }
  void evaluate_tangents(TangentRun<S>& t) const override {
    if (kept_) return evaluate_kept(t);
    Contraction<S> here = c;
    here.x = t.at.values(x);
    here.x_dot = t.dot.values(x);
    here.out = t.dot.values(out);
    apply(t.dot, here);
  }
  void differentiate_tangents(TangentRun<S>& t) const override {
    if (kept_) return differentiate_kept(t);
    Contraction<S> here = c;
    here.x = t.at.values(x);
    here.x_dot = t.dot.values(x);
    here.g = t.at.derivatives(out);
    here.g_dot = t.dot.derivatives(out);
    here.x_bar = t.dot.derivatives(x);
    apply(t.dot, here);
  }
  void apply(Run<S>& run, const Contraction<S>& here) const {
    const int64_t size = EQUIPOT_SELECT(contraction_scratch<S>)(here);
    const int64_t vectors = c.stride / EQUIPOT_SELECT(contraction_stride<S>)(1);
    S* scratch = run.scratch_of_threads(size);
    const auto kernel = EQUIPOT_SELECT(contraction<S>);
    std::vector<std::tuple<int64_t, int64_t, int64_t>> pieces;
    for (int64_t z = 0; z < rows; ++z) {
      const int64_t end = rows == 1 ? run.nodes : run.by_element.pointers[z + 1];
      const int64_t begin = rows == 1 ? 0 : run.by_element.pointers[z];
      for (int64_t n = begin; n < end; n += kNodesPerPiece) {
        pieces.emplace_back(z, n, std::min(end, n + kNodesPerPiece));
      }
    }
    const int64_t* order = rows == 1 ? run.order : run.by_element.order.data();
    share(static_cast<int64_t>(pieces.size()) * vectors, [&](int64_t piece, int64_t thread) {
      const auto [z, begin, end] = pieces[piece / vectors];
      kernel(here, order, begin, end, z, piece % vectors, scratch + thread * size);
    });
  }
  int64_t x, out, rows;
  std::vector<int64_t> sizes, first;
  Tensor parents, factors, monomials, outputs;
  Contraction<S> c{};
  bool kept_ = false;
  // Of each node, [components, outputs, channels] and [components, components, channels].
  Memory<S> slopes_, curvatures_;
};

template <class S>
struct Activate final : TwiceDifferentiable<S> {
  explicit Activate(Parser<S>& p)
      : in(p.place("activate: operand")), out(p.place("activate: result")) {
    EQUIPOT_CHECK(in.size == out.size, "an activation needs equal sizes");
    kind = static_cast<Activation>(p.number(0, kLastActivation, "activate: function"));
    gain = p.scalars({1}, "activate: gain")[0];
    in_width = p.buffers[in.buffer].width, out_width = p.buffers[out.buffer].width;
  }
  void evaluate(Run<S>& run) const override {
    const S* from = run.values(in.buffer) + in.offset;
    S* to = run.values(out.buffer) + out.offset;
    const auto kernel = EQUIPOT_SELECT(activate<S>);
    share_ranges(run.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        kernel(kind, gain, from + n * in_width, in.size, to + n * out_width);
      }
    });
  }
  void differentiate(Run<S>& run) const override {
    const bool add = run.adds_to(in.buffer);
    const S* from = run.values(in.buffer) + in.offset;
    const S* bar = run.derivatives(out.buffer) + out.offset;
    S* to = run.derivatives(in.buffer) + in.offset;
    const auto kernel = EQUIPOT_SELECT(differentiate_activation<S>);
    share_ranges(run.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        kernel(kind, gain, from + n * in_width, bar + n * out_width, in.size,
               to + n * in_width, add);
      }
    });
  }
  void evaluate_tangents(TangentRun<S>& t) const override {
    const S* from = t.at.values(in.buffer) + in.offset;
    const S* from_dot = t.dot.values(in.buffer) + in.offset;
    S* to = t.dot.values(out.buffer) + out.offset;
    const auto kernel = EQUIPOT_SELECT(activate_tangents<S>);
    share_ranges(t.at.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        kernel(kind, gain, from + n * in_width, from_dot + n * in_width, in.size,
               to + n * out_width);
      }
    });
  }
  void differentiate_tangents(TangentRun<S>& t) const override {
    const bool add = t.dot.adds_to(in.buffer);
    const S* from = t.at.values(in.buffer) + in.offset;
    const S* from_dot = t.dot.values(in.buffer) + in.offset;
    const S* bar = t.at.derivatives(out.buffer) + out.offset;
    const S* bar_dot = t.dot.derivatives(out.buffer) + out.offset;
    S* to = t.dot.derivatives(in.buffer) + in.offset;
    const auto kernel = EQUIPOT_SELECT(differentiate_activation_tangents<S>);
    share_ranges(t.at.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        kernel(kind, gain, from + n * in_width, from_dot + n * in_width,
               bar + n * out_width, bar_dot + n * out_width, in.size, to + n * in_width,
               add);
      }
    });
  }
  Place in, out;
  Activation kind;
  S gain;
  int64_t in_width, out_width;
};

// Components of one degree, times a function of as many scalars as there are channels.
template <class S>
struct Gated final : TwiceDifferentiable<S> {
  explicit Gated(Parser<S>& p)
      : in(p.place("gate: operand")),
        gates(p.place("gate: gates")),
        out(p.place("gate: result")) {
    components = p.number(1, kLargest, "gate: components");
    stride = p.aligned(0, kLargest, "gate: stride");
    out_stride = p.aligned(0, kLargest, "gate: stride of the result");
    kind = static_cast<Activation>(p.number(0, kLastActivation, "gate: function"));
    gain = p.scalars({1}, "gate: gain")[0];
    in_width = p.buffers[in.buffer].width, out_width = p.buffers[out.buffer].width;
    gates_width = p.buffers[gates.buffer].width;
    channels = gates.size;
    EQUIPOT_CHECK((components - 1) * stride + channels <= in.size &&
                      (components - 1) * out_stride + channels <= out.size,
                  "a gate reaches beyond its operand or result");
  }
  void evaluate(Run<S>& run) const override {
    const S* x = run.values(in.buffer) + in.offset;
    const S* g = run.values(gates.buffer) + gates.offset;
    S* to = run.values(out.buffer) + out.offset;
    const auto kernel = EQUIPOT_SELECT(gate<S>);
    share_ranges(run.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        kernel(kind, gain, x + n * in_width, stride, g + n * gates_width, components,
               channels, to + n * out_width, out_stride);
      }
    });
  }
  void differentiate(Run<S>& run) const override {
    const bool add_x = run.adds_to(in.buffer), add_gates = run.adds_to(gates.buffer);
    const S* x = run.values(in.buffer) + in.offset;
    const S* g = run.values(gates.buffer) + gates.offset;
    const S* bar = run.derivatives(out.buffer) + out.offset;
    S* x_bar = run.derivatives(in.buffer) + in.offset;
    S* g_bar = run.derivatives(gates.buffer) + gates.offset;
    const auto kernel = EQUIPOT_SELECT(differentiate_gate<S>);
    share_ranges(run.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        kernel(kind, gain, x + n * in_width, stride, g + n * gates_width,
               bar + n * out_width, out_stride, components, channels, x_bar + n * in_width,
               add_x, g_bar + n * gates_width, add_gates);
      }
    });
  }
  void evaluate_tangents(TangentRun<S>& t) const override {
    const GateShape shape{components, channels, stride, out_stride};
    S* to = t.dot.values(out.buffer) + out.offset;
    const auto kernel = EQUIPOT_SELECT(gate_tangents<S>);
    share_ranges(t.at.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        kernel(kind, gain, of_node(t.at, n), of_node(t.dot, n), shape, to + n * out_width);
      }
    });
  }
  void differentiate_tangents(TangentRun<S>& t) const override {
    const GateShape shape{components, channels, stride, out_stride};
    const bool add_x = t.dot.adds_to(in.buffer), add_gates = t.dot.adds_to(gates.buffer);
    S* x_bar_dot = t.dot.derivatives(in.buffer) + in.offset;
    S* gates_bar_dot = t.dot.derivatives(gates.buffer) + gates.offset;
    const auto kernel = EQUIPOT_SELECT(differentiate_gate_tangents<S>);
    share_ranges(t.at.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        kernel(kind, gain, of_node(t.at, n), of_node(t.dot, n), shape,
               x_bar_dot + n * in_width, add_x, gates_bar_dot + n * gates_width, add_gates);
      }
    });
  }
  GateOperands<S> of_node(const Run<S>& run, int64_t n) const {
    return {run.values(in.buffer) + in.offset + n * in_width,
            run.values(gates.buffer) + gates.offset + n * gates_width,
            run.derivatives(out.buffer) + out.offset + n * out_width};
  }
  Place in, gates, out;
  Activation kind;
  S gain;
  int64_t components, channels, stride, out_stride, in_width, out_width, gates_width;
};

// Division of the features of a node by the root of a weighted sum of their squares.
template <class S>
struct Normalize final : TwiceDifferentiable<S> {
  explicit Normalize(Parser<S>& p) {
    in = p.buffer("normalize: operand"), out = p.buffer("normalize: result");
    width = p.buffers[in].width;
    EQUIPOT_CHECK(width == p.buffers[out].width && !p.buffers[in].shared,
                  "a norm needs buffers of equal width of its own");
    weights = p.scalars({width}, "normalize: weights");
    factors = p.scalars({width}, "normalize: factors");
    epsilon = p.scalars({1}, "normalize: epsilon")[0];
    centered = p.number(0, 1, "normalize: centered") == 1;
    EQUIPOT_CHECK(!centered || weights[0] > 0, "a mean needs a first weight");
  }
  bool has_tangents() const override { return !centered; }
  void evaluate(Run<S>& run) const override {
    const S* x = run.values(in);
    S* to = run.values(out);
    const auto kernel = EQUIPOT_SELECT(normalize<S>);
    share_ranges(run.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        kernel(weights, factors, epsilon, centered, x + n * width, width, to + n * width);
      }
    });
  }
  void differentiate(Run<S>& run) const override {
    const S *x = run.values(in), *bar = run.derivatives(out);
    S* x_bar = run.derivatives(in);
    const auto kernel = EQUIPOT_SELECT(differentiate_norm<S>);
    share_ranges(run.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        kernel(weights, factors, epsilon, centered, x + n * width, bar + n * width, width,
               x_bar + n * width);
      }
    });
  }
  void evaluate_tangents(TangentRun<S>& t) const override {
    const S *x = t.at.values(in), *x_dot = t.dot.values(in);
    S* to = t.dot.values(out);
    const auto kernel = EQUIPOT_SELECT(normalize_tangents<S>);
    share_ranges(t.at.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        kernel(weights, factors, epsilon, x + n * width, x_dot + n * width, width,
               to + n * width);
      }
    });
  }
  void differentiate_tangents(TangentRun<S>& t) const override {
    const S *x = t.at.values(in), *x_dot = t.dot.values(in);
    const S *bar = t.at.derivatives(out), *bar_dot = t.dot.derivatives(out);
    S* x_bar_dot = t.dot.derivatives(in);
    const auto kernel = EQUIPOT_SELECT(differentiate_norm_tangents<S>);
    share_ranges(t.at.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        const int64_t at = n * width;
        kernel(weights, factors, epsilon, x + at, x_dot + at, bar + at, bar_dot + at, width,
               x_bar_dot + at);
      }
    });
  }
  int64_t in, out, width;
  const S *weights, *factors;
  S epsilon;
  bool centered;
};

// Squared norms of features of one channel: sums over components.
template <class S>
struct Squares final : Step<S> {
  explicit Squares(Parser<S>& p)
      : in(p.place("squares: operand")), out(p.place("squares: result")) {
    components = p.number(1, kLargest, "squares: components");
    stride = p.aligned(0, kLargest, "squares: stride");
    in_width = p.buffers[in.buffer].width, out_width = p.buffers[out.buffer].width;
    EQUIPOT_CHECK((components - 1) * stride + out.size <= in.size,
                  "squares reach beyond their operand");
  }
  void evaluate(Run<S>& run) const override {
    const S* x = run.values(in.buffer) + in.offset;
    S* to = run.values(out.buffer) + out.offset;
    const auto kernel = EQUIPOT_SELECT(squares<S>);
    share_ranges(run.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        kernel(x + n * in_width, stride, components, out.size, to + n * out_width);
      }
    });
  }
  void differentiate(Run<S>& run) const override {
    const bool add = run.adds_to(in.buffer);
    const S* x = run.values(in.buffer) + in.offset;
    const S* bar = run.derivatives(out.buffer) + out.offset;
    S* x_bar = run.derivatives(in.buffer) + in.offset;
    const auto kernel = EQUIPOT_SELECT(differentiate_squares<S>);
    share_ranges(run.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        kernel(x + n * in_width, stride, bar + n * out_width, components, out.size,
               x_bar + n * in_width, add);
      }
    });
  }
  Place in, out;
  int64_t components, stride, in_width, out_width;
};

// Products of matrices in both orders, x y + y x; see matrices.h.
template <class S>
struct MatrixProduct final : Step<S> {
  explicit MatrixProduct(Parser<S>& p) {
    x = p.buffer("product: operand"), y = p.buffer("product: second operand");
    out = p.buffer("product: result");
    gain = p.scalars({1}, "product: gain")[0];
    add = p.number(0, 1, "product: add") == 1;
    width = p.buffers[x].width, channels = width / kMatrixComponents;
    EQUIPOT_CHECK(width == p.buffers[y].width && width == p.buffers[out].width &&
                      channels * kMatrixComponents == width && x != out && y != out,
                  "products of matrices need buffers of nine rows of channels");
    EQUIPOT_CHECK(x != y || p.buffers[x].shared, "squares of matrices add derivatives");
  }
  void evaluate(Run<S>& run) const override {
    const S *a = run.values(x), *b = run.values(y);
    S* to = run.values(out);
    const auto kernel = EQUIPOT_SELECT(matrix_product<S>);
    share_ranges(run.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first * width; n < last * width; n += width) {
        kernel(gain, a + n, b + n, channels, to + n, add);
      }
    });
  }
  void differentiate(Run<S>& run) const override {
    const bool add_x = run.adds_to(x), add_y = run.adds_to(y);
    const S *a = run.values(x), *b = run.values(y), *bar = run.derivatives(out);
    S *x_bar = run.derivatives(x), *y_bar = run.derivatives(y);
    const auto kernel = EQUIPOT_SELECT(differentiate_matrix_product<S>);
    share_ranges(run.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t n = first * width; n < last * width; n += width) {
        kernel(gain, a + n, b + n, bar + n, channels, x_bar + n, add_x, y_bar + n, add_y);
      }
    });
  }
  int64_t x, y, out, width, channels;
  S gain;
  bool add;
};

}  // namespace equipot
