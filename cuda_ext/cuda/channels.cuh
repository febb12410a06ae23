// Distribution of channels over the lanes of a warp.
#pragma once

#include "device.cuh"

namespace equipot {

// Channels per lane. In float32 two channels share each element of an edge matrix that
// a lane reads; in float64 that would take too many registers.
template <typename Scalar>
constexpr int kChannels = sizeof(Scalar) == 4 ? 2 : 1;

template <typename Scalar>
constexpr int kTileWidth = kLanes * kChannels<Scalar>;

template <typename Scalar>
using Channels = Scalar[kChannels<Scalar>];

// An operand and, with tangents, its tangent.
template <typename Scalar, bool kTangents>
using Pair = Channels<Scalar>[kTangents ? 2 : 1];

// A tile of kTileWidth channels, starting at channel `first`. The channels of a lane
// are 32 apart, so that accesses of a warp are coalesced for any number of channels.
template <typename Scalar>
class Tile {
 public:
  __device__ Tile(int first, int channels)
      : channel_(first + lane_index()), channels_(channels) {}

  // Loads a row of an array [rows, channels]. Values are zero beyond the last channel,
  // and if not `present`.
  __device__ void load(
      Channels<Scalar>& to, const Scalar* from, int row, bool present = true) const {
    const Scalar* start = from + row * channels_ + channel_;
#pragma unroll
    for (int q = 0; q < kChannels<Scalar>; ++q) {
      to[q] = present && holds(q) ? __ldg(start + q * kLanes) : Scalar{0};
    }
  }

  __device__ void store(const Channels<Scalar>& from, Scalar* to, int row) const {
    Scalar* start = to + row * channels_ + channel_;
#pragma unroll
    for (int q = 0; q < kChannels<Scalar>; ++q) {
      if (holds(q)) start[q * kLanes] = from[q];
    }
  }

 private:
  __device__ bool holds(int q) const { return channel_ + q * kLanes < channels_; }

  int channel_;
  int channels_;
};

// Rows of an operand and, with tangents, of its tangent. A null tangent is zero.
template <typename Scalar, bool kTangents>
class Rows {
 public:
  __device__ Rows(const Scalar* values, const Scalar* tangents)
      : values_(values),
        tangents_(tangents == nullptr ? values : tangents),
        has_tangents_(tangents != nullptr) {}

  // The rows starting at an element of the array.
  __device__ Rows from(int64_t element) const {
    Rows rows(*this);
    rows.values_ += element;
    rows.tangents_ += element;
    return rows;
  }

  __device__ void load(
      Pair<Scalar, kTangents>& to, const Tile<Scalar>& tile, int row) const {
    tile.load(to[0], values_, row);
    if constexpr (kTangents) tile.load(to[1], tangents_, row, has_tangents_);
  }

 private:
  const Scalar* values_;
  const Scalar* tangents_;
  bool has_tangents_;
};

// Computes the factor of T, which is w x, or with tangents the factors of T and B,
// w x_dot + w_dot x and w x.
template <typename Scalar, bool kTangents>
__device__ inline void weigh(
    Pair<Scalar, kTangents>& weighted, const Pair<Scalar, kTangents>& w,
    const Pair<Scalar, kTangents>& x) {
#pragma unroll
  for (int q = 0; q < kChannels<Scalar>; ++q) {
    const Scalar product = w[0][q] * x[0][q];
    if constexpr (kTangents) {
      weighted[0][q] = w[0][q] * x[1][q] + w[1][q] * x[0][q];
      weighted[1][q] = product;
    } else {
      weighted[0][q] = product;
    }
  }
}

// Adds the gradients with respect to x and w of w x.h, or with tangents of
// w x.h_B + (w x_dot + w_dot x).h, where h = T g and h_B = B g.
template <typename Scalar, bool kTangents>
__device__ inline void add_derivatives(
    Channels<Scalar>& x_bar, Channels<Scalar>& w_bar, const Pair<Scalar, kTangents>& w,
    const Pair<Scalar, kTangents>& x, const Pair<Scalar, kTangents>& h) {
#pragma unroll
  for (int q = 0; q < kChannels<Scalar>; ++q) {
    if constexpr (kTangents) {
      x_bar[q] += w[0][q] * h[1][q] + w[1][q] * h[0][q];
      w_bar[q] += x[1][q] * h[0][q] + x[0][q] * h[1][q];
    } else {
      x_bar[q] += w[0][q] * h[0][q];
      w_bar[q] += x[0][q] * h[0][q];
    }
  }
}

template <typename Scalar>
__device__ inline void add_product(
    Channels<Scalar>& to, Scalar factor, const Channels<Scalar>& values) {
#pragma unroll
  for (int q = 0; q < kChannels<Scalar>; ++q) to[q] += factor * values[q];
}

template <typename Scalar>
__device__ inline Scalar dot(const Channels<Scalar>& a, const Channels<Scalar>& b) {
  Scalar sum = 0;
#pragma unroll
  for (int q = 0; q < kChannels<Scalar>; ++q) sum += a[q] * b[q];
  return sum;
}

// Index of channel q of this lane in a row of a tile in shared memory.
template <typename Scalar>
__device__ inline int tile_index(int row, int q) {
  return row * kTileWidth<Scalar> + q * kLanes + lane_index();
}

// Sums the tiles [rows, width] of all warps of a block, which are `stride` elements
// apart in shared memory, and writes them to `sums` [rows, channels], starting at
// channel `first`. Starts and ends with a barrier. The order of summation is fixed.
template <typename Scalar>
__device__ inline void sum_over_warps(
    const Scalar* tiles, int64_t stride, int rows, Scalar* sums, int first,
    int channels) {
  constexpr int kWidth = kTileWidth<Scalar>;
  __syncthreads();
  for (int n = threadIdx.x; n < rows * kWidth; n += blockDim.x) {
    const int channel = first + n % kWidth;
    if (channel < channels) {
      Scalar sum = 0;
      for (int warp = 0; warp < num_warps(); ++warp) sum += tiles[warp * stride + n];
      sums[int64_t{n / kWidth} * channels + channel] = sum;
    }
  }
  __syncthreads();
}

}  // namespace equipot
