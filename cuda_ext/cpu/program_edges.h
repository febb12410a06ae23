// Instructions that sum over the edges of nodes.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "convolution.h"
#include "convolution_layout.h"
#include "program_parser.h"

namespace equipot {

// Splines of a program with the memory of their segments.
template <class S>
struct SplineTable {
  template <class P>
  SplineTable(P& p, int64_t columns) {
    const Tensor& given = p.constant("spline: segments");
    check_tensor(given, "spline: segments", ScalarType::Double, kCpu);
    check_shape(given, "spline: segments", {-1, 3}, "(segments, 3)");
    EQUIPOT_CHECK(given.size(0) > 0, "a spline needs segments");
    const double* numbers = data<double>(given);
    int64_t rows = 0;
    for (int64_t n = 0; n < given.size(0); ++n, numbers += 3) {
      const auto intervals = static_cast<int64_t>(numbers[2]);
      EQUIPOT_CHECK(numbers[0] < numbers[1] && intervals > 0,
                    "segments of a spline must have a length and intervals");
      segments.push_back({numbers[0], numbers[1],
                          static_cast<double>(intervals) / (numbers[1] - numbers[0]),
                          intervals, rows});
      rows += intervals + 5;
    }
    const bool by_pair = p.number(0, 1, "spline: by pair") == 1;
    int64_t tables = 1;
    spline = {columns, nullptr, static_cast<int64_t>(segments.size()), nullptr, rows,
              nullptr, p.elements};
    if (by_pair) {
      const Tensor& pairs = p.constant("spline: pairs");
      check_tensor(pairs, "spline: pairs", ScalarType::Long, kCpu);
      check_shape(pairs, "spline: pairs", {p.elements, p.elements}, "(elements, elements)");
      spline.table_of_pair = data<int64_t>(pairs);
      for (int64_t n = 0; n < p.elements * p.elements; ++n) {
        EQUIPOT_CHECK(spline.table_of_pair[n] >= 0, "negative table of a spline");
        tables = std::max(tables, spline.table_of_pair[n] + 1);
      }
    }
    spline.coefficients =
        p.template scalars<S>({tables, rows, columns}, "spline: coefficients");
    spline.segments = segments.data();
  }
  SplineTable(const SplineTable&) = delete;
  std::vector<Segment> segments;
  Spline<S> spline;
};

// Sum of a function of the length over the edges of a node, in the first column.
template <class S>
struct RadialSum final : TwiceDifferentiable<S> {
  explicit RadialSum(Parser<S>& p)
      : out(p.buffer("density: result")),
        width(p.buffers[out].width),
        table(p, width) {}
  void evaluate(Run<S>& run) const override {
    S* to = run.values(out);
    S* scratch = run.scratch_of_threads(width);
    const auto kernel = EQUIPOT_SELECT(splines<S>);
    share(static_cast<int64_t>(run.pieces.size()), [&](int64_t piece, int64_t thread) {
      S* values = scratch + thread * width;
      for (int64_t n = run.pieces[piece].first; n < run.pieces[piece].second; ++n) {
        std::fill_n(to + n * width, width, S{0});
        for (int64_t e = run.edges.pointers[n]; e < run.edges.pointers[n + 1]; ++e) {
          kernel(table.spline, run.edges, e, e + 1, values, nullptr);
          to[n * width] += values[0];
        }
      }
    });
  }
  void differentiate(Run<S>& run) const override {
    const S* bar = run.derivatives(out);
    for_each_edge(run, [&](int64_t n, int64_t e, const S* slope, const S* curvature) {
      const auto b = static_cast<double>(bar[n * width]);
      run.length_bar[e] += b * static_cast<double>(*slope);
      if (run.length_bend != nullptr) {
        run.length_bend[e] += b * static_cast<double>(*curvature);
      }
    });
  }
  void evaluate_tangents(TangentRun<S>& t) const override {
    S* to = t.dot.values(out);
    std::fill_n(to, t.at.nodes * width, S{0});
    for_each_edge(t.dot, [&](int64_t n, int64_t e, const S* slope, const S*) {
      to[n * width] += *slope * static_cast<S>(t.length_dot[e]);
    });
  }
  void differentiate_tangents(TangentRun<S>& t) const override {
    const S* bar_dot = t.dot.derivatives(out);
    for_each_edge(t.dot, [&](int64_t n, int64_t e, const S* slope, const S*) {
      t.dot.length_bar[e] += static_cast<double>(bar_dot[n * width] * *slope);
    });
  }
  // Calls work(node, edge, slope, curvature).
  template <class Work>
  void for_each_edge(const Run<S>& run, const Work& work) const {
    S* scratch = run.scratch_of_threads(3 * width);
    const auto kernel = EQUIPOT_SELECT(curved_splines<S>);
    share(static_cast<int64_t>(run.pieces.size()), [&](int64_t piece, int64_t thread) {
      S *values = scratch + thread * 3 * width, *slopes = values + width;
      S* curvatures = slopes + width;
      for (int64_t n = run.pieces[piece].first; n < run.pieces[piece].second; ++n) {
        for (int64_t e = run.edges.pointers[n]; e < run.edges.pointers[n + 1]; ++e) {
          kernel(table.spline, run.edges, e, e + 1, values, slopes, curvatures);
          work(n, e, slopes, curvatures);
        }
      }
    });
  }
  int64_t out, width;
  SplineTable<S> table;
};

template <class S>
struct EdgeMoments final : TwiceDifferentiable<S> {
  explicit EdgeMoments(Parser<S>& p)
      : out(p.buffer("moments: result")),
        table(p, p.aligned(1, kLargest, "moments: functions")) {
    EQUIPOT_CHECK(p.buffers[out].width ==
                      p.elements * p.harmonics * table.spline.columns,
                  "moments have the wrong width");
  }
  Moments<S> arguments(Run<S>& run) const {
    Moments<S> m{};
    m.spline = table.spline;
    m.harmonics = run.harmonics;
    m.y = run.y;
    m.y_bar = run.y_bar;
    m.length_bar = run.length_bar;
    m.length_bend = run.length_bend;
    return m;
  }
  Moments<S> arguments(TangentRun<S>& t) const {
    Moments<S> m = arguments(t.dot);
    m.y = t.at.y;
    m.y_dot = t.dot.y;
    m.length_dot = t.length_dot;
    m.moves = t.moves;
    return m;
  }
  void evaluate_tangents(TangentRun<S>& t) const override {
    Moments<S> m = arguments(t);
    m.out = t.dot.values(out);
    run_kernel(t.dot, m, EQUIPOT_SELECT(add_moment_tangents<S>));
  }
  void differentiate_tangents(TangentRun<S>& t) const override {
    Moments<S> m = arguments(t);
    m.bar = t.at.derivatives(out);
    m.bar_dot = t.dot.derivatives(out);
    run_kernel(t.dot, m, EQUIPOT_SELECT(differentiate_moment_tangents<S>));
  }
  void evaluate(Run<S>& run) const override {
    Moments<S> m = arguments(run);
    m.out = run.values(out);
    run_kernel(run, m, EQUIPOT_SELECT(add_moments<S>));
  }
  void differentiate(Run<S>& run) const override {
    Moments<S> m = arguments(run);
    m.bar = run.derivatives(out);
    run_kernel(run, m, EQUIPOT_SELECT(differentiate_moments<S>));
  }
  template <class Kernel>
  void run_kernel(Run<S>& run, const Moments<S>& m, const Kernel& kernel) const {
    const int64_t size = 4 * m.spline.columns;
    S* scratch = run.scratch_of_threads(size);
    share(static_cast<int64_t>(run.pieces.size()), [&](int64_t piece, int64_t thread) {
      const auto [first, last] = run.pieces[piece];
      kernel(m, run.edges, first, last, scratch + thread * size);
    });
  }
  int64_t out;
  SplineTable<S> table;
};

// Convolution with weights from splines, which are evaluated for a few edges at a time.
// Derivatives are those of the reverse edges, whose senders are the receivers here: their
// harmonics are those of the edges times (-1)^l.
template <class S>
struct Convolve final : TwiceDifferentiable<S> {
  explicit Convolve(Parser<S>& p) {
    x = p.buffer("convolve: operand");
    out = p.buffer("convolve: result");
    channels = p.aligned(1, kLargest, "convolve: channels");
    const int64_t num_paths = p.number(1, kLargest, "convolve: paths");
    Table given;
    for (int64_t n = 0; n < 3 * num_paths; ++n) {
      given.paths.push_back(p.number(0, 127, "convolve: degree"));
    }
    given.rows = p.constant("convolve: rows");
    given.columns = p.constant("convolve: columns");
    given.values = p.constant("convolve: values");
    Tensor reversed = p.constant("convolve: values of reverse edges");
    x_rows = p.buffers[x].width / channels;
    given.num_outputs = p.buffers[out].width / channels;
    given.concat = p.number(0, 1, "convolve: concat") == 1;
    EQUIPOT_CHECK(x_rows * channels == p.buffers[x].width &&
                      given.num_outputs * channels == p.buffers[out].width,
                  "buffers of a convolution must be whole rows of channels");
    const ScalarType type = sizeof(S) == 4 ? ScalarType::Float : ScalarType::Double;
    check_table(given, type, kCpu);
    there = constants_of<S>(given, x_rows, p.harmonics, Layout::by_row);
    given.values = reversed;
    check_table(given, type, kCpu);
    back = constants_of<S>(given, x_rows, p.harmonics, Layout::by_column);
    z_rows = given.num_outputs;
    alone = !p.buffers[x].shared;
    table = std::make_unique<SplineTable<S>>(p, num_paths * channels);
  }
  // Tangents are set, not added.
  bool has_tangents() const override { return alone; }
  Convolution<S> arguments(Run<S>& run, const Constants<S>& constants) const {
    Convolution<S> c{};
    c.paths = constants.paths.data();
    c.num_paths = static_cast<int32_t>(constants.paths.size());
    c.groups = constants.groups.data();
    c.num_groups = static_cast<int32_t>(constants.groups.size());
    c.map = constants.map;
    c.channels = channels;
    c.x_rows = static_cast<int32_t>(x_rows);
    c.z_rows = static_cast<int32_t>(z_rows);
    c.senders = run.edges.senders;
    c.receivers = run.edges.receivers;
    c.pointers = run.edges.pointers;
    c.tangents = Tangents::none;
    c.x = run.values(x);
    c.y = run.y;
    return c;
  }
  int64_t most_edges(const Run<S>& run) const {
    int64_t most = 0;
    for (const auto& [first, last] : run.pieces) {
      most = std::max(most, run.edges.pointers[last] - run.edges.pointers[first]);
    }
    return most;
  }
  int64_t most_nodes(const Run<S>& run) const {
    int64_t most = 0;
    for (const auto& [first, last] : run.pieces) most = std::max(most, last - first);
    return most;
  }
  void evaluate(Run<S>& run) const override {
    Convolution<S> c = arguments(run, there);
    c.z = run.values(out);
    const int64_t row = table->spline.columns, weights = most_edges(run) * row;
    const int64_t size = padded_size(weights + EQUIPOT_SELECT(scratch_size<S>)(c));
    S* scratch = run.scratch_of_threads(size);
    const auto kernel = EQUIPOT_SELECT(gather<S>);
    const auto functions = EQUIPOT_SELECT(splines<S>);
    share(static_cast<int64_t>(run.pieces.size()), [&](int64_t piece, int64_t thread) {
      const auto [first, last] = run.pieces[piece];
      const int64_t begin = run.edges.pointers[first], end = run.edges.pointers[last];
      S* w = scratch + thread * size;
      functions(table->spline, run.edges, begin, end, w, nullptr);
      Convolution<S> here = c;
      here.w = w - begin * row;
      kernel(here, first, last, w + weights);
    });
  }
  void differentiate(Run<S>& run) const override {
    Convolution<S> c = arguments(run, back);
    c.derivatives = true;
    std::swap(c.senders, c.receivers);
    c.g = run.derivatives(out);
    c.x_bar = run.derivatives(x);
    const int64_t row = table->spline.columns, most = most_edges(run);
    const int64_t weights = most * row, harmonics = padded_size(most * run.harmonics);
    const bool add = run.adds_to(x);
    const int64_t width = x_rows * channels;
    const int64_t derivatives = add ? most_nodes(run) * width : 0;
    const int64_t size = padded_size(4 * weights + harmonics + derivatives +
                                     EQUIPOT_SELECT(scratch_size<S>)(c));
    S* scratch = run.scratch_of_threads(size);
    const auto sum = EQUIPOT_SELECT(scaled<S>);
    const auto kernel = EQUIPOT_SELECT(differentiate<S>);
    const auto functions = EQUIPOT_SELECT(splines<S>);
    const auto curved_functions = EQUIPOT_SELECT(curved_splines<S>);
    const auto products = EQUIPOT_SELECT(add_row_products<S>);
    share(static_cast<int64_t>(run.pieces.size()), [&](int64_t piece, int64_t thread) {
      const auto [first, last] = run.pieces[piece];
      const int64_t begin = run.edges.pointers[first], end = run.edges.pointers[last];
      S *w = scratch + thread * size, *slopes = w + weights, *w_bar = slopes + weights;
      S *curvatures = w_bar + weights, *y_bar = curvatures + weights;
      S *x_bar = y_bar + harmonics, *rest = x_bar + derivatives;
      if (run.length_bend == nullptr) {
        functions(table->spline, run.edges, begin, end, w, slopes);
      } else {
        curved_functions(table->spline, run.edges, begin, end, w, slopes, curvatures);
      }
      Convolution<S> here = c;
      here.w = w - begin * row;
      here.w_bar = w_bar - begin * row;
      here.y_bar = y_bar - begin * run.harmonics;
      if (add) here.x_bar = x_bar - first * width;
      kernel(here, first, last, rest);
      if (add) sum(1, x_bar, (last - first) * width, c.x_bar + first * width, true);
      products(w_bar, slopes, end - begin, row, run.length_bar + begin);
      if (run.length_bend != nullptr) {
        products(w_bar, curvatures, end - begin, row, run.length_bend + begin);
      }
      S* total = run.y_bar + begin * run.harmonics;
      for (int64_t n = 0; n < (end - begin) * run.harmonics; ++n) total[n] += y_bar[n];
    });
  }
  // Keeps weights and slopes for many directions.
  void prepare(Run<S>& run, int64_t directions) override {
    const int64_t size = run.num_edges * table->spline.columns;
    kept_ = directions > 2 && 2 * size * static_cast<int64_t>(sizeof(S)) <= kMostKept;
    if (!kept_) return;
    EQUIPOT_SELECT(splines<S>)
    (table->spline, run.edges, 0, run.num_edges, weights_.at_least(size),
     slopes_.at_least(size));
  }
  void release() override {
    weights_.release();
    slopes_.release();
  }
  // Edges that do not move have no tangents of weights and harmonics.
  void evaluate_tangents(TangentRun<S>& t) const override {
    Run<S>& run = t.dot;
    Convolution<S> c = arguments(t.at, there);
    c.tangents = Tangents::all;
    c.x_dot = run.values(x);
    c.y_dot = run.y;
    c.z = run.values(out);
    const int64_t row = table->spline.columns, weights = most_edges(run) * row;
    const int64_t size = padded_size(3 * weights + EQUIPOT_SELECT(scratch_size<S>)(c));
    S* scratch = run.scratch_of_threads(size);
    const auto kernel = EQUIPOT_SELECT(gather<S>);
    share(static_cast<int64_t>(run.pieces.size()), [&](int64_t piece, int64_t thread) {
      const auto [first, last] = run.pieces[piece];
      const int64_t begin = run.edges.pointers[first];
      S *memory = scratch + thread * size, *w_dot = memory + 2 * weights;
      Convolution<S> here = c;
      const S* slopes = weights_of(t, first, last, memory, memory + weights, here);
      here.w_dot = w_dot - begin * row;
      tangents_of_weights(t, first, last, slopes, w_dot - begin * row);
      Convolution<S> still = chosen(here, t.still);
      still.tangents = Tangents::none;
      still.x = here.x_dot;
      kernel(still, first, last, w_dot + weights);
      here = chosen(here, t.moving);
      here.add = true;
      kernel(here, first, last, w_dot + weights);
    });
  }
  void differentiate_tangents(TangentRun<S>& t) const override {
    Run<S>& run = t.dot;
    Convolution<S> c = arguments(t.at, back);
    c.derivatives = true;
    c.tangents = Tangents::all;
    std::swap(c.senders, c.receivers);
    c.g = t.at.derivatives(out);
    c.x_dot = run.values(x);
    c.y_dot = run.y;
    const int64_t row = table->spline.columns, most = most_edges(run);
    const int64_t weights = most * row, harmonics = padded_size(most * run.harmonics);
    const int64_t width = x_rows * channels, features = most_nodes(run) * width;
    const int64_t size = padded_size(4 * weights + harmonics + features +
                                     EQUIPOT_SELECT(scratch_size<S>)(c));
    S* scratch = run.scratch_of_threads(size);
    const auto kernel = EQUIPOT_SELECT(differentiate<S>);
    const auto products = EQUIPOT_SELECT(add_row_products<S>);
    share(static_cast<int64_t>(run.pieces.size()), [&](int64_t piece, int64_t thread) {
      const auto [first, last] = run.pieces[piece];
      const int64_t begin = run.edges.pointers[first], end = run.edges.pointers[last];
      S *memory = scratch + thread * size, *w_dot = memory + 2 * weights;
      S *w_bar = w_dot + weights, *y_bar = w_bar + weights, *unused = y_bar + harmonics;
      S* rest = unused + features;
      Convolution<S> here = c;
      const S* slopes = weights_of(t, first, last, memory, memory + weights, here);
      tangents_of_weights(t, first, last, slopes, w_dot - begin * row);
      here.w_dot = w_dot - begin * row;
      here.w_bar = w_bar - begin * row;
      here.y_bar = y_bar - begin * run.harmonics;
      here.x_bar = run.derivatives(x);
      const auto finish = [&] {
        products(w_bar, slopes + begin * row, end - begin, row, run.length_bar + begin);
        S* total = run.y_bar + begin * run.harmonics;
        for (int64_t n = 0; n < (end - begin) * run.harmonics; ++n) total[n] += y_bar[n];
      };
      kernel(chosen(here, t.moving), first, last, rest);
      // at constant weights and harmonics, derivatives with respect to x do not change
      Convolution<S> still = chosen(here, t.still);
      still.tangents = Tangents::none;
      still.x = here.x_dot;
      still.x_bar = unused - first * width;
      kernel(still, first, last, rest);
      finish();
      here.tangents = Tangents::none;
      here.g = run.derivatives(out);
      here.add = true;
      kernel(here, first, last, rest);
      finish();
    });
  }
  static Convolution<S> chosen(Convolution<S> c, const EdgeSelection& edges) {
    c.pointers = edges.pointers.data();
    c.order = edges.order.data();
    return c;
  }
  // Sets the weights of the edges of nodes, which are kept or computed in `w`. Returns
  // their slopes, which are at the place of the edge.
  const S* weights_of(const TangentRun<S>& t, int64_t first, int64_t last, S* w, S* slopes,
                      Convolution<S>& c) const {
    if (kept_) {
      c.w = weights_.get();
      return slopes_.get();
    }
    const int64_t row = table->spline.columns;
    const int64_t begin = t.at.edges.pointers[first], end = t.at.edges.pointers[last];
    EQUIPOT_SELECT(splines<S>)(table->spline, t.at.edges, begin, end, w, slopes);
    c.w = w - begin * row;
    return slopes - begin * row;
  }
  // Tangents of the weights of edges that move.
  void tangents_of_weights(const TangentRun<S>& t, int64_t first, int64_t last,
                           const S* slopes, S* w_dot) const {
    const int64_t row = table->spline.columns;
    const auto kernel = EQUIPOT_SELECT(scaled<S>);
    for (int64_t n = t.moving.pointers[first]; n < t.moving.pointers[last]; ++n) {
      const int64_t e = t.moving.order[n];
      kernel(static_cast<S>(t.length_dot[e]), slopes + e * row, row, w_dot + e * row, false);
    }
  }
  static int64_t padded_size(int64_t size) { return (size + 15) / 16 * 16; }
  int64_t x, out, channels, x_rows, z_rows;
  bool alone = true;  // whether no other step sets derivatives of the operand
  Constants<S> there, back;
  std::unique_ptr<SplineTable<S>> table;
  bool kept_ = false;
  Memory<S> weights_, slopes_;  // of each edge
};

}  // namespace equipot
