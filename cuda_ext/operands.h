// Operands of the convolution ops of equipot/ops/convolution.py, on any device.
//
// These checks do not read tensor values, because that would synchronize the host with
// the GPU.
#pragma once

#include <utility>
#include <vector>

#include "checks.h"

namespace equipot {

// Edges of the graph, sorted by receiver; sender_order sorts them by sender.
struct Topology {
  Tensor senders, receivers, receiver_pointers, sender_order, sender_pointers;
};

// Sparse coupling coefficients (rows, columns, values) and the degrees of the paths,
// three per path: (l_in, l_filter, l_out).
struct Table {
  std::vector<int64_t> paths;
  Tensor rows, columns, values;
  int64_t num_outputs;
  bool concat;

  int64_t num_paths() const { return static_cast<int64_t>(paths.size()) / 3; }
};

// Parameters of an op that hold a Topology and a Table, in the order of its schema.
#define EQUIPOT_CONSTANTS                                                              \
  const Tensor &senders, const Tensor &receivers, const Tensor &receiver_pointers,     \
      const Tensor &sender_order, const Tensor &sender_pointers,                       \
      const std::vector<int64_t>&paths, const Tensor &rows, const Tensor &columns,     \
      const Tensor &values, int64_t num_outputs, bool concat
#define EQUIPOT_TAKE_CONSTANTS                                                         \
  const Topology topology{senders, receivers, receiver_pointers, sender_order,         \
                          sender_pointers};                                            \
  const Table table { paths, rows, columns, values, num_outputs, concat }

// Tensor arguments of an edge-matrix convolution op. Absent arguments are null.
struct Operands {
  const Tensor *x, *y, *w, *g = nullptr;
  const Tensor *x_dot = nullptr, *y_dot = nullptr, *w_dot = nullptr;
};
struct Results {
  Tensor *messages = nullptr, *x_bar = nullptr, *y_bar = nullptr, *w_bar = nullptr;
};

inline void check_topology(const Topology& t, int64_t nodes, int64_t edges,
                           const Device& device) {
  for (const auto& [tensor, name] : {std::pair{&t.senders, "senders"},
                                     {&t.receivers, "receivers"},
                                     {&t.sender_order, "sender_order"}}) {
    check_shape(*tensor, name, {edges}, "(edges,)");
    check_tensor(*tensor, name, ScalarType::Long, device);
  }
  for (const auto& [tensor, name] : {std::pair{&t.receiver_pointers, "receiver_pointers"},
                                     {&t.sender_pointers, "sender_pointers"}}) {
    check_shape(*tensor, name, {nodes + 1}, "(nodes + 1,)");
    check_tensor(*tensor, name, ScalarType::Long, device);
  }
}

inline void check_table(const Table& table, ScalarType type, const Device& device) {
  check_shape(table.rows, "rows", {-1}, "(nonzeros,)");
  check_shape(table.columns, "columns", {table.rows.size(0)}, "(nonzeros,)");
  check_shape(table.values, "values", {table.rows.size(0)}, "(nonzeros,)");
  check_tensor(table.rows, "rows", ScalarType::Int, device);
  check_tensor(table.columns, "columns", ScalarType::Int, device);
  check_tensor(table.values, "values", type, device);
  EQUIPOT_CHECK(table.num_outputs >= 0, "num_outputs must not be negative, got ",
                table.num_outputs);
  EQUIPOT_CHECK(table.paths.size() % 3 == 0,
                "paths must hold three degrees for each path, got ", table.paths.size(),
                " numbers");
}

inline void check_operands(const Tensor& x, const Tensor& y, const Tensor& w,
                           const Topology& topology, const Table& table,
                           const Device& device) {
  check_floating(x, "x");
  for (const auto& [tensor, name] : {std::pair{&x, "x"}, {&y, "y"}, {&w, "w"}}) {
    check_tensor(*tensor, name, x.scalar_type(), device);
  }
  check_shape(x, "x", {-1, -1, -1}, "(nodes, components, channels)");
  check_shape(y, "y", {-1, -1}, "(edges, harmonics)");
  check_table(table, x.scalar_type(), device);
  check_shape(w, "w", {y.size(0), table.num_paths(), x.size(2)},
              "(edges, paths, channels)");
  check_topology(topology, x.size(0), y.size(0), device);
}

// Checks g, the gradient with respect to the messages.
inline void check_messages(const Tensor& g, const Tensor& x, const Table& table,
                           const Device& device) {
  check_tensor(g, "g", x.scalar_type(), device);
  check_shape(g, "g", {x.size(0), table.num_outputs, x.size(2)},
              "(nodes, num_outputs, channels), nodes and channels those of x");
}

// Checks the type, device and shape of a tangent. A tangent without elements represents
// zero.
inline void check_tangent(const Tensor& tangent, const char* name, const Tensor& operand,
                          const char* name_of_operand, const Device& device) {
  check_tensor(tangent, name, operand.scalar_type(), device);
  EQUIPOT_CHECK(tangent.numel() == 0 || shape_of(tangent) == shape_of(operand), name,
                " must have the shape of ", name_of_operand, ", ", shape_of(operand),
                ", or no elements, got ", shape_of(tangent));
}

// Whether a tangent represents zero: it has no elements although its operand has some.
inline bool is_absent(const Tensor& tangent, const Tensor& operand) {
  return tangent.numel() == 0 && operand.numel() != 0;
}

}  // namespace equipot
