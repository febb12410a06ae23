// Mapping from the nonzeros of a coupling table to elements of path matrices.
#pragma once

#include <cstdint>
#include <vector>

#include "../operands.h"

namespace equipot {

// An element of the matrix of a path, which has shape (2 l_in + 1) x (2 l_out + 1).
struct Element {
  int32_t path, row, column;
};

// The matrix element of each nonzero. Precondition: the degrees of all paths are
// nonnegative. Throws if the rows do not ascend or are out of range.
inline std::vector<Element> elements_of_nonzeros(const Table& table) {
  const int32_t* rows = data<int32_t>(table.rows);
  const int64_t num_paths = table.num_paths();
  const auto columns_of = [&](int64_t path) { return 2 * table.paths[3 * path + 2] + 1; };
  const auto size_of = [&](int64_t path) {
    return (2 * table.paths[3 * path] + 1) * columns_of(path);
  };
  std::vector<Element> elements;
  elements.reserve(table.rows.size(0));
  int64_t path = 0, start = 0;
  for (int64_t q = 0; q < table.rows.size(0); ++q) {
    EQUIPOT_CHECK(rows[q] >= (q == 0 ? 0 : rows[q - 1]),
                  "rows must ascend from 0 on, got ", rows[q], " at ", q);
    while (path < num_paths && rows[q] >= start + size_of(path)) start += size_of(path++);
    EQUIPOT_CHECK(path < num_paths, "rows must be indices of elements of the matrices of ",
                  num_paths, " paths, got ", rows[q]);
    const int64_t inside = rows[q] - start, columns = columns_of(path);
    elements.push_back({static_cast<int32_t>(path), static_cast<int32_t>(inside / columns),
                        static_cast<int32_t>(inside % columns)});
  }
  return elements;
}

}  // namespace equipot
