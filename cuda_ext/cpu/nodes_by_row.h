// Nodes sorted by the row of constants that they use, such as that of their element.
#pragma once

#include <cstdint>
#include <vector>

#include "../checks.h"

namespace equipot {

// Nodes sorted by row: those of row z are order[pointers[z]] to order[pointers[z + 1] - 1].
struct NodesByRow {
  NodesByRow(const Tensor& rows, int64_t num_rows)
      : order(rows.size(0)), pointers(num_rows + 1) {
    const int64_t* row = data<int64_t>(rows);
    const int64_t nodes = rows.size(0);
    for (int64_t n = 0; n < nodes; ++n) ++pointers[row[n] + 1];
    for (int64_t z = 0; z < num_rows; ++z) pointers[z + 1] += pointers[z];
    std::vector<int64_t> next(pointers.begin(), pointers.end() - 1);
    for (int64_t n = 0; n < nodes; ++n) order[next[row[n]]++] = n;
  }
  std::vector<int64_t> order, pointers;
};

}  // namespace equipot
