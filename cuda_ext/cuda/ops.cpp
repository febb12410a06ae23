// The ops of equipot/ops/convolution.py on NVIDIA GPUs: argument checks, allocation of
// results, and streams.
//
// Values on the device are validated by the kernels, because reading them here would
// synchronize the host with the device. A kernel fails if indices are out of range.
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <limits>
#include <tuple>
#include <vector>

#include "../operands.h"
#include "convolution.h"

namespace equipot {
namespace {

void check(
    const Tensor& x, const Tensor& y, const Tensor& w, const Topology& topology,
    const Table& table) {
  check_operands(x, y, w, topology, table, gpu_of(x));
  for (std::size_t n = 0; n < table.paths.size(); n += 3) {
    const int64_t l_in = table.paths[n], l_out = table.paths[n + 2];
    EQUIPOT_CHECK(
        l_in >= 0 && l_out >= 0, "degrees of a path must not be negative, got ", l_in,
        " and ", l_out);
    EQUIPOT_CHECK(
        (l_in + 1) * (l_in + 1) <= x.size(1), "x has ", x.size(1),
        " components, too few for a path from degree ", l_in);
  }
  const int64_t rows = std::max({x.size(1), table.num_outputs, table.num_paths()});
  EQUIPOT_CHECK(
      rows * x.size(2) <= std::numeric_limits<int32_t>::max(),
      "a node or an edge has ", rows, " x ", x.size(2),
      " values; the CUDA kernels take up to 2^31 - 1");
}

template <typename Scalar>
Problem<Scalar> problem_of(
    const Operands& in, const Topology& topology, const Table& table,
    const Results& out) {
  Problem<Scalar> problem{};
  problem.x = data_of<Scalar>(in.x);
  problem.y = data_of<Scalar>(in.y);
  problem.w = data_of<Scalar>(in.w);
  problem.g = data_of<Scalar>(in.g);
  problem.x_dot = data_of<Scalar>(in.x_dot);
  problem.y_dot = data_of<Scalar>(in.y_dot);
  problem.w_dot = data_of<Scalar>(in.w_dot);
  problem.senders = data<int64_t>(topology.senders);
  problem.receivers = data<int64_t>(topology.receivers);
  problem.receiver_pointers = data<int64_t>(topology.receiver_pointers);
  problem.sender_order = data<int64_t>(topology.sender_order);
  problem.sender_pointers = data<int64_t>(topology.sender_pointers);
  problem.rows = data<int32_t>(table.rows);
  problem.columns = data<int32_t>(table.columns);
  problem.values = data<Scalar>(table.values);
  problem.messages = data_of<Scalar>(out.messages);
  problem.x_bar = data_of<Scalar>(out.x_bar);
  problem.y_bar = data_of<Scalar>(out.y_bar);
  problem.w_bar = data_of<Scalar>(out.w_bar);
  problem.num_nodes = in.x->size(0);
  problem.num_edges = in.y->size(0);
  problem.channels = static_cast<int32_t>(in.x->size(2));
  problem.inputs = static_cast<int32_t>(in.x->size(1));
  problem.harmonics = static_cast<int32_t>(in.y->size(1));
  problem.outputs = static_cast<int32_t>(table.num_outputs);
  problem.num_paths = static_cast<int32_t>(table.num_paths());
  problem.nonzeros = static_cast<int32_t>(table.rows.size(0));
  return problem;
}

void* current_stream(const Tensor& tensor) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(
      aoti_torch_get_current_cuda_stream(tensor.get_device_index(), &stream));
  return stream;
}

template <bool kTangents, typename Scalar>
void run_as(
    const Operands& in, const Topology& topology, const Table& table,
    const Results& out) {
  const PathList paths{table.paths.data(), table.num_paths(), table.concat};
  const auto direction =
      out.messages != nullptr ? Direction::kReceive : Direction::kSend;
  convolve<Scalar, kTangents>(
      direction, problem_of<Scalar>(in, topology, table, out), paths,
      current_stream(*in.x));
}

// Computes the messages if out.messages is not null, otherwise the gradients.
template <bool kTangents>
void run(
    const Operands& in, const Topology& topology, const Table& table,
    const Results& out) {
  if (in.x->size(0) == 0) return;
  if (in.x->scalar_type() == ScalarType::Float) {
    run_as<kTangents, float>(in, topology, table, out);
  } else {
    run_as<kTangents, double>(in, topology, table, out);
  }
}

// Results of a kSend pass. The pass iterates over tiles of channels and does not write
// y_bar if there are no channels, in which case it is set to zero here.
struct Derivatives {
  Tensor x_bar, y_bar, w_bar;

  explicit Derivatives(const Operands& in)
      : x_bar(torch::stable::empty_like(*in.x)),
        y_bar(torch::stable::empty_like(*in.y)),
        w_bar(torch::stable::empty_like(*in.w)) {
    if (in.x->size(2) == 0) torch::stable::zero_(y_bar);
  }

  Results results() { return {nullptr, &x_bar, &y_bar, &w_bar}; }
};

Tensor empty_messages(const Tensor& x, const Table& table) {
  return torch::stable::new_empty(x, {x.size(0), table.num_outputs, x.size(2)});
}

Tensor convolve_cuda(
    const Tensor& x, const Tensor& y, const Tensor& w, EQUIPOT_CONSTANTS) {
  EQUIPOT_TAKE_CONSTANTS;
  check(x, y, w, topology, table);
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  Tensor messages = empty_messages(x, table);
  run<false>({&x, &y, &w}, topology, table, {&messages});
  return messages;
}

std::tuple<Tensor, Tensor, Tensor> convolve_backward_cuda(
    const Tensor& x, const Tensor& y, const Tensor& w, const Tensor& g,
    EQUIPOT_CONSTANTS) {
  EQUIPOT_TAKE_CONSTANTS;
  check(x, y, w, topology, table);
  check_messages(g, x, table, gpu_of(x));
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  const Operands operands{&x, &y, &w, &g};
  Derivatives out(operands);
  run<false>(operands, topology, table, out.results());
  return {out.x_bar, out.y_bar, out.w_bar};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> convolve_double_backward_cuda(
    const Tensor& x, const Tensor& y, const Tensor& w, const Tensor& g,
    const Tensor& x_dot, const Tensor& y_dot, const Tensor& w_dot, EQUIPOT_CONSTANTS) {
  EQUIPOT_TAKE_CONSTANTS;
  check(x, y, w, topology, table);
  check_messages(g, x, table, gpu_of(x));
  check_tangent(x_dot, "x_dot", x, "x", gpu_of(x));
  check_tangent(y_dot, "y_dot", y, "y", gpu_of(x));
  check_tangent(w_dot, "w_dot", w, "w", gpu_of(x));
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  const Operands operands{&x, &y, &w, &g, &x_dot, &y_dot, &w_dot};
  Tensor g_bar = empty_messages(x, table);
  run<true>(operands, topology, table, {&g_bar});
  Derivatives out(operands);
  run<true>(operands, topology, table, out.results());
  return {out.x_bar, out.y_bar, out.w_bar, g_bar};
}

}  // namespace
}  // namespace equipot

STABLE_TORCH_LIBRARY_IMPL(equipot, CUDA, m) {
  m.impl("convolve", TORCH_BOX(&equipot::convolve_cuda));
  m.impl("convolve_backward", TORCH_BOX(&equipot::convolve_backward_cuda));
  m.impl("convolve_double_backward", TORCH_BOX(&equipot::convolve_double_backward_cuda));
}
