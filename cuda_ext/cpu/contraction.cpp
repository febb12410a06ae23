// The ops of equipot/ops/contraction.py on the CPU: argument checks, padding, threading.
#include "contraction.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cstring>
#include <tuple>
#include <utility>
#include <vector>

#include "../checks.h"
#include "memory.h"
#include "monomials.h"
#include "nodes_by_row.h"
#include "schedule.h"

namespace equipot {
namespace {

#define EQUIPOT_MONOMIALS                                                           \
  const Tensor &rows, const std::vector<int64_t>&sizes, const Tensor &parents,      \
      const Tensor &factors, const Tensor &monomials, const Tensor &outputs
#define EQUIPOT_TAKE_MONOMIALS \
  const Monomials table { sizes, parents, factors, monomials, outputs }

struct Operands {
  const Tensor &x, &a, &rows;
  const Tensor *g = nullptr, *x_dot = nullptr, *a_dot = nullptr;
};
struct Results {
  Tensor *out = nullptr, *x_bar = nullptr, *a_bar = nullptr, *g_bar = nullptr;
};

void check_operands(const Operands& o, const Monomials& table) {
  check_floating(o.x, "x");
  check_tensor(o.x, "x", o.x.scalar_type(), kCpu);
  check_tensor(o.a, "a", o.x.scalar_type(), kCpu);
  check_shape(o.x, "x", {-1, -1, -1}, "(nodes, components, channels)");
  check_shape(o.a, "a", {-1, table.monomials.size(0), o.x.size(2)},
              "(rows, terms, channels)");
  check_indices(o.rows, "rows", o.x.size(0), "(nodes,)");
  check_range(o.rows, "rows", o.a.size(0));
  if (o.g != nullptr) {
    check_tensor(*o.g, "g", o.x.scalar_type(), kCpu);
    check_shape(*o.g, "g", {o.x.size(0), -1, o.x.size(2)},
                "(nodes, outputs, channels)");
  }
}

// Rows of channels with a stride of whole vectors: the data of a tensor themselves, or a
// copy with zeros behind each row.
template <class S>
class Rows {
 public:
  Rows(const Tensor* tensor, int64_t stride) : Rows(tensor, stride, true) {}
  Rows(Tensor* result, int64_t stride, bool read)
      : Rows(static_cast<const Tensor*>(result), stride, read) {}

  const S* get() const { return rows_; }
  S* write() const { return const_cast<S*>(rows_); }

  // Copies the rows to a tensor if they are a copy.
  void write_back(Tensor* result) const {
    if (copy_ == nullptr) return;
    for (int64_t r = 0; r < count_; ++r) {
      std::memcpy(mutable_data<S>(*result) + r * channels_, copy_.get() + r * stride_,
                  channels_ * sizeof(S));
    }
  }

 private:
  Rows(const Tensor* tensor, int64_t stride, bool read) : stride_(stride) {
    if (tensor == nullptr || tensor->numel() == 0) return;
    channels_ = tensor->size(2);
    rows_ = data<S>(*tensor);
    if (channels_ == stride) return;
    count_ = tensor->size(0) * tensor->size(1);
    copy_ = zeroed<S>(count_ * stride);
    if (read) {
      for (int64_t r = 0; r < count_; ++r) {
        std::memcpy(copy_.get() + r * stride, rows_ + r * channels_,
                    channels_ * sizeof(S));
      }
    }
    rows_ = copy_.get();
  }

  std::unique_ptr<S[], Free> copy_;
  const S* rows_ = nullptr;
  int64_t stride_, channels_ = 0, count_ = 0;
};

// Nodes of one row of coefficients, for one vector of channels.
struct Piece {
  int64_t first, last, row, vector;
};

// Pieces that are computed independently. If derivatives with respect to coefficients are
// summed over nodes, all nodes of a row are in one piece, so that no sum depends on the
// number of threads.
std::vector<Piece> pieces_of(const NodesByRow& nodes, int64_t vectors, bool whole_rows) {
  constexpr int64_t kNodesPerPiece = 16;
  std::vector<Piece> pieces;
  for (int64_t row = 0; row + 1 < static_cast<int64_t>(nodes.pointers.size()); ++row) {
    const int64_t first = nodes.pointers[row], last = nodes.pointers[row + 1];
    const int64_t size = whole_rows ? last - first : kNodesPerPiece;
    for (int64_t node = first; node < last; node += size) {
      for (int64_t vector = 0; vector < vectors; ++vector) {
        pieces.push_back({node, std::min(node + size, last), row, vector});
      }
    }
  }
  return pieces;
}

template <class S>
void run_as(const Monomials& table, int64_t num_outputs, const Operands& o,
            const Results& r) {
  const int64_t stride = EQUIPOT_SELECT(contraction_stride<S>)(o.x.size(2));
  const Rows<S> x(&o.x, stride), a(&o.a, stride), g(o.g, stride);
  const Rows<S> x_dot(o.x_dot, stride), a_dot(o.a_dot, stride);
  const Rows<S> out(r.out, stride, false), x_bar(r.x_bar, stride, false);
  const Rows<S> a_bar(r.a_bar, stride, true), g_bar(r.g_bar, stride, false);
  const int64_t total = table.parents.size(0), terms = table.monomials.size(0);
  const std::vector<int64_t> first_term = first_terms(table);
  const int64_t leaves = table.sizes.size() > 1 ? table.sizes.back() : 0;
  const Contraction<S> c{o.x.size(1),
                         total,
                         total - leaves,
                         terms,
                         num_outputs,
                         data<int64_t>(table.parents),
                         data<int64_t>(table.factors),
                         first_term.data(),
                         data<int64_t>(table.outputs),
                         stride,
                         x.get(),
                         a.get(),
                         g.get(),
                         x_dot.get(),
                         a_dot.get(),
                         out.write(),
                         x_bar.write(),
                         a_bar.write(),
                         g_bar.write(),
                         nullptr};
  const auto kernel = EQUIPOT_SELECT(contraction<S>);
  const int64_t scratch = EQUIPOT_SELECT(contraction_scratch<S>)(c);
  const NodesByRow nodes(o.rows, o.a.size(0));
  const int64_t lanes = EQUIPOT_SELECT(contraction_stride<S>)(1);
  const auto pieces = pieces_of(nodes, stride / lanes, r.a_bar != nullptr);
  for_pieces<S>(static_cast<int64_t>(pieces.size()), scratch,
                [&](int64_t n, S* memory) {
                  const Piece& p = pieces[n];
                  kernel(c, nodes.order.data(), p.first, p.last, p.row, p.vector, memory);
                });
  for (const auto& [rows, result] : {std::pair{&out, r.out},
                                     {&x_bar, r.x_bar},
                                     {&a_bar, r.a_bar},
                                     {&g_bar, r.g_bar}}) {
    if (result != nullptr) rows->write_back(result);
  }
}

void run(const Monomials& table, int64_t num_outputs, const Operands& o,
         const Results& r) {
  check_operands(o, table);
  check_monomials(table, o.x.size(1), num_outputs);
  if (o.x.numel() == 0 || o.a.numel() == 0) {
    // no terms or no nodes: all results are zero
    for (Tensor* result : {r.out, r.x_bar, r.g_bar}) {
      if (result != nullptr) torch::stable::zero_(*result);
    }
    return;
  }
  with_type_of(o.x, [&](auto zero) {
    run_as<decltype(zero)>(table, num_outputs, o, r);
  });
}

Tensor contract(const Tensor& x, const Tensor& a, EQUIPOT_MONOMIALS,
                int64_t num_outputs) {
  EQUIPOT_TAKE_MONOMIALS;
  check_shape(x, "x", {-1, -1, -1}, "(nodes, components, channels)");
  EQUIPOT_CHECK(num_outputs >= 0, "num_outputs must not be negative, got ", num_outputs);
  Tensor out = torch::stable::new_empty(x, {x.size(0), num_outputs, x.size(2)});
  Results results;
  results.out = &out;
  run(table, num_outputs, {x, a, rows}, results);
  return out;
}

std::tuple<Tensor, Tensor> contract_backward(const Tensor& x, const Tensor& a,
                                             const Tensor& g, EQUIPOT_MONOMIALS,
                                             bool with_a_bar) {
  EQUIPOT_TAKE_MONOMIALS;
  check_shape(g, "g", {-1, -1, -1}, "(nodes, outputs, channels)");
  Tensor x_bar = result_like(x);
  Tensor a_bar = with_a_bar ? torch::stable::new_zeros(a, a.sizes())
                            : torch::stable::new_empty(a, {0});
  Results results;
  results.x_bar = &x_bar;
  results.a_bar = with_a_bar ? &a_bar : nullptr;
  run(table, g.size(1), {x, a, rows, &g}, results);
  return {x_bar, a_bar};
}

std::tuple<Tensor, Tensor, Tensor> contract_double_backward(
    const Tensor& x, const Tensor& a, const Tensor& g, const Tensor& x_dot,
    const Tensor& a_dot, EQUIPOT_MONOMIALS) {
  EQUIPOT_TAKE_MONOMIALS;
  check_shape(g, "g", {-1, -1, -1}, "(nodes, outputs, channels)");
  const Tensor tangent = tangent_of(x, x_dot, "x_dot", "x");
  check_tangent(a_dot, "a_dot", a, "a", kCpu);
  Tensor x_bar = result_like(x), g_bar = result_like(g);
  Tensor a_bar = torch::stable::new_zeros(a, a.sizes());
  Results results;
  results.x_bar = &x_bar;
  results.a_bar = &a_bar;
  results.g_bar = &g_bar;
  run(table, g.size(1), {x, a, rows, &g, &tangent, &a_dot}, results);
  return {x_bar, a_bar, g_bar};
}

}  // namespace
}  // namespace equipot

STABLE_TORCH_LIBRARY_IMPL(equipot, CPU, m) {
  m.impl("contract", TORCH_BOX(&equipot::contract));
  m.impl("contract_backward", TORCH_BOX(&equipot::contract_backward));
  m.impl("contract_double_backward", TORCH_BOX(&equipot::contract_double_backward));
}
