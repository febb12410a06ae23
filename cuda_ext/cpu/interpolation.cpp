// The ops of equipot/ops/interpolation.py on the CPU: argument checks and threading.
#include "interpolation.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "../checks.h"
#include "memory.h"

namespace equipot {
namespace {

// Minimum number of edges, and of columns of the table, per thread (grain size).
constexpr int64_t kEdgesPerThread = 256;
constexpr int64_t kColumnsPerThread = 64;

void check_first(const Tensor& first, int64_t edges, int64_t rows) {
  check_shape(first, "first", {edges}, "(edges,)");
  check_tensor(first, "first", ScalarType::Long, kCpu);
  const int64_t* row = data<int64_t>(first);
  for (int64_t edge = 0; edge < edges; ++edge) {
    EQUIPOT_CHECK(0 <= row[edge] && row[edge] + kTerms <= rows, "first must be in 0 to ",
                  rows - kTerms, ", got ", row[edge]);
  }
}

void check_matrix(const Tensor& matrix, const char* name, const Tensor& other,
                  int64_t rows, int64_t columns, const char* shape) {
  check_floating(matrix, name);
  check_tensor(matrix, name, other.scalar_type(), kCpu);
  check_shape(matrix, name, {rows, columns}, shape);
}

Tensor interpolate(const Tensor& basis, const Tensor& table, const Tensor& first) {
  check_matrix(basis, "basis", table, -1, kTerms, "(edges, 6)");
  check_matrix(table, "table", basis, -1, -1, "(rows, columns)");
  check_first(first, basis.size(0), table.size(0));
  Tensor out = torch::stable::new_empty(table, {basis.size(0), table.size(1)});
  use_huge_pages(out.mutable_data_ptr(), out.numel() * out.element_size());
  with_type_of(table, [&](auto zero) {
    using S = decltype(zero);
    const Interpolation<S> p{basis.size(0),     table.size(0),  table.size(1),
                             data<int64_t>(first), data<S>(basis), data<S>(table),
                             nullptr,           mutable_data<S>(out)};
    const auto kernel = EQUIPOT_SELECT(interpolate<S>);
    torch::stable::parallel_for(0, p.edges, kEdgesPerThread,
                                [&](int64_t a, int64_t b) { kernel(p, a, b); });
  });
  return out;
}

Tensor interpolate_basis(const Tensor& table, const Tensor& g, const Tensor& first) {
  check_matrix(table, "table", g, -1, -1, "(rows, columns)");
  check_matrix(g, "g", table, -1, table.size(1), "(edges, columns)");
  check_first(first, g.size(0), table.size(0));
  Tensor out = torch::stable::new_empty(table, {g.size(0), kTerms});
  with_type_of(table, [&](auto zero) {
    using S = decltype(zero);
    const Interpolation<S> p{g.size(0),         table.size(0), table.size(1),
                             data<int64_t>(first), nullptr,    data<S>(table),
                             data<S>(g),        mutable_data<S>(out)};
    const auto kernel = EQUIPOT_SELECT(interpolate_basis<S>);
    torch::stable::parallel_for(0, p.edges, kEdgesPerThread,
                                [&](int64_t a, int64_t b) { kernel(p, a, b); });
  });
  return out;
}

Tensor interpolate_table(const Tensor& basis, const Tensor& g, const Tensor& first,
                         int64_t rows) {
  check_matrix(basis, "basis", g, -1, kTerms, "(edges, 6)");
  check_matrix(g, "g", basis, basis.size(0), -1, "(edges, columns)");
  check_first(first, g.size(0), rows);
  Tensor out = torch::stable::new_zeros(g, {rows, g.size(1)});
  with_type_of(g, [&](auto zero) {
    using S = decltype(zero);
    const Interpolation<S> p{g.size(0),         rows,           g.size(1),
                             data<int64_t>(first), data<S>(basis), nullptr,
                             data<S>(g),        mutable_data<S>(out)};
    const auto kernel = EQUIPOT_SELECT(interpolate_table<S>);
    torch::stable::parallel_for(0, p.columns, kColumnsPerThread,
                                [&](int64_t a, int64_t b) { kernel(p, a, b); });
  });
  return out;
}

}  // namespace
}  // namespace equipot

STABLE_TORCH_LIBRARY_IMPL(equipot, CPU, m) {
  m.impl("interpolate", TORCH_BOX(&equipot::interpolate));
  m.impl("interpolate_basis", TORCH_BOX(&equipot::interpolate_basis));
  m.impl("interpolate_table", TORCH_BOX(&equipot::interpolate_table));
}
