// Instructions of programs, and what they act on.
#pragma once

#include <cstring>
#include <utility>
#include <vector>

#include "nodes_by_row.h"
#include "program.h"
#include "program_memory.h"

namespace equipot {

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

}  // namespace equipot
