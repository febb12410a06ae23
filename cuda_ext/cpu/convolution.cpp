// The ops of equipot/ops/convolution.py on the CPU: argument checks and threading.
#include "convolution.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <tuple>
#include <vector>

#include "../operands.h"
#include "convolution_layout.h"
#include "memory.h"
#include "schedule.h"
#include "topology.h"

namespace equipot {
namespace {

void check(const Tensor& x, const Tensor& y, const Tensor& w, const Topology& topology,
           const Table& table) {
  check_operands(x, y, w, topology, table, kCpu);
  check_edges(topology, x.size(0), y.size(0));
}

// Computes the messages if out.messages is not null, otherwise the gradients.
template <class S>
void run_as(const Operands& in, const Topology& topology, const Table& table,
            const Results& out) {
  const bool by_receiver = out.messages != nullptr;
  const Constants<S> constants =
      constants_of<S>(table, in.x->size(1), in.y->size(1),
                      by_receiver ? Layout::by_row : Layout::by_column);
  Convolution<S> c{};
  c.paths = constants.paths.data();
  c.num_paths = static_cast<int32_t>(constants.paths.size());
  c.groups = constants.groups.data();
  c.num_groups = static_cast<int32_t>(constants.groups.size());
  c.map = constants.map;
  c.channels = in.x->size(2);
  c.x_rows = static_cast<int32_t>(in.x->size(1));
  c.z_rows = static_cast<int32_t>(table.num_outputs);
  c.senders = data<int64_t>(topology.senders);
  c.receivers = data<int64_t>(topology.receivers);
  c.pointers =
      data<int64_t>(by_receiver ? topology.receiver_pointers : topology.sender_pointers);
  c.order = by_receiver ? nullptr : data<int64_t>(topology.sender_order);
  c.tangents = in.x_dot == nullptr   ? Tangents::none
               : in.w_dot == nullptr ? Tangents::without_weights
                                     : Tangents::all;
  c.derivatives = !by_receiver;
  c.x = data_of<S>(in.x);
  c.y = data_of<S>(in.y);
  c.w = data_of<S>(in.w);
  c.g = data_of<S>(in.g);
  c.x_dot = data_of<S>(in.x_dot);
  c.y_dot = data_of<S>(in.y_dot);
  c.w_dot = data_of<S>(in.w_dot);
  c.z = data_of<S>(out.messages);
  c.x_bar = data_of<S>(out.x_bar);
  c.y_bar = data_of<S>(out.y_bar);
  c.w_bar = data_of<S>(out.w_bar);

  const auto kernel = by_receiver ? EQUIPOT_SELECT(gather<S>) : EQUIPOT_SELECT(differentiate<S>);
  for_ranges_of_nodes<S>(in.x->size(0), c.pointers, EQUIPOT_SELECT(scratch_size<S>)(c),
                         [&](int64_t first, int64_t last, S* scratch) {
                           kernel(c, first, last, scratch);
                         });
}

void run(const Operands& in, const Topology& topology, const Table& table,
         const Results& out) {
  with_type_of(*in.x, [&](auto zero) {
    run_as<decltype(zero)>(in, topology, table, out);
  });
}

Tensor convolve(const Tensor& x, const Tensor& y, const Tensor& w, EQUIPOT_CONSTANTS) {
  EQUIPOT_TAKE_CONSTANTS;
  check(x, y, w, topology, table);
  Tensor z = torch::stable::new_empty(x, {x.size(0), num_outputs, x.size(2)});
  run({&x, &y, &w}, topology, table, {&z});
  return z;
}

std::tuple<Tensor, Tensor, Tensor> convolve_backward(const Tensor& x, const Tensor& y,
                                                     const Tensor& w, const Tensor& g,
                                                     EQUIPOT_CONSTANTS) {
  EQUIPOT_TAKE_CONSTANTS;
  check(x, y, w, topology, table);
  check_messages(g, x, table, kCpu);
  Tensor x_bar = result_like(x);
  Tensor y_bar = result_like(y);
  Tensor w_bar = result_like(w);
  run({&x, &y, &w, &g}, topology, table, {nullptr, &x_bar, &y_bar, &w_bar});
  return {x_bar, y_bar, w_bar};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> convolve_double_backward(
    const Tensor& x, const Tensor& y, const Tensor& w, const Tensor& g,
    const Tensor& x_dot, const Tensor& y_dot, const Tensor& w_dot, EQUIPOT_CONSTANTS) {
  EQUIPOT_TAKE_CONSTANTS;
  check(x, y, w, topology, table);
  check_messages(g, x, table, kCpu);
  const Tensor x_tangent = tangent_of(x, x_dot, "x_dot", "x");
  const Tensor y_tangent = tangent_of(y, y_dot, "y_dot", "y");
  // an absent weight tangent selects kernels without its terms
  const bool zero = is_absent(w_dot, w);
  const Tensor w_tangent = zero ? w_dot : tangent_of(w, w_dot, "w_dot", "w");
  Tensor x_bar = result_like(x);
  Tensor y_bar = result_like(y);
  Tensor w_bar = result_like(w);
  Tensor g_bar = result_like(g);
  Operands operands{&x, &y, &w, nullptr, &x_tangent, &y_tangent, zero ? nullptr : &w_tangent};
  run(operands, topology, table, {&g_bar});
  operands.g = &g;
  run(operands, topology, table, {nullptr, &x_bar, &y_bar, &w_bar});
  return {x_bar, y_bar, w_bar, g_bar};
}

}  // namespace
}  // namespace equipot

STABLE_TORCH_LIBRARY_IMPL(equipot, CPU, m) {
  m.impl("convolve", TORCH_BOX(&equipot::convolve));
  m.impl("convolve_backward", TORCH_BOX(&equipot::convolve_backward));
  m.impl("convolve_double_backward", TORCH_BOX(&equipot::convolve_double_backward));
}
