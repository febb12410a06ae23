// Constants of the ops of a convolution, equipot/ops/convolution.py: edges and couplings.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "checks.h"

namespace equipot {

struct Topology {
  Tensor senders, receivers, receiver_pointers, sender_order, sender_pointers;
};

struct Table {
  std::vector<int64_t> paths;
  Tensor rows, columns, values;
  int64_t num_outputs;
  bool concat;
};

inline void check_pointers(const Tensor& pointers, const char* name, int64_t edges) {
  const int64_t* values = data<int64_t>(pointers);
  const int64_t nodes = pointers.size(0) - 1;
  EQUIPOT_CHECK(values[0] == 0 && values[nodes] == edges &&
                      std::is_sorted(values, values + nodes + 1),
                  name, " must ascend from 0 to ", edges, ", the number of edges");
}

// Nodes exist and edges are where the pointers say: kernels rely on both.
inline void check_topology(const Topology& t, int64_t nodes, int64_t edges) {
  for (const auto& [tensor, name] : {std::pair{&t.senders, "senders"},
                                     {&t.receivers, "receivers"},
                                     {&t.sender_order, "sender_order"}}) {
    check_shape(*tensor, name, {edges}, "(edges,)");
    check_type(*tensor, name, ScalarType::Long);
  }
  for (const auto& [tensor, name] : {std::pair{&t.receiver_pointers, "receiver_pointers"},
                                     {&t.sender_pointers, "sender_pointers"}}) {
    check_shape(*tensor, name, {nodes + 1}, "(nodes + 1,)");
    check_type(*tensor, name, ScalarType::Long);
    check_pointers(*tensor, name, edges);
  }
  const int64_t* senders = data<int64_t>(t.senders);
  const int64_t* receivers = data<int64_t>(t.receivers);
  for (int64_t e = 0; e < edges; ++e) {
    EQUIPOT_CHECK(0 <= senders[e] && senders[e] < nodes, "senders must be in 0 to ",
                    nodes - 1, ", got ", senders[e], " at edge ", e);
  }
  const int64_t* of_receivers = data<int64_t>(t.receiver_pointers);
  const int64_t* of_senders = data<int64_t>(t.sender_pointers);
  const int64_t* order = data<int64_t>(t.sender_order);
  for (int64_t node = 0; node < nodes; ++node) {
    for (int64_t e = of_receivers[node]; e < of_receivers[node + 1]; ++e) {
      EQUIPOT_CHECK(receivers[e] == node, "receiver_pointers say that edge ", e,
                      " arrives at node ", node, ", but receivers say ", receivers[e]);
    }
    for (int64_t n = of_senders[node]; n < of_senders[node + 1]; ++n) {
      // ascending and of one sender each: no edge can occur twice
      const bool ascends = n == of_senders[node] || order[n - 1] < order[n];
      EQUIPOT_CHECK(ascends && 0 <= order[n] && order[n] < edges &&
                          senders[order[n]] == node,
                      "sender_order and sender_pointers must list the edges that leave "
                      "each node in ascending order; node ",
                      node, " has ", order[n], " at ", n);
    }
  }
}

inline void check_table(const Table& table, ScalarType type) {
  check_shape(table.rows, "rows", {-1}, "(nonzeros,)");
  check_shape(table.columns, "columns", {table.rows.size(0)}, "(nonzeros,)");
  check_shape(table.values, "values", {table.rows.size(0)}, "(nonzeros,)");
  check_type(table.rows, "rows", ScalarType::Int);
  check_type(table.columns, "columns", ScalarType::Int);
  check_type(table.values, "values", type);
  EQUIPOT_CHECK(table.num_outputs >= 0, "num_outputs must not be negative, got ",
                  table.num_outputs);
}

// A tangent of the shape of its operand; zeros for one without elements.
inline Tensor tangent_of(const Tensor& operand, const Tensor& given, const char* name,
                         const char* name_of_operand) {
  check_type(given, name, operand.scalar_type());
  if (given.numel() == 0) return torch::stable::new_zeros(operand, operand.sizes());
  EQUIPOT_CHECK(shape_of(given) == shape_of(operand), name, " must have the shape of ",
                  name_of_operand, ", ", shape_of(operand), ", or no elements, got ",
                  shape_of(given));
  return given;
}

}  // namespace equipot
