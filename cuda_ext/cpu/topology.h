// Validation of the values of a topology. The CPU kernels do not check indices
// themselves.
#pragma once

#include <algorithm>

#include "../operands.h"

namespace equipot {

inline void check_pointers(const Tensor& pointers, const char* name, int64_t edges) {
  const int64_t* values = data<int64_t>(pointers);
  const int64_t nodes = pointers.size(0) - 1;
  EQUIPOT_CHECK(values[0] == 0 && values[nodes] == edges &&
                    std::is_sorted(values, values + nodes + 1),
                name, " must ascend from 0 to ", edges, ", the number of edges");
}

// Checks that node indices are in range and that pointers and order are consistent with
// senders and receivers. Precondition: t has passed check_topology.
inline void check_edges(const Topology& t, int64_t nodes, int64_t edges) {
  check_pointers(t.receiver_pointers, "receiver_pointers", edges);
  check_pointers(t.sender_pointers, "sender_pointers", edges);
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
      EQUIPOT_CHECK(receivers[e] == node, "receiver_pointers assign edge ", e,
                    " to node ", node, ", but its receiver is ", receivers[e]);
    }
    for (int64_t n = of_senders[node]; n < of_senders[node + 1]; ++n) {
      // strictly ascending for each sender, hence no edge occurs twice
      const bool ascends = n == of_senders[node] || order[n - 1] < order[n];
      EQUIPOT_CHECK(ascends && 0 <= order[n] && order[n] < edges &&
                        senders[order[n]] == node,
                    "sender_order and sender_pointers must list the edges that leave "
                    "each node in ascending order; node ",
                      node, " has ", order[n], " at ", n);
    }
  }
}

}  // namespace equipot
