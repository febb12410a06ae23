// Programs on the CPU: energies, forces and virials of a frozen model in one call.
//
// A program is a list of steps on buffers of node features. It is created once and owns
// its constants and its memory, so that later calls allocate nothing but their results.
// For the instructions see equipot/ops/program.py.
#include "program.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <utility>
#include <vector>

#include "../checks.h"
#include "harmonics.h"
#include "nodes_by_row.h"
#include "program_edges.h"
#include "program_energies.h"
#include "program_linear.h"
#include "program_nonlinear.h"

namespace equipot {
namespace {

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
