// Programs on the CPU: energies, forces and virials of a frozen model in one call.
//
// A program is a list of steps on buffers of node features. It is created once and owns
// its constants and its memory, so that later calls allocate nothing but their results.
// For the instructions see equipot/ops/program.py.
#include "program.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <utility>
#include <vector>

#include "../checks.h"
#include "contraction.h"
#include "convolution.h"
#include "convolution_layout.h"
#include "harmonics.h"
#include "matrices.h"
#include "memory.h"
#include "monomials.h"
#include "nodes_by_row.h"
#include "schedule.h"

namespace equipot {
namespace {

// Nodes per piece of work of steps without edges, and edges per piece of those with edges.
constexpr int64_t kNodesPerPiece = 32;
constexpr int64_t kEdgesPerPiece = 32;
// Most bytes that an instruction keeps for many directions.
constexpr int64_t kMostKept = int64_t{1} << 28;

// Memory that grows on demand and is kept; its contents are lost when it grows.
template <class T>
class Memory {
 public:
  T* at_least(int64_t size) {
    if (size > size_) {
      size_ = size + size / 4;
      data_.reset();
      const std::size_t bytes = (size_ * sizeof(T) + 63) / 64 * 64;
      void* memory = std::aligned_alloc(64, bytes);
      if (memory == nullptr) {
        size_ = 0;
        throw std::bad_alloc();
      }
      use_huge_pages(memory, static_cast<int64_t>(bytes));
      data_.reset(static_cast<T*>(memory));
    }
    return data_.get();
  }
  T* get() const { return data_.get(); }
  void release() {
    data_.reset();
    size_ = 0;
  }
  int64_t bytes() const { return size_ * static_cast<int64_t>(sizeof(T)); }

 private:
  std::unique_ptr<T[], Free> data_;
  int64_t size_ = 0;
};

// Calls work(piece, thread) for all pieces, scheduled dynamically.
template <class Work>
void share(int64_t pieces, const Work& work) {
  const int64_t threads =
      std::clamp<int64_t>(pieces, 1, torch::stable::get_num_threads());
  if (threads == 1) {
    for (int64_t piece = 0; piece < pieces; ++piece) work(piece, int64_t{0});
    return;
  }
  std::atomic<int64_t> next{0};
  torch::stable::parallel_for(0, threads, 1, [&](int64_t thread, int64_t) {
    for (int64_t piece; (piece = next++) < pieces;) work(piece, thread);
  });
}

// Calls work(first, last) for ranges of nodes or edges.
template <class Work>
void share_ranges(int64_t count, int64_t size, const Work& work) {
  share((count + size - 1) / size, [&](int64_t piece, int64_t) {
    work(piece * size, std::min(count, (piece + 1) * size));
  });
}

// Reads the code of a program.
class Reader {
 public:
  Reader(const Tensor& code, const std::vector<Tensor>& constants)
      : at_(data<int64_t>(code)), end_(at_ + code.size(0)), constants_(constants) {}

  bool done() const { return at_ == end_; }

  int64_t number(int64_t low, int64_t high, const char* name) {
    EQUIPOT_CHECK(at_ != end_, "the code of a program ends before ", name);
    EQUIPOT_CHECK(low <= *at_ && *at_ <= high, name, " must be in ", low, " to ", high,
                  ", got ", *at_);
    return *at_++;
  }

  const Tensor& constant(const char* name) {
    return constants_[number(0, static_cast<int64_t>(constants_.size()) - 1, name)];
  }

 private:
  const int64_t *at_, *end_;
  const std::vector<Tensor>& constants_;
};

constexpr int64_t kLargest = int64_t{1} << 40;

// Buffer of node features, [nodes, width]; places are in scalars per node.
struct Buffer {
  int64_t width, values, derivatives;
  // Whether several steps add to the derivatives, or set only a part of them.
  bool shared;
};

// One evaluation.
template <class S>
struct Run {
  const std::vector<Buffer>& buffers;
  int64_t nodes;
  Edges edges;
  int64_t num_edges, harmonics;
  const NodesByRow& by_element;
  const int64_t* order;  // 0, 1, ..., nodes - 1
  const std::vector<std::pair<int64_t, int64_t>>& pieces;  // nodes of few edges
  S* memory;
  const S* y;
  S* y_bar;
  double* length_bar;
  double* energies;
  Memory<S>& scratch;
  std::vector<char> begun;  // buffers whose derivatives have been set
  // Second derivatives of functions of the length times the derivatives with respect to
  // the functions; null unless they are needed.
  double* length_bend = nullptr;

  S* values(int64_t b) const { return memory + buffers[b].values * nodes; }
  S* derivatives(int64_t b) const { return memory + buffers[b].derivatives * nodes; }

  // Whether to add to the derivatives of a buffer, which are set to zero before the first
  // addition; otherwise the step sets all of them.
  bool adds_to(int64_t b) {
    if (!buffers[b].shared) return false;
    if (begun[b] == 0) {
      begun[b] = 1;
      const int64_t width = buffers[b].width;
      S* to = derivatives(b);
      share_ranges(nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
        std::memset(to + first * width, 0, (last - first) * width * sizeof(S));
      });
    }
    return true;
  }

  // Scratch space of all threads, `size` scalars each.
  S* scratch_of_threads(int64_t size) const {
    return scratch.at_least(size * torch::stable::get_num_threads());
  }
};

// Some of the edges: those of node n are order[pointers[n]], ..., order[pointers[n + 1] - 1].
struct EdgeSelection {
  std::vector<int64_t> order, pointers;

  // Selects edges by whether `chosen` is `value`.
  void select(const Edges& edges, int64_t nodes, const char* chosen, bool value) {
    order.clear();
    pointers.assign(1, 0);
    for (int64_t n = 0; n < nodes; ++n) {
      for (int64_t e = edges.pointers[n]; e < edges.pointers[n + 1]; ++e) {
        if ((chosen[e] != 0) == value) order.push_back(e);
      }
      pointers.push_back(static_cast<int64_t>(order.size()));
    }
  }
};

// Tangents of an evaluation along one displacement: of values, harmonics, derivatives, and
// derivatives with respect to harmonics and lengths, in the place of these.
template <class S>
struct TangentRun {
  Run<S>& at;
  Run<S>& dot;
  const double* length_dot;
  const char* moves;  // whether an edge has tangents of its own
  // The edges that have some, and the others.
  const EdgeSelection &moving, &still;
};

template <class S>
struct TwiceDifferentiable;

// One instruction.
template <class S>
struct Step {
  virtual ~Step() = default;
  virtual void evaluate(Run<S>&) const = 0;
  // Derivatives of the operands from those of the result.
  virtual void differentiate(Run<S>&) const = 0;
  // This step with second derivatives, or null if there are none.
  virtual const TwiceDifferentiable<S>* twice() const { return nullptr; }
  // Called before the tangents along some directions, after `differentiate`.
  virtual void prepare(Run<S>&, int64_t /* directions */) {}
  // Releases the memory of `prepare`.
  virtual void release() {}
};

template <class S>
struct TwiceDifferentiable : Step<S> {
  // Tangents of the result.
  virtual void evaluate_tangents(TangentRun<S>&) const = 0;
  // Tangents of the derivatives of the operands, from those of the result, except for the
  // part of `length_bend`.
  virtual void differentiate_tangents(TangentRun<S>&) const = 0;
  // Whether second derivatives are those of this instance, too.
  virtual bool has_tangents() const { return true; }
  const TwiceDifferentiable<S>* twice() const final {
    return has_tangents() ? this : nullptr;
  }
};

// Part of a buffer: rows of `size` scalars.
struct Place {
  int64_t buffer, offset, size;
};

template <class S>
class Parser : public Reader {
 public:
  Parser(const Tensor& code, const std::vector<Tensor>& constants)
      : Reader(code, constants) {}

  std::vector<Buffer> buffers;
  int64_t harmonics = 1, elements = 1;

  int64_t buffer(const char* name) {
    return number(0, static_cast<int64_t>(buffers.size()) - 1, name);
  }

  int64_t aligned(int64_t low, int64_t high, const char* name) {
    const int64_t value = number(low, high, name);
    EQUIPOT_CHECK(value % (kRowBytes / static_cast<int64_t>(sizeof(S))) == 0, name,
                  " must be a multiple of ", kRowBytes / sizeof(S), ", got ", value);
    return value;
  }

  Place place(const char* name) {
    Place p{};
    p.buffer = buffer(name);
    p.offset = aligned(0, buffers[p.buffer].width, name);
    p.size = aligned(0, buffers[p.buffer].width - p.offset, name);
    return p;
  }

  // A constant of this program's precision.
  template <class T = S>
  const T* scalars(std::initializer_list<int64_t> shape, const char* name) {
    const Tensor& tensor = constant(name);
    const ScalarType type = sizeof(T) == 4 ? ScalarType::Float : ScalarType::Double;
    check_tensor(tensor, name, type, kCpu);
    check_shape(tensor, name, shape, "stated by the code of the program");
    return data<T>(tensor);
  }
};

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

struct Structure {
  const Tensor &positions, &translations, &elements, &senders, &receivers, &pointers,
      &reverse;
};

// Results: energies [nodes], forces [nodes, 3], virials [nodes, 9] and features.
struct Predictions {
  Tensor energies, forces, virials, features;
};

class AnyProgram {
 public:
  virtual ~AnyProgram() = default;
  virtual Predictions run(const Structure&, bool derivatives) = 0;
  // Whether there are second derivatives of all instructions.
  virtual bool second_derivatives() const = 0;
  // Products of the Hessian with directions [directions, nodes, 3]; without rows of nodes
  // if an edge is too short.
  virtual Tensor hessian_products(const Structure&, const Tensor& directions) = 0;
  virtual int64_t bytes() const = 0;
};

template <class S>
class Program final : public AnyProgram {
 public:
  Program(const Tensor& code, std::vector<Tensor> constants)
      : constants_(std::move(constants)) {
    Parser<S> p(code, constants_);
    p.elements = elements_ = p.number(1, kLargest, "elements");
    lmax_ = p.number(0, 127, "lmax");
    p.harmonics = (lmax_ + 1) * (lmax_ + 1);
    entries_ = p.constant("entries of the harmonics");
    check_tensor(entries_, "entries", ScalarType::Int, kCpu);
    check_shape(entries_, "entries", {-1, 3}, "(nonzeros, 3)");
    check_entries();
    harmonic_values_ = p.scalars({entries_.size(0)}, "values of the harmonics");
    const int64_t count = p.number(0, kLargest, "buffers");
    width_ = p.number(0, kLargest, "width");
    for (int64_t n = 0; n < count; ++n) {
      Buffer b{};
      b.width = p.aligned(1, width_, "width of a buffer");
      b.values = p.aligned(0, width_ - b.width, "place of a buffer");
      b.derivatives = p.aligned(0, width_ - b.width, "place of derivatives");
      b.shared = p.number(0, 1, "shared") == 1;
      p.buffers.push_back(b);
    }
    buffers_ = p.buffers;
    for (Buffer b : buffers_) {
      b.values = full_width_;
      b.derivatives = full_width_ + b.width;
      full_width_ += 2 * b.width;
      full_buffers_.push_back(b);
    }
    features_ = p.place("features");
    const Tensor& energies = p.constant("energies of elements");
    check_tensor(energies, "energies of elements", ScalarType::Double, kCpu);
    check_shape(energies, "energies of elements", {elements_}, "(elements,)");
    element_energies_ = data<double>(energies);
    const Tensor& numbers = p.constant("coordination");
    check_tensor(numbers, "coordination", ScalarType::Double, kCpu);
    check_shape(numbers, "coordination", {5}, "(shift, power, cutoff, scale, shortest)");
    coordination_ = {data<double>(numbers)[0], data<double>(numbers)[2],
                     static_cast<int>(data<double>(numbers)[1])};
    scale_ = data<double>(numbers)[3];
    shortest_ = data<double>(numbers)[4];
    if (p.number(0, 1, "pairs") == 1) pairs_ = std::make_unique<PairEnergies>(p);
    while (!p.done()) steps_.push_back(step(p));
  }

  Predictions run(const Structure& s, bool derivatives) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    const int64_t nodes = s.positions.size(0), num_edges = s.senders.size(0);
    check(s, nodes, num_edges);
    Predictions out{torch::stable::new_empty(s.positions, {nodes}),
                    torch::stable::new_empty(s.positions, {derivatives ? nodes : 0, 3}),
                    torch::stable::new_empty(s.positions, {derivatives ? nodes : 0, 9}),
                    torch::stable::new_empty(s.positions, {nodes, features_.size},
                                             sizeof(S) == 4 ? ScalarType::Float
                                                            : ScalarType::Double)};
    const NodesByRow by_element(s.elements, elements_);
    Edges edges{};
    if (!prepare(s, edges, nodes, num_edges)) {
      return {torch::stable::new_empty(s.positions, {0}), out.forces, out.virials,
              out.features};
    }
    Run<S> run = new_run(buffers_, edges, nodes, num_edges, by_element, scratch_);
    run.memory = memory_.at_least(width_ * nodes);
    run.y = y_.get();
    run.energies = mutable_data<double>(out.energies);
    std::fill_n(run.energies, nodes, 0.0);
    for (const auto& step : steps_) step->evaluate(run);
    copy_features(run, out.features);
    for (int64_t n = 0; n < nodes; ++n) {
      run.energies[n] =
          scale_ * run.energies[n] + element_energies_[edges.elements[n]];
    }
    if (derivatives) {
      differentiate(run);
      finish(s, run, out);
    } else {
      add_direct_energies(run, nullptr);
    }
    return out;
  }

  bool second_derivatives() const override {
    return std::all_of(steps_.begin(), steps_.end(),
                       [](const auto& step) { return step->twice() != nullptr; });
  }

  Tensor hessian_products(const Structure& s, const Tensor& directions) override {
    EQUIPOT_CHECK(second_derivatives(),
                  "an instruction of the program has no second derivatives");
    const std::lock_guard<std::mutex> lock(mutex_);
    const int64_t nodes = s.positions.size(0), num_edges = s.senders.size(0);
    check(s, nodes, num_edges);
    check_tensor(directions, "directions", ScalarType::Double, kCpu);
    check_shape(directions, "directions", {-1, nodes, 3}, "(directions, nodes, 3)");
    const int64_t count = directions.size(0);
    const NodesByRow by_element(s.elements, elements_);
    Edges edges{};
    if (!prepare(s, edges, nodes, num_edges)) {
      return torch::stable::new_empty(s.positions, {count, 0, 3});
    }
    Tensor products = torch::stable::new_empty(s.positions, {count, nodes, 3});
    std::vector<double> energies(nodes, 0.0), bends(num_edges, 0.0);
    std::vector<S> n_bar(3 * num_edges);
    Run<S> run = new_run(full_buffers_, edges, nodes, num_edges, by_element, scratch_);
    run.memory = full_memory_.at_least(full_width_ * nodes);
    run.y = y_.get();
    run.energies = energies.data();
    run.length_bend = bends.data();
    for (const auto& step : steps_) step->evaluate(run);
    differentiate(run);
    for (const auto& step : steps_) step->prepare(run, count);
    for (int64_t e = 0; e < num_edges; ++e) {
      run.length_bar[e] *= scale_, run.length_bend[e] *= scale_;
    }
    add_direct_energies(run, run.length_bar);
    Harmonics<S> h = all_harmonics();
    h.g = run.y_bar;
    h.n_bar = n_bar.data();
    apply(h, num_edges, scratch_);
    const double* from = data<double>(directions);
    double* to = mutable_data<double>(products);
    const auto work = [&](int64_t n, int64_t thread) {
      const int64_t at = 3 * nodes * n;
      multiply(run, data<int64_t>(s.reverse), n_bar.data(), from + at, *workers_[thread],
               to + at);
    };
    const int64_t threads = count < 2 ? 1 : torch::stable::get_num_threads();
    while (static_cast<int64_t>(workers_.size()) < threads) {
      workers_.push_back(std::make_unique<Worker>());
    }
    share(count, work);
    for (const auto& step : steps_) step->release();
    return products;
  }

  int64_t bytes() const override {
    int64_t of_workers = 0;
    for (const auto& worker : workers_) of_workers += worker->bytes();
    return of_workers + full_memory_.bytes() + memory_.bytes() + scratch_.bytes() + y_.bytes() + y_bar_.bytes() +
           directions_.bytes() + lengths_.bytes() + length_bar_.bytes() +
           gradients_.bytes();
  }

 private:
  // Memory of the tangents of one direction.
  struct Worker {
    Memory<S> memory, scratch, y_dot, y_bar_dot, n_dot, n_bar_dot, bent;
    Memory<double> length_dot, length_bar_dot, gradients;
    Memory<char> moves;
    EdgeSelection moving, still;

    int64_t bytes() const {
      return memory.bytes() + scratch.bytes() + y_dot.bytes() + y_bar_dot.bytes() +
             n_dot.bytes() + n_bar_dot.bytes() + bent.bytes() + length_dot.bytes() +
             length_bar_dot.bytes() + gradients.bytes() + moves.bytes();
    }
  };

  // Sorts and measures edges. Returns whether all are long enough.
  bool prepare(const Structure& s, Edges& edges, int64_t nodes, int64_t num_edges) {
    order_.resize(nodes);
    for (int64_t n = 0; n < nodes; ++n) order_[n] = n;
    edges = {data<int64_t>(s.senders), data<int64_t>(s.receivers),
             data<int64_t>(s.pointers), data<int64_t>(s.elements), nullptr};
    find_pieces(edges, nodes);
    return !(measure(s, edges, num_edges) < shortest_);
  }

  Run<S> new_run(const std::vector<Buffer>& buffers, const Edges& edges, int64_t nodes,
                 int64_t num_edges, const NodesByRow& by_element,
                 Memory<S>& scratch) const {
    return {buffers,
            nodes,
            edges,
            num_edges,
            (lmax_ + 1) * (lmax_ + 1),
            by_element,
            order_.data(),
            pieces_,
            nullptr,
            nullptr,
            nullptr,
            nullptr,
            nullptr,
            scratch,
            std::vector<char>(buffers.size(), 0),
            nullptr};
  }

  // Derivatives with respect to lengths and harmonics.
  void differentiate(Run<S>& run) {
    run.y_bar = y_bar_.at_least(run.num_edges * run.harmonics);
    run.length_bar = length_bar_.at_least(run.num_edges);
    std::fill_n(run.y_bar, run.num_edges * run.harmonics, S{0});
    std::fill_n(run.length_bar, run.num_edges, 0.0);
    for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
      (*step)->differentiate(run);
    }
  }

  // Runs the kernel of the harmonics for all edges.
  static void apply(const Harmonics<S>& h, int64_t num_edges, Memory<S>& scratch) {
    const int64_t size = EQUIPOT_SELECT(harmonics_scratch<S>)(h);
    S* memory = scratch.at_least(size * torch::stable::get_num_threads());
    const auto kernel = EQUIPOT_SELECT(harmonics<S>);
    share((num_edges + 255) / 256, [&](int64_t piece, int64_t thread) {
      kernel(h, 256 * piece, std::min(num_edges, 256 * (piece + 1)),
             memory + thread * size);
    });
  }

  // Product of the Hessian with one direction: the tangent of the gradient along it.
  void multiply(Run<S>& at, const int64_t* reverse, const S* n_bar, const double* direction,
                Worker& w, double* out) const {
    const int64_t edges = at.num_edges;
    Run<S> dot = new_run(full_buffers_, at.edges, at.nodes, edges, at.by_element, w.scratch);
    dot.memory = w.memory.at_least(full_width_ * at.nodes);
    S* y_dot = w.y_dot.at_least(edges * at.harmonics);
    S *n_dot = w.n_dot.at_least(3 * edges), *bent = w.bent.at_least(3 * edges);
    S* n_bar_dot = w.n_bar_dot.at_least(3 * edges);
    double* length_dot = w.length_dot.at_least(edges);
    double* gradients = w.gradients.at_least(3 * edges);
    char* moves = w.moves.at_least(edges);
    const S* directions = directions_.get();
    for (int64_t e = 0; e < edges; ++e) {
      double v_dot[3], along = 0;
      bool any = false;
      for (int i = 0; i < 3; ++i) {
        v_dot[i] =
            direction[3 * at.edges.senders[e] + i] - direction[3 * at.edges.receivers[e] + i];
        along += static_cast<double>(directions[3 * e + i]) * v_dot[i];
        any = any || v_dot[i] != 0;
      }
      length_dot[e] = along;
      moves[e] = static_cast<char>(any);
      for (int i = 0; i < 3; ++i) {
        const auto n = static_cast<double>(directions[3 * e + i]);
        n_dot[3 * e + i] = static_cast<S>((v_dot[i] - along * n) / at.edges.lengths[e]);
      }
    }
    Harmonics<S> h = all_harmonics();
    h.g = at.y_bar;
    h.t = n_dot;
    h.g_bar = y_dot;
    h.n_bar = bent;
    apply(h, edges, w.scratch);
    dot.y = y_dot;
    dot.y_bar = w.y_bar_dot.at_least(edges * at.harmonics);
    dot.length_bar = w.length_bar_dot.at_least(edges);
    std::fill_n(dot.y_bar, edges * at.harmonics, S{0});
    std::fill_n(dot.length_bar, edges, 0.0);
    w.moving.select(at.edges, at.nodes, moves, true);
    w.still.select(at.edges, at.nodes, moves, false);
    TangentRun<S> tangents{at, dot, length_dot, moves, w.moving, w.still};
    for (const auto& step : steps_) step->twice()->evaluate_tangents(tangents);
    for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
      (*step)->twice()->differentiate_tangents(tangents);
    }
    for (int64_t e = 0; e < edges; ++e) {
      dot.length_bar[e] = scale_ * dot.length_bar[e] + at.length_bend[e] * length_dot[e];
    }
    if (coordination_.shift != 0) {
      coordination_.add_tangents(at.edges, at.nodes, length_dot, dot.length_bar);
    }
    h = all_harmonics();
    h.g = dot.y_bar;
    h.n_bar = n_bar_dot;
    apply(h, edges, w.scratch);
    for (int64_t e = 0; e < edges; ++e) {
      double n[3], turn[3], across[3], across_dot[3], along = 0, along_dot = 0;
      for (int i = 0; i < 3; ++i) {
        const int64_t k = 3 * e + i;
        n[i] = static_cast<double>(directions[k]);
        turn[i] = static_cast<double>(n_dot[k]);
        across[i] = scale_ * static_cast<double>(n_bar[k]);
        across_dot[i] = scale_ * (static_cast<double>(n_bar_dot[k]) +
                                  static_cast<double>(bent[k]));
        along += n[i] * across[i];
        along_dot += turn[i] * across[i] + n[i] * across_dot[i];
      }
      const double length = at.edges.lengths[e], shrink = length_dot[e] / length;
      for (int i = 0; i < 3; ++i) {
        const double projected = across[i] - along * n[i];
        const double projected_dot = across_dot[i] - along_dot * n[i] - along * turn[i];
        gradients[3 * e + i] = (projected_dot - shrink * projected) / length +
                               dot.length_bar[e] * n[i] + at.length_bar[e] * turn[i];
      }
    }
    for (int64_t node = 0; node < at.nodes; ++node) {
      double sum[3] = {};
      for (int64_t e = at.edges.pointers[node]; e < at.edges.pointers[node + 1]; ++e) {
        for (int i = 0; i < 3; ++i) {
          sum[i] += gradients[3 * reverse[e] + i] - gradients[3 * e + i];
        }
      }
      std::copy_n(sum, 3, out + 3 * node);
    }
  }

  static std::unique_ptr<Step<S>> step(Parser<S>& p) {
    switch (p.number(0, 13, "instruction")) {
      case 0: return std::make_unique<Embed<S>>(p);
      case 1: return std::make_unique<LinearMap<S>>(p);
      case 2: return std::make_unique<EdgeMoments<S>>(p);
      case 3: return std::make_unique<Convolve<S>>(p);
      case 4: return std::make_unique<Contract<S>>(p);
      case 5: return std::make_unique<Activate<S>>(p);
      case 6: return std::make_unique<Gated<S>>(p);
      case 7: return std::make_unique<Read<S>>(p);
      case 8: return std::make_unique<Normalize<S>>(p);
      case 9: return std::make_unique<RadialSum<S>>(p);
      case 10: return std::make_unique<Divide<S>>(p);
      case 11: return std::make_unique<Squares<S>>(p);
      case 12: return std::make_unique<Accumulate<S>>(p);
      default: return std::make_unique<MatrixProduct<S>>(p);
    }
  }

  void check_entries() const {
    const int32_t* entry = data<int32_t>(entries_);
    const auto harmonics = static_cast<int32_t>((lmax_ + 1) * (lmax_ + 1));
    for (int64_t n = 0; n < entries_.size(0); ++n, entry += 3) {
      EQUIPOT_CHECK(0 <= entry[0] && entry[0] < harmonics && 0 <= entry[1] &&
                        entry[1] < 3 && 0 <= entry[2] && entry[2] < harmonics,
                    "entries of the harmonics are out of range at ", n);
    }
  }

  void check(const Structure& s, int64_t nodes, int64_t num_edges) const {
    check_tensor(s.positions, "positions", ScalarType::Double, kCpu);
    check_shape(s.positions, "positions", {nodes, 3}, "(nodes, 3)");
    check_tensor(s.translations, "translations", ScalarType::Double, kCpu);
    check_shape(s.translations, "translations", {num_edges, 3}, "(edges, 3)");
    check_indices(s.elements, "elements", nodes, "(nodes,)");
    check_indices(s.senders, "senders", num_edges, "(edges,)");
    check_indices(s.receivers, "receivers", num_edges, "(edges,)");
    check_indices(s.reverse, "reverse", num_edges, "(edges,)");
    check_indices(s.pointers, "pointers", nodes + 1, "(nodes + 1,)");
    check_range(s.elements, "elements", elements_);
    check_range(s.senders, "senders", nodes);
    check_range(s.reverse, "reverse", num_edges);
    const int64_t* pointers = data<int64_t>(s.pointers);
    const int64_t* receivers = data<int64_t>(s.receivers);
    EQUIPOT_CHECK(pointers[0] == 0 && pointers[nodes] == num_edges,
                  "pointers must lead from 0 to the number of edges");
    for (int64_t n = 0; n < nodes; ++n) {
      EQUIPOT_CHECK(pointers[n] <= pointers[n + 1], "pointers must not descend");
      for (int64_t e = pointers[n]; e < pointers[n + 1]; ++e) {
        EQUIPOT_CHECK(receivers[e] == n, "edges must be sorted by receiver");
      }
    }
  }

  // Ranges of nodes with few edges.
  void find_pieces(const Edges& edges, int64_t nodes) {
    pieces_.clear();
    for (int64_t first = 0, last = 0; first < nodes; first = last) {
      for (++last; last < nodes && edges.pointers[last + 1] - edges.pointers[first] <=
                                       kEdgesPerPiece;) {
        ++last;
      }
      pieces_.emplace_back(first, last);
    }
  }

  Harmonics<S> all_harmonics() const {
    Harmonics<S> h{};
    h.entries = reinterpret_cast<const HarmonicEntry*>(data<int32_t>(entries_));
    h.values = harmonic_values_;
    h.num_entries = entries_.size(0);
    h.components = static_cast<int32_t>((lmax_ + 1) * (lmax_ + 1));
    h.n = directions_.get();
    return h;
  }

  // Lengths, directions and harmonics of all edges. Returns the least length.
  double measure(const Structure& s, Edges& edges, int64_t num_edges) {
    double* lengths = lengths_.at_least(num_edges);
    S* directions = directions_.at_least(3 * num_edges);
    S* y = y_.at_least(num_edges * (lmax_ + 1) * (lmax_ + 1));
    const double *positions = data<double>(s.positions), *shift = data<double>(s.translations);
    Harmonics<S> h = all_harmonics();
    h.y = y;
    const int64_t size = EQUIPOT_SELECT(harmonics_scratch<S>)(h);
    S* scratch = scratch_.at_least(size * torch::stable::get_num_threads());
    const auto kernel = EQUIPOT_SELECT(harmonics<S>);
    share((num_edges + 255) / 256, [&](int64_t piece, int64_t thread) {
      const int64_t first = 256 * piece, last = std::min(num_edges, first + 256);
      for (int64_t e = first; e < last; ++e) {
        double v[3];
        for (int i = 0; i < 3; ++i) {
          v[i] = positions[3 * edges.senders[e] + i] -
                 positions[3 * edges.receivers[e] + i] + shift[3 * e + i];
        }
        lengths[e] = std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
        for (int i = 0; i < 3; ++i) directions[3 * e + i] = static_cast<S>(v[i] / lengths[e]);
      }
      kernel(h, first, last, scratch + thread * size);
    });
    edges.lengths = lengths;
    return num_edges == 0 ? shortest_ : *std::min_element(lengths, lengths + num_edges);
  }

  // Energies that are functions of the lengths, without features.
  void add_direct_energies(Run<S>& run, double* length_bar) const {
    share_ranges(run.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      if (coordination_.shift != 0) {
        coordination_.add(run.edges, first, last, run.energies, length_bar);
      }
      if (pairs_ != nullptr) {
        pairs_->add(run.edges, first, last, run.energies, length_bar, run.length_bend);
      }
    });
  }

  void copy_features(const Run<S>& run, Tensor& features) const {
    const int64_t width = buffers_[features_.buffer].width;
    for (int64_t n = 0; n < run.nodes; ++n) {
      std::memcpy(mutable_data<S>(features) + n * features_.size,
                  run.values(features_.buffer) + n * width + features_.offset,
                  features_.size * sizeof(S));
    }
  }

  // Forces and virials from the derivatives of lengths and harmonics.
  void finish(const Structure& s, Run<S>& run, Predictions& out) {
    const int64_t num_edges = run.num_edges;
    S* n_bar = n_bar_.at_least(3 * num_edges);
    double* gradients = gradients_.at_least(3 * num_edges);
    const S* directions = directions_.get();
    Harmonics<S> h = all_harmonics();
    h.g = run.y_bar;
    h.n_bar = n_bar;
    const int64_t size = EQUIPOT_SELECT(harmonics_scratch<S>)(h);
    S* scratch = scratch_.at_least(size * torch::stable::get_num_threads());
    const auto kernel = EQUIPOT_SELECT(harmonics<S>);
    for (int64_t e = 0; e < num_edges; ++e) run.length_bar[e] *= scale_;
    add_direct_energies(run, run.length_bar);
    share((num_edges + 255) / 256, [&](int64_t piece, int64_t thread) {
      const int64_t first = 256 * piece, last = std::min(num_edges, first + 256);
      kernel(h, first, last, scratch + thread * size);
      for (int64_t e = first; e < last; ++e) {
        double n[3], across[3], along = 0;
        for (int i = 0; i < 3; ++i) {
          n[i] = static_cast<double>(directions[3 * e + i]);
          across[i] = scale_ * static_cast<double>(n_bar[3 * e + i]);
          along += n[i] * across[i];
        }
        for (int i = 0; i < 3; ++i) {
          gradients[3 * e + i] = (across[i] - along * n[i]) / run.edges.lengths[e] +
                                 run.length_bar[e] * n[i];
        }
      }
    });
    const int64_t* reverse = data<int64_t>(s.reverse);
    double *forces = mutable_data<double>(out.forces), *virials = mutable_data<double>(out.virials);
    share_ranges(run.nodes, kNodesPerPiece, [&](int64_t first, int64_t last) {
      for (int64_t node = first; node < last; ++node) {
        double force[3] = {}, virial[9] = {};
        for (int64_t e = run.edges.pointers[node]; e < run.edges.pointers[node + 1]; ++e) {
          for (int i = 0; i < 3; ++i) {
            const double both = gradients[3 * e + i] - gradients[3 * reverse[e] + i];
            force[i] += both;
            for (int j = 0; j < 3; ++j) {
              virial[3 * j + i] += 0.5 * run.edges.lengths[e] *
                                   static_cast<double>(directions[3 * e + j]) * both;
            }
          }
        }
        for (int i = 0; i < 3; ++i) {
          forces[3 * node + i] = force[i];
          for (int j = 0; j < 3; ++j) {
            virials[9 * node + 3 * i + j] = 0.5 * (virial[3 * i + j] + virial[3 * j + i]);
          }
        }
      }
    });
  }

  std::vector<Tensor> constants_;
  int64_t elements_ = 1, lmax_ = 0, width_ = 0;
  Tensor entries_;
  const S* harmonic_values_ = nullptr;
  std::vector<Buffer> buffers_;
  // The same with places of their own, for second derivatives.
  std::vector<Buffer> full_buffers_;
  int64_t full_width_ = 0;
  Memory<S> full_memory_;
  std::vector<std::unique_ptr<Worker>> workers_;
  Place features_{};
  const double* element_energies_ = nullptr;
  Coordination coordination_{};
  double scale_ = 1, shortest_ = 0;
  std::unique_ptr<PairEnergies> pairs_;
  std::vector<std::unique_ptr<Step<S>>> steps_;
  std::mutex mutex_;
  std::vector<int64_t> order_;
  std::vector<std::pair<int64_t, int64_t>> pieces_;
  Memory<S> memory_, scratch_, y_, y_bar_, directions_, n_bar_;
  Memory<double> lengths_, length_bar_, gradients_;
};

// Programs by their number.
class Registry {
 public:
  int64_t add(std::shared_ptr<AnyProgram> program) {
    const std::lock_guard<std::mutex> lock(mutex_);
    programs_[next_] = std::move(program);
    return next_++;
  }
  std::shared_ptr<AnyProgram> get(int64_t number) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = programs_.find(number);
    EQUIPOT_CHECK(found != programs_.end(), "there is no program ", number);
    return found->second;
  }
  void remove(int64_t number) {
    const std::lock_guard<std::mutex> lock(mutex_);
    programs_.erase(number);
  }

 private:
  std::mutex mutex_;
  std::map<int64_t, std::shared_ptr<AnyProgram>> programs_;
  int64_t next_ = 1;
};

Registry& registry() {
  static Registry all;
  return all;
}

int64_t program_create(const Tensor& code, const std::vector<Tensor>& constants,
                       const Tensor& precision) {
  check_tensor(code, "code", ScalarType::Long, kCpu);
  check_shape(code, "code", {-1}, "(numbers,)");
  check_floating(precision, "precision");
  std::shared_ptr<AnyProgram> program;
  with_type_of(precision, [&](auto zero) {
    program = std::make_shared<Program<decltype(zero)>>(code, constants);
  });
  return registry().add(std::move(program));
}

std::tuple<Tensor, Tensor, Tensor, Tensor> program_run(
    const Tensor& positions, const Tensor& translations, const Tensor& elements,
    const Tensor& senders, const Tensor& receivers, const Tensor& pointers,
    const Tensor& reverse, int64_t number, bool derivatives) {
  Predictions out = registry().get(number)->run(
      {positions, translations, elements, senders, receivers, pointers, reverse},
      derivatives);
  return {out.energies, out.forces, out.virials, out.features};
}

Tensor program_hessian_products(const Tensor& positions, const Tensor& translations,
                                const Tensor& elements, const Tensor& senders,
                                const Tensor& receivers, const Tensor& pointers,
                                const Tensor& reverse, int64_t number,
                                const Tensor& directions) {
  return registry().get(number)->hessian_products(
      {positions, translations, elements, senders, receivers, pointers, reverse},
      directions);
}

bool program_second_derivatives(int64_t number) {
  return registry().get(number)->second_derivatives();
}

int64_t program_bytes(int64_t number) { return registry().get(number)->bytes(); }

void program_release(int64_t number) { registry().remove(number); }

}  // namespace
}  // namespace equipot

STABLE_TORCH_LIBRARY_IMPL(equipot, CPU, m) {
  m.impl("program_create", TORCH_BOX(&equipot::program_create));
  m.impl("program_run", TORCH_BOX(&equipot::program_run));
  m.impl("program_hessian_products", TORCH_BOX(&equipot::program_hessian_products));
}
STABLE_TORCH_LIBRARY_IMPL(equipot, CompositeExplicitAutograd, m) {
  m.impl("program_bytes", TORCH_BOX(&equipot::program_bytes));
  m.impl("program_second_derivatives", TORCH_BOX(&equipot::program_second_derivatives));
  m.impl("program_release", TORCH_BOX(&equipot::program_release));
}
