// Convolution kernels for products whose couplings are known at compile time.
//
// A block processes one node at a time, its warps different edges of the node, and the
// lanes of a warp different channels. For each edge a warp computes the matrices T of
// all paths in shared memory, once for all channels; then every coupling is one
// multiply-add of registers and an element of T, which all lanes read by a broadcast.
// Sums over edges are accumulated in registers and finally added over warps in a fixed
// order. There are no atomic additions, so results are deterministic.
//
// `receive` sums over the edges that arrive at a node, `send` over those that leave it.
// With tangents they are the two halves of the double backward pass, where B =
// T(y_dot):
//
//   receive   messages += T^T (w x)
//   tangents  messages += T^T (w x_dot + w_dot x) + B^T (w x)
//   send      h = T g;  x_bar += w h;  w_bar = x.h;  T_bar = (w x) g^T
//   tangents  h_B = B g;  x_bar += w h_B + w_dot h;  w_bar = x_dot.h + x.h_B;
//             T_bar = (w x_dot + w_dot x) g^T
//   both      y_bar = M^T T_bar, where T = M y
#pragma once

#include "channels.cuh"
#include "device.cuh"
#include "edge_matrices.cuh"
#include "edges.cuh"
#include "problem.h"
#include "product.cuh"

namespace equipot {

// Adds the messages of one edge and path.
template <class Product, int kPath, typename Scalar, bool kTangents>
__device__ inline void add_messages(
    Channels<Scalar> (&messages)[Product::kOutputs],
    const Pair<Scalar, kTangents> (&x)[Product::kInputs],
    const Pair<Scalar, kTangents>& w,
    const EdgeMatrices<Product, Scalar, kTangents>& matrices) {
  constexpr Path path = Product::path(kPath);
  constexpr int kElement = Codes<Product>::first_element(kPath);
  Stream<Scalar> t(matrices.matrix(0)), b(matrices.matrix(kTangents));
#pragma unroll
  for (int i = 0; i < num_orders(path.l_in); ++i) {
    Pair<Scalar, kTangents> weighted;
    weigh<Scalar, kTangents>(weighted, w, x[path.l_in * path.l_in + i]);
#pragma unroll
    for (int k = 0; k < num_orders(path.l_out); ++k) {
      const int element = kElement + i * num_orders(path.l_out) + k;
      Channels<Scalar>& message = messages[path.l_out * path.l_out + k];
      add_product(message, t.at(element), weighted[0]);
      if constexpr (kTangents) add_product(message, b.at(element), weighted[1]);
    }
  }
}

// Adds the gradients of one edge and path. y_bar is not yet summed over lanes.
template <class Product, int kPath, typename Scalar, bool kTangents>
__device__ inline void add_path_derivatives(
    Channels<Scalar> (&x_bar)[Product::kInputs], Channels<Scalar>& w_bar, Scalar* y_bar,
    const Pair<Scalar, kTangents> (&x)[Product::kInputs],
    const Pair<Scalar, kTangents>& w, const Channels<Scalar> (&g)[Product::kOutputs],
    const EdgeMatrices<Product, Scalar, kTangents>& matrices) {
  static constexpr auto kCodes = Codes<Product>::make();
  constexpr Path path = Product::path(kPath);
  constexpr int kElement = Codes<Product>::first_element(kPath);
  Stream<Scalar> t(matrices.matrix(0)), b(matrices.matrix(kTangents));
  Stream<Scalar> coefficients(matrices.coefficients());
#pragma unroll
  for (int i = 0; i < num_orders(path.l_in); ++i) {
    const int component = path.l_in * path.l_in + i;
    Pair<Scalar, kTangents> weighted, h = {};
    weigh<Scalar, kTangents>(weighted, w, x[component]);
#pragma unroll
    for (int k = 0; k < num_orders(path.l_out); ++k) {
      const int element = kElement + i * num_orders(path.l_out) + k;
      const Channels<Scalar>& received = g[path.l_out * path.l_out + k];
      add_product(h[0], t.at(element), received);
      if constexpr (kTangents) add_product(h[1], b.at(element), received);
      const Scalar t_bar = dot<Scalar>(weighted[0], received);
      const ElementCode code = kCodes.elements[element];
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        if (code.columns[c] != ElementCode::kNone) {
          y_bar[code.columns[c]] += coefficients.at(code.coefficient + c) * t_bar;
        }
      }
    }
    add_derivatives<Scalar, kTangents>(x_bar[component], w_bar, w, x[component], h);
  }
}

// Sums the accumulators of all warps of a block and writes the result.
template <int kRows, typename Scalar>
__device__ inline void write_sums(
    const Channels<Scalar> (&held)[kRows], Scalar* shared, int64_t stride, Scalar* to,
    int first, int channels) {
#pragma unroll
  for (int row = 0; row < kRows; ++row) {
#pragma unroll
    for (int q = 0; q < kChannels<Scalar>; ++q) {
      shared[tile_index<Scalar>(row, q)] = held[row][q];
    }
  }
  sum_over_warps(shared - warp_index() * stride, stride, kRows, to, first, channels);
}

// Minimum number of resident blocks per multiprocessor. 5, 4, 3 and 2 blocks limit a
// thread to 96, 128, 168 and 255 registers; with these values few registers are
// spilled.
template <typename Scalar, Direction kDirection, bool kTangents>
constexpr int kBlocks = kDirection == Direction::kReceive
                            ? (kTangents ? 3 : (sizeof(Scalar) == 4 ? 5 : 4))
                            : (kTangents || sizeof(Scalar) == 8 ? 2 : 3);

template <class Product, typename Scalar, bool kTangents>
__global__ void __launch_bounds__(
    kMaxWarps* kLanes, kBlocks<Scalar, Direction::kReceive, kTangents>)
    receive_unrolled(const Problem<Scalar> problem) {
  EdgeMatrices<Product, Scalar, kTangents> matrices(problem);
  const Rows<Scalar, kTangents> features(problem.x, problem.x_dot);
  const Rows<Scalar, kTangents> weights(problem.w, problem.w_dot);
  const int channels = problem.channels;

  for (int64_t node = blockIdx.x; node < problem.num_nodes; node += gridDim.x) {
    for (int first = 0; first < channels; first += kTileWidth<Scalar>) {
      const Tile<Scalar> tile(first, channels);
      Channels<Scalar> messages[Product::kOutputs] = {};

      Edges<Direction::kReceive, Scalar> edges(problem, node);
      for (; edges.any(); edges.advance()) {
        const auto sent =
            features.from(edges.other_node() * Product::kInputs * channels);
        const auto weight =
            weights.from(edges.edge() * Product::num_paths() * channels);
        Pair<Scalar, kTangents> x[Product::kInputs];
#pragma unroll
        for (int i = 0; i < Product::kInputs; ++i) sent.load(x[i], tile, i);
        matrices.move_to(edges.edge());
        unroll<Product::num_paths()>([&](auto index) {
          constexpr int kPath = decltype(index)::value;
          Pair<Scalar, kTangents> w;
          weight.load(w, tile, kPath);
          add_messages<Product, kPath, Scalar, kTangents>(messages, x, w, matrices);
        });
      }
      write_sums<Product::kOutputs, Scalar>(
          messages, matrices.sums(), matrices.kStride,
          problem.messages + node * Product::kOutputs * channels, first, channels);
    }
  }
}

template <class Product, typename Scalar, bool kTangents>
__global__ void __launch_bounds__(
    kMaxWarps* kLanes, kBlocks<Scalar, Direction::kSend, kTangents>)
    send_unrolled(const Problem<Scalar> problem) {
  EdgeMatrices<Product, Scalar, kTangents> matrices(problem);
  const Rows<Scalar, kTangents> features(problem.x, problem.x_dot);
  const Rows<Scalar, kTangents> weights(problem.w, problem.w_dot);
  const int channels = problem.channels;

  for (int64_t node = blockIdx.x; node < problem.num_nodes; node += gridDim.x) {
    const auto sent = features.from(node * Product::kInputs * channels);
    for (int first = 0; first < channels; first += kTileWidth<Scalar>) {
      const Tile<Scalar> tile(first, channels);
      Pair<Scalar, kTangents> x[Product::kInputs];
#pragma unroll
      for (int i = 0; i < Product::kInputs; ++i) sent.load(x[i], tile, i);
      Channels<Scalar> x_bar[Product::kInputs] = {};

      Edges<Direction::kSend, Scalar> edges(problem, node);
      for (; edges.any(); edges.advance()) {
        const Scalar* received =
            problem.g + edges.other_node() * Product::kOutputs * channels;
        const int64_t first_weight = edges.edge() * Product::num_paths() * channels;
        const auto weight = weights.from(first_weight);
        Channels<Scalar> g[Product::kOutputs];
#pragma unroll
        for (int k = 0; k < Product::kOutputs; ++k) tile.load(g[k], received, k);
        matrices.move_to(edges.edge());
        Scalar y_bar[power_of_two_from(Product::kHarmonics)] = {};
        unroll<Product::num_paths()>([&](auto index) {
          constexpr int kPath = decltype(index)::value;
          Pair<Scalar, kTangents> w;
          weight.load(w, tile, kPath);
          Channels<Scalar> w_bar = {};
          add_path_derivatives<Product, kPath, Scalar, kTangents>(
              x_bar, w_bar, y_bar, x, w, g, matrices);
          tile.store(w_bar, problem.w_bar + first_weight, kPath);
        });
        const Scalar sum = sum_over_lanes(y_bar);
        if (lane_index() < Product::kHarmonics) {
          // no race: the same lane adds the sum of the next tile of channels
          Scalar& to = problem.y_bar[edges.edge() * Product::kHarmonics + lane_index()];
          to = first == 0 ? sum : to + sum;
        }
      }
      write_sums<Product::kInputs, Scalar>(
          x_bar, matrices.sums(), matrices.kStride,
          problem.x_bar + node * Product::kInputs * channels, first, channels);
    }
  }
}

}  // namespace equipot
