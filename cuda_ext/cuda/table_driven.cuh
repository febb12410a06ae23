// Convolution kernels for any list of paths.
//
// As in unrolled.cuh, a block processes one node, a warp one edge at a time and a lane
// one or two channels; see there for the formulas. Arrays whose size is unknown at
// compile time are in shared memory instead of registers: sums over edges, in columns
// that are accessed by one lane each, and the edge matrices of a chunk of paths.
// Elements of T_bar are summed over channels by 32 x 32 transposes in shared memory.
#pragma once

#include "channels.cuh"
#include "device.cuh"
#include "edges.cuh"
#include "plan.h"
#include "problem.h"
#include "product.cuh"

namespace equipot {

// Row stride of shared arrays that are written along columns and summed along rows. It
// is odd so that neither access has bank conflicts.
constexpr int kSquareRow = kLanes + 1;

// Offsets into the shared memory of a block, in bytes.
template <typename Scalar, bool kTangents>
struct TableLayout {
  static constexpr int kMatrices = kTangents ? 2 : 1;

  int64_t one_matrix, one_harmonics;
  int64_t matrices, harmonics, sums;  // relative to the part of a warp
  int64_t t_bar, square, y_bar;       // the same, only when sending
  int64_t warps, warp;                // start of the warps' parts, and size of each

  EQUIPOT_CONSTEXPR TableLayout(
      const Plan& plan, const Problem<Scalar>& problem, Direction direction)
      : one_matrix(shared_bytes<Scalar>(plan.rows_of_chunk)),
        one_harmonics(shared_bytes<Scalar>(problem.harmonics)),
        matrices(0),
        harmonics(kMatrices * one_matrix),
        sums(harmonics + kMatrices * one_harmonics),
        warps(shared_bytes<int32_t>(plan.num_chunks + 1)) {
    const bool receive = direction == Direction::kReceive;
    const int64_t rows = receive ? plan.components_of_window : problem.inputs;
    t_bar = sums + shared_bytes<Scalar>(rows * kTileWidth<Scalar>);
    square = t_bar + one_matrix;
    y_bar = square + shared_bytes<Scalar>(kLanes * kSquareRow);
    warp = receive ? t_bar : y_bar + shared_bytes<Scalar>(problem.harmonics * kSquareRow);
  }

  EQUIPOT_CONSTEXPR int64_t bytes(int num_warps) const { return warps + num_warps * warp; }
};

// The range of table coefficients of each chunk, and the edge matrices of the current
// chunk of a warp.
template <typename Scalar, bool kTangents>
class ChunkMatrices {
 public:
  using Layout = TableLayout<Scalar, kTangents>;

  // Must be called by all threads of the block; ends with a barrier.
  __device__ ChunkMatrices(
      const Problem<Scalar>& problem, const Plan& plan, const Layout& layout)
      : problem_(problem), plan_(plan), layout_(layout) {
    check_table();
    for (int c = threadIdx.x; c <= plan.num_chunks; c += blockDim.x) {
      starts()[c] = lower_bound(plan.first_row(c));
    }
    __syncthreads();
  }

  // Loads the harmonics of an edge. Must be called by all lanes of the warp, before the
  // first chunk of an edge.
  __device__ void move_to(int64_t edge) {
    const Scalar* sources[] = {problem_.y, problem_.y_dot};
    for (int m = 0; m < Layout::kMatrices; ++m) {
      const Scalar* source = sources[m];
      for (int n = lane_index(); n < problem_.harmonics; n += kLanes) {
        harmonics(m)[n] = source == nullptr ? 0 : source[edge * problem_.harmonics + n];
      }
    }
  }

  // Computes the matrices of a chunk. Must be called by all lanes of the warp.
  __device__ void make(int chunk) {
    const int first_row = plan_.first_row(chunk);
    // wait until harmonics are written and the matrices of the previous chunk are read
    __syncwarp();
    for (int m = 0; m < Layout::kMatrices; ++m) {
      for (int n = lane_index(); n < plan_.first_row(chunk + 1) - first_row; n += kLanes) {
        matrix(m)[n] = 0;
      }
    }
    __syncwarp();
    const int end = starts()[chunk + 1];
    for (int n = starts()[chunk] + lane_index(); n < end; n += kLanes) {
      const int row = problem_.rows[n];
      // the lane at the first coefficient of an element sums all of its terms
      if (n > 0 && problem_.rows[n - 1] == row) continue;
      for (int m = 0; m < Layout::kMatrices; ++m) {
        Scalar element = 0;
        for (int z = n; z < end && problem_.rows[z] == row; ++z) {
          element += problem_.values[z] * harmonics(m)[problem_.columns[z]];
        }
        matrix(m)[row - first_row] = element;
      }
    }
    __syncwarp();
  }

  __device__ int first_coefficient(int chunk) const { return starts()[chunk]; }
  __device__ Scalar* matrix(int m) const {
    return own(layout_.matrices + m * layout_.one_matrix);
  }
  __device__ Scalar* sums() const { return own(layout_.sums); }
  __device__ Scalar* t_bar() const { return own(layout_.t_bar); }
  __device__ Scalar* square() const { return own(layout_.square); }
  __device__ Scalar* y_bar() const { return own(layout_.y_bar); }
  // Distance in elements between the parts of consecutive warps.
  __device__ int64_t stride() const { return layout_.warp / int64_t{sizeof(Scalar)}; }

 private:
  __device__ int32_t* starts() const { return shared_at<int32_t>(0); }
  __device__ Scalar* harmonics(int m) const {
    return own(layout_.harmonics + m * layout_.one_harmonics);
  }
  __device__ Scalar* own(int64_t offset) const {
    return shared_at<Scalar>(layout_.warps + warp_index() * layout_.warp + offset);
  }

  __device__ void check_table() const {
    const int rows = plan_.paths[plan_.chunks[plan_.num_chunks]].row;
    for (int n = threadIdx.x; n < problem_.nonzeros; n += blockDim.x) {
      const int row = problem_.rows[n], column = problem_.columns[n];
      if (row < 0 || row >= rows || (n > 0 && problem_.rows[n - 1] > row)) {
        fail("rows of the table must ascend and be elements of the edge matrices");
      }
      if (column < 0 || column >= problem_.harmonics) {
        fail("a column of the table is not a harmonic");
      }
    }
  }

  // Index of the first coefficient whose row is at least `row`.
  __device__ int lower_bound(int row) const {
    int low = 0, high = problem_.nonzeros;
    while (low < high) {
      const int middle = (low + high) / 2;
      if (problem_.rows[middle] < row) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  const Problem<Scalar>& problem_;
  const Plan& plan_;
  const Layout layout_;
};

// Calls body(std::integral_constant<int, size>{}, start) for slices of at most 8
// components that cover `count` components. Precondition: count is odd.
template <class Body>
__device__ inline void for_slices(int count, Body&& body) {
  for (int start = 0; start < count; start += 8) {
    switch (count - start) {
      case 1: body(std::integral_constant<int, 1>{}, start); break;
      case 3: body(std::integral_constant<int, 3>{}, start); break;
      case 5: body(std::integral_constant<int, 5>{}, start); break;
      case 7: body(std::integral_constant<int, 7>{}, start); break;
      default: body(std::integral_constant<int, 8>{}, start);
    }
  }
}

// Adds components start ... start + kSize - 1 of the messages of one edge and path to
// the lane's columns of `sums`; t and b are the matrices of the path.
template <int kSize, typename Scalar, bool kTangents>
__device__ inline void add_slice_of_messages(
    Scalar* sums, const PlannedPath& path, int start, const Tile<Scalar>& tile,
    const Rows<Scalar, kTangents>& x, const Pair<Scalar, kTangents>& w, const Scalar* t,
    const Scalar* b) {
  const int columns = num_orders(path.l_out);
  Channels<Scalar> messages[kSize] = {};
  for (int i = 0; i < num_orders(path.l_in); ++i) {
    Pair<Scalar, kTangents> sent, weighted;
    x.load(sent, tile, path.l_in * path.l_in + i);
    weigh<Scalar, kTangents>(weighted, w, sent);
#pragma unroll
    for (int k = 0; k < kSize; ++k) {
      const int element = i * columns + start + k;
      add_product(messages[k], t[element], weighted[0]);
      if constexpr (kTangents) add_product(messages[k], b[element], weighted[1]);
    }
  }
#pragma unroll
  for (int k = 0; k < kSize; ++k) {
#pragma unroll
    for (int q = 0; q < kChannels<Scalar>; ++q) {
      sums[tile_index<Scalar>(start + k, q)] += messages[k][q];
    }
  }
}

// Summation over channels of the elements of T_bar of a path.
template <typename Scalar>
struct TBarSums {
  Scalar* square;  // of the warp, [lanes, kSquareRow]
  Scalar* t_bar;   // of the path

  __device__ void put(int row, Scalar value) const {
    square[row * kSquareRow + lane_index()] = value;
  }

  // Sums the first `count` rows over lanes. Row k * kSize + i is the element of feature
  // component start + i and message component first_column + k.
  template <int kSize>
  __device__ void sum(int count, int start, int first_column, int columns) const {
    __syncwarp();
    if (lane_index() < count) {
      Scalar sum = 0;
      for (int n = 0; n < kLanes; ++n) sum += square[lane_index() * kSquareRow + n];
      const int i = start + lane_index() % kSize;
      t_bar[i * columns + first_column + lane_index() / kSize] = sum;
    }
    __syncwarp();
  }
};

// Gradients of one edge and path with respect to components start ... start + kSize - 1
// of its features, and the contributions of these components to w_bar and T_bar.
template <int kSize, typename Scalar, bool kTangents>
__device__ inline void add_slice_of_derivatives(
    Scalar* sums, Channels<Scalar>& w_bar, const TBarSums<Scalar>& t_bar,
    const PlannedPath& path, int start, const Tile<Scalar>& tile,
    const Rows<Scalar, kTangents>& x, const Pair<Scalar, kTangents>& w, const Scalar* g,
    const Scalar* t, const Scalar* b) {
  constexpr int kColumnsAtOnce = kLanes / kSize;
  const int columns = num_orders(path.l_out);
  const int component = path.l_in * path.l_in + start;
  Pair<Scalar, kTangents> sent[kSize], weighted[kSize], h[kSize] = {};
#pragma unroll
  for (int i = 0; i < kSize; ++i) {
    x.load(sent[i], tile, component + i);
    weigh<Scalar, kTangents>(weighted[i], w, sent[i]);
  }
  for (int first = 0; first < columns; first += kColumnsAtOnce) {
    const int left = columns - first;
    const int count = left < kColumnsAtOnce ? left : kColumnsAtOnce;
    for (int k = 0; k < count; ++k) {
      Channels<Scalar> received;
      tile.load(received, g, path.component + first + k);
#pragma unroll
      for (int i = 0; i < kSize; ++i) {
        const int element = (start + i) * columns + first + k;
        add_product(h[i][0], t[element], received);
        if constexpr (kTangents) add_product(h[i][1], b[element], received);
        t_bar.put(k * kSize + i, dot<Scalar>(weighted[i][0], received));
      }
    }
    t_bar.template sum<kSize>(count * kSize, start, first, columns);
  }
#pragma unroll
  for (int i = 0; i < kSize; ++i) {
    Channels<Scalar> x_bar = {};
    add_derivatives<Scalar, kTangents>(x_bar, w_bar, w, sent[i], h[i]);
#pragma unroll
    for (int q = 0; q < kChannels<Scalar>; ++q) {
      sums[tile_index<Scalar>(component + i, q)] += x_bar[q];
    }
  }
}

// Sets the lane's columns of `sums` to zero.
template <typename Scalar>
__device__ inline void clear_sums(Scalar* sums, int rows) {
  for (int row = 0; row < rows; ++row) {
    for (int q = 0; q < kChannels<Scalar>; ++q) sums[tile_index<Scalar>(row, q)] = 0;
  }
}

template <typename Scalar, bool kTangents>
__global__ void __launch_bounds__(kMaxWarps* kLanes, 4)
    receive_by_table(const Problem<Scalar> problem, const Plan plan) {
  const TableLayout<Scalar, kTangents> layout(plan, problem, Direction::kReceive);
  ChunkMatrices<Scalar, kTangents> matrices(problem, plan, layout);
  const Rows<Scalar, kTangents> features(problem.x, problem.x_dot);
  const Rows<Scalar, kTangents> weights(problem.w, problem.w_dot);
  const int channels = problem.channels;

  for (int64_t node = blockIdx.x; node < problem.num_nodes; node += gridDim.x) {
    for (int first = 0; first < channels; first += kTileWidth<Scalar>) {
      const Tile<Scalar> tile(first, channels);
      for (int window = 0; window < plan.num_windows; ++window) {
        const int start = plan.first_component(window);
        const int end = window + 1 < plan.num_windows ? plan.first_component(window + 1)
                                                      : problem.outputs;
        clear_sums(matrices.sums(), end - start);

        Edges<Direction::kReceive, Scalar> edges(problem, node);
        for (; edges.any(); edges.advance()) {
          const auto x = features.from(edges.other_node() * problem.inputs * channels);
          const auto weight = weights.from(edges.edge() * problem.num_paths * channels);
          matrices.move_to(edges.edge());
          for (int c = plan.windows[window]; c < plan.windows[window + 1]; ++c) {
            matrices.make(c);
            for (int p = plan.chunks[c]; p < plan.chunks[c + 1]; ++p) {
              const PlannedPath path = plan.paths[p];
              const int row = path.row - plan.first_row(c);
              Pair<Scalar, kTangents> w;
              weight.load(w, tile, p);
              Scalar* sums = matrices.sums() + (path.component - start) * kTileWidth<Scalar>;
              for_slices(num_orders(path.l_out), [&](auto size, int k) {
                add_slice_of_messages<decltype(size)::value, Scalar, kTangents>(
                    sums, path, k, tile, x, w, matrices.matrix(0) + row,
                    matrices.matrix(kTangents) + row);
              });
            }
          }
        }
        sum_over_warps(
            matrices.sums() - warp_index() * matrices.stride(), matrices.stride(),
            end - start, problem.messages + (node * problem.outputs + start) * channels,
            first, channels);
      }
    }
  }
}

// Adds M^T T_bar of a chunk, with coefficients `from` ... `to` - 1, to the lane's
// column of y_bar.
template <typename Scalar>
__device__ inline void add_to_harmonics(
    const Problem<Scalar>& problem, int first_row, int from, int to, const Scalar* t_bar,
    Scalar* y_bar) {
  for (int n = from + lane_index(); n < to; n += kLanes) {
    y_bar[problem.columns[n] * kSquareRow + lane_index()] +=
        problem.values[n] * t_bar[problem.rows[n] - first_row];
  }
}

// Sums y_bar of an edge over lanes and writes it, or adds it to the sum of previous
// tiles of channels.
template <typename Scalar>
__device__ inline void write_harmonics(
    const Scalar* columns, int count, Scalar* y_bar, bool add) {
  __syncwarp();
  for (int n = lane_index(); n < count; n += kLanes) {
    Scalar sum = 0;
    for (int lane = 0; lane < kLanes; ++lane) sum += columns[n * kSquareRow + lane];
    y_bar[n] = add ? y_bar[n] + sum : sum;
  }
  __syncwarp();
}

template <typename Scalar, bool kTangents>
__global__ void __launch_bounds__(kMaxWarps* kLanes, 3)
    send_by_table(const Problem<Scalar> problem, const Plan plan) {
  const TableLayout<Scalar, kTangents> layout(plan, problem, Direction::kSend);
  ChunkMatrices<Scalar, kTangents> matrices(problem, plan, layout);
  const Rows<Scalar, kTangents> features(problem.x, problem.x_dot);
  const Rows<Scalar, kTangents> weights(problem.w, problem.w_dot);
  const int channels = problem.channels;

  for (int64_t node = blockIdx.x; node < problem.num_nodes; node += gridDim.x) {
    const auto x = features.from(node * problem.inputs * channels);
    for (int first = 0; first < channels; first += kTileWidth<Scalar>) {
      const Tile<Scalar> tile(first, channels);
      clear_sums(matrices.sums(), problem.inputs);

      Edges<Direction::kSend, Scalar> edges(problem, node);
      for (; edges.any(); edges.advance()) {
        const Scalar* g = problem.g + edges.other_node() * problem.outputs * channels;
        const int64_t first_weight = edges.edge() * problem.num_paths * channels;
        const auto weight = weights.from(first_weight);
        matrices.move_to(edges.edge());
        for (int n = 0; n < problem.harmonics; ++n) {
          matrices.y_bar()[n * kSquareRow + lane_index()] = 0;
        }
        for (int c = 0; c < plan.num_chunks; ++c) {
          matrices.make(c);
          for (int p = plan.chunks[c]; p < plan.chunks[c + 1]; ++p) {
            const PlannedPath path = plan.paths[p];
            const int row = path.row - plan.first_row(c);
            const TBarSums<Scalar> t_bar{matrices.square(), matrices.t_bar() + row};
            Pair<Scalar, kTangents> w;
            weight.load(w, tile, p);
            Channels<Scalar> w_bar = {};
            for_slices(num_orders(path.l_in), [&](auto size, int i) {
              add_slice_of_derivatives<decltype(size)::value, Scalar, kTangents>(
                  matrices.sums(), w_bar, t_bar, path, i, tile, x, w, g,
                  matrices.matrix(0) + row, matrices.matrix(kTangents) + row);
            });
            tile.store(w_bar, problem.w_bar + first_weight, p);
          }
          add_to_harmonics(
              problem, plan.first_row(c), matrices.first_coefficient(c),
              matrices.first_coefficient(c + 1), matrices.t_bar(), matrices.y_bar());
        }
        write_harmonics(
            matrices.y_bar(), problem.harmonics,
            problem.y_bar + edges.edge() * problem.harmonics, first > 0);
      }
      sum_over_warps(
          matrices.sums() - warp_index() * matrices.stride(), matrices.stride(),
          problem.inputs, problem.x_bar + node * problem.inputs * channels, first,
          channels);
    }
  }
}

}  // namespace equipot
