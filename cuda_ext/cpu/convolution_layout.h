// Coupling tables of convolutions in the layout of the kernels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "../operands.h"
#include "convolution.h"
#include "elements.h"

namespace equipot {

// Paths of a table in the layout of the kernels, and the map from harmonics to edge
// matrices.
template <class S>
struct Constants {
  std::vector<Path> paths;
  std::vector<Group> groups;
  EdgeMap<S> map;
  std::vector<int32_t> columns, starts, transposed_elements;
  std::vector<S> values, transposed_values;
};

inline int32_t components(int64_t degree) { return static_cast<int32_t>(2 * degree + 1); }

// Matrix shapes and component offsets of all paths; element offsets are set by
// place_elements.
inline std::vector<Path> paths_of(const Table& table, int64_t x_rows) {
  std::vector<Path> paths;
  int32_t component = 0;
  for (std::size_t n = 0; n < table.paths.size(); n += 3) {
    const int64_t l_in = table.paths[n], l_out = table.paths[n + 2];
    EQUIPOT_CHECK(0 <= l_in && l_in < 128 && 0 <= l_out && l_out < 128,
                  "degrees of a path must be in 0 to 127, got ", l_in, " and ", l_out);
    Path path{};
    path.rows = components(l_in);
    path.columns = components(l_out);
    path.x = static_cast<int32_t>(l_in * l_in);
    path.z = table.concat ? component : static_cast<int32_t>(l_out * l_out);
    EQUIPOT_CHECK(path.x + path.rows <= x_rows, "x has ", x_rows,
                  " components, too few for a path from degree ", l_in);
    EQUIPOT_CHECK(path.z + path.columns <= table.num_outputs, "num_outputs is ",
                  table.num_outputs, ", too few for a path to degree ", l_out);
    component += path.columns;
    paths.push_back(path);
  }
  return paths;
}

inline void check_columns(const Table& table, int64_t harmonics) {
  const int32_t* columns = data<int32_t>(table.columns);
  for (int64_t q = 0; q < table.columns.size(0); ++q) {
    EQUIPOT_CHECK(0 <= columns[q] && columns[q] < harmonics, "columns must be in 0 to ",
                  harmonics - 1, ", the components of y, got ", columns[q]);
  }
}

// Determines which path matrices are diagonal and sets the offset of each matrix, storing
// only the diagonal of diagonal ones. Returns the total number of elements.
inline int32_t place_elements(const std::vector<Element>& elements, std::vector<Path>& paths) {
  for (Path& path : paths) path.diagonal = path.rows == path.columns;
  for (const Element& element : elements) {
    if (element.row != element.column) paths[element.path].diagonal = false;
  }
  int32_t size = 0;
  for (Path& path : paths) {
    path.element = size;
    size += path.diagonal ? path.rows : path.rows * path.columns;
  }
  return size;
}

inline int32_t place_of(const Path& path, int32_t i, int32_t k, Layout layout) {
  if (path.diagonal) return path.element + i;
  return path.element + (layout == Layout::by_row ? i * path.columns + k : k * path.rows + i);
}

inline std::vector<Group> groups_of(const std::vector<Path>& paths) {
  std::vector<Group> groups;
  for (std::size_t n = 0; n < paths.size(); ++n) {
    const bool joins = n > 0 && paths[n].z == paths[n - 1].z &&
                       paths[n].columns == paths[n - 1].columns;
    if (!joins) groups.push_back({static_cast<int32_t>(n), 0});
    groups.back().last = static_cast<int32_t>(n) + 1;
  }
  return groups;
}

template <class S>
void make_map(Constants<S>& c, const std::vector<int32_t>& elements,
              const int32_t* columns, const S* values, int32_t num_elements,
              int32_t harmonics) {
  const int64_t nonzeros = static_cast<int64_t>(elements.size());
  const int32_t size = (num_elements + kElementBlock - 1) / kElementBlock * kElementBlock;
  std::vector<int32_t> count(size, 0);
  int32_t terms = 1;
  for (const int32_t element : elements) terms = std::max(terms, ++count[element]);
  c.columns.assign(terms * size, 0);
  c.values.assign(terms * size, 0);
  c.starts.assign(harmonics + 1, 0);
  for (int64_t q = nonzeros - 1; q >= 0; --q) {
    const int64_t place = --count[elements[q]] * static_cast<int64_t>(size) + elements[q];
    c.columns[place] = columns[q];
    c.values[place] = values[q];
    ++c.starts[columns[q] + 1];
  }
  std::partial_sum(c.starts.begin(), c.starts.end(), c.starts.begin());
  c.transposed_elements.resize(nonzeros);
  c.transposed_values.resize(nonzeros);
  std::vector<int32_t> next(c.starts.begin(), c.starts.end());
  for (int64_t q = 0; q < nonzeros; ++q) {
    const int32_t place = next[columns[q]]++;
    c.transposed_elements[place] = elements[q];
    c.transposed_values[place] = values[q];
  }
  c.map = {harmonics,       size,
           terms,           c.columns.data(),
           c.values.data(), c.starts.data(),
           c.transposed_elements.data(), c.transposed_values.data()};
}

template <class S>
Constants<S> constants_of(const Table& table, int64_t x_rows, int64_t harmonics,
                          Layout layout) {
  Constants<S> c;
  c.paths = paths_of(table, x_rows);
  c.groups = groups_of(c.paths);
  const std::vector<Element> elements = elements_of_nonzeros(table);
  check_columns(table, harmonics);
  const int32_t size = place_elements(elements, c.paths);
  std::vector<int32_t> places;
  places.reserve(elements.size());
  for (const Element& element : elements) {
    places.push_back(place_of(c.paths[element.path], element.row, element.column, layout));
  }
  make_map(c, places, data<int32_t>(table.columns), data<S>(table.values), size,
           static_cast<int32_t>(harmonics));
  return c;
}

}  // namespace equipot
