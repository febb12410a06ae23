// The ops of equipot/ops/solid_harmonics.py on the CPU: argument checks and threading.
#include "harmonics.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <tuple>

#include "../checks.h"
#include "schedule.h"

namespace equipot {
namespace {

// Minimum number of edges per thread (grain size).
constexpr int64_t kEdgesPerThread = 256;

// Nonzeros of the derivatives of harmonics up to degree lmax; see HarmonicEntry.
struct Table {
  int64_t lmax;
  const Tensor &entries, &values;
};

// Validates n and the table; returns the number of harmonics, (lmax + 1)^2.
int64_t components_of(const Tensor& n, const Table& table) {
  check_floating(n, "n");
  check_tensor(n, "n", n.scalar_type(), kCpu);
  check_shape(n, "n", {-1, 3}, "(edges, 3)");
  EQUIPOT_CHECK(0 <= table.lmax && table.lmax < 128, "lmax must be in 0 to 127, got ",
                table.lmax);
  check_tensor(table.entries, "entries", ScalarType::Int, kCpu);
  check_shape(table.entries, "entries", {-1, 3}, "(nonzeros, 3)");
  check_tensor(table.values, "values", n.scalar_type(), kCpu);
  check_shape(table.values, "values", {table.entries.size(0)}, "(nonzeros,)");
  const int64_t components = (table.lmax + 1) * (table.lmax + 1);
  const int32_t* entry = data<int32_t>(table.entries);
  int64_t degree = 1;
  for (int64_t q = 0; q < table.entries.size(0); ++q, entry += 3) {
    while (entry[0] >= (degree + 1) * (degree + 1) && degree < table.lmax) ++degree;
    const bool ascends = q == 0 || entry[-3] <= entry[0];
    const bool couples = degree * degree <= entry[0] &&
                         entry[0] < (degree + 1) * (degree + 1) &&
                         (degree - 1) * (degree - 1) <= entry[2] &&
                         entry[2] < degree * degree;
    EQUIPOT_CHECK(ascends && couples && 0 <= entry[1] && entry[1] < 3 && table.lmax > 0,
                  "entries must be (row, axis, column) by ascending row, columns of one "
                  "degree less; number ", q, " is (", entry[0], ", ", entry[1], ", ",
                  entry[2], ")");
  }
  return components;
}

void check_operand(const Tensor& tensor, const char* name, const Tensor& n,
                   int64_t components) {
  check_tensor(tensor, name, n.scalar_type(), kCpu);
  check_shape(tensor, name, {n.size(0), components}, "(edges, components)");
}

// Operands and results that an op does not have are null.
template <class S>
void run_as(const Table& table, int64_t components, const Tensor& n, const Tensor* g,
            const Tensor* t, Tensor* y, Tensor* n_bar, Tensor* g_bar) {
  const Harmonics<S> h{
      reinterpret_cast<const HarmonicEntry*>(data<int32_t>(table.entries)),
      data<S>(table.values),
      table.entries.size(0),
      static_cast<int32_t>(components),
      data<S>(n),
      data_of<S>(g),
      data_of<S>(t),
      data_of<S>(y),
      data_of<S>(n_bar),
      data_of<S>(g_bar)};
  const auto kernel = EQUIPOT_SELECT(harmonics<S>);
  const int64_t scratch = EQUIPOT_SELECT(harmonics_scratch<S>)(h);
  torch::stable::parallel_for(
      0, n.size(0), kEdgesPerThread, [&](int64_t first, int64_t last) {
        kernel(h, first, last, zeroed<S>(scratch).get());
      });
}

template <class... Tensors>
void run(const Table& table, int64_t components, const Tensor& n, Tensors... others) {
  with_type_of(n, [&](auto zero) {
    run_as<decltype(zero)>(table, components, n, others...);
  });
}

Tensor solid_harmonics(const Tensor& n, int64_t lmax, const Tensor& entries,
                       const Tensor& values) {
  const Table table{lmax, entries, values};
  const int64_t components = components_of(n, table);
  Tensor y = torch::stable::new_empty(n, {n.size(0), components});
  const Tensor* none = nullptr;
  Tensor* no_result = nullptr;
  run(table, components, n, none, none, &y, no_result, no_result);
  return y;
}

Tensor solid_harmonics_backward(const Tensor& n, const Tensor& g, int64_t lmax,
                                const Tensor& entries, const Tensor& values) {
  const Table table{lmax, entries, values};
  const int64_t components = components_of(n, table);
  check_operand(g, "g", n, components);
  Tensor n_bar = torch::stable::empty_like(n);
  const Tensor* none = nullptr;
  Tensor* no_result = nullptr;
  run(table, components, n, &g, none, no_result, &n_bar, no_result);
  return n_bar;
}

std::tuple<Tensor, Tensor> solid_harmonics_double_backward(
    const Tensor& n, const Tensor& g, const Tensor& t, int64_t lmax,
    const Tensor& entries, const Tensor& values) {
  const Table table{lmax, entries, values};
  const int64_t components = components_of(n, table);
  check_operand(g, "g", n, components);
  check_operand(t, "t", n, 3);
  Tensor n_bar = torch::stable::empty_like(n);
  Tensor g_bar = torch::stable::empty_like(g);
  Tensor* no_result = nullptr;
  run(table, components, n, &g, &t, no_result, &n_bar, &g_bar);
  return {n_bar, g_bar};
}

}  // namespace
}  // namespace equipot

STABLE_TORCH_LIBRARY_IMPL(equipot, CPU, m) {
  m.impl("solid_harmonics", TORCH_BOX(&equipot::solid_harmonics));
  m.impl("solid_harmonics_backward", TORCH_BOX(&equipot::solid_harmonics_backward));
  m.impl("solid_harmonics_double_backward",
         TORCH_BOX(&equipot::solid_harmonics_double_backward));
}
