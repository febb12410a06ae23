// How the channels of nodes and edges are spread over the lanes of a warp.
#pragma once

#include "device.cuh"

namespace equipot {

// Channels of a lane. Two share each element of an edge matrix that the lane reads, where
// registers allow it.
template <typename Scalar>
constexpr int kChannels = sizeof(Scalar) == 4 ? 2 : 1;

template <typename Scalar>
constexpr int kTileWidth = kLanes * kChannels<Scalar>;

template <typename Scalar>
using Channels = Scalar[kChannels<Scalar>];

// An operand and, with tangents, its tangent.
template <typename Scalar, bool kTangents>
using Pair = Channels<Scalar>[kTangents ? 2 : 1];

// The channels from `first` on. Those of a lane are 32 apart: every access of a warp is to
// consecutive addresses, whatever the number of channels.
template <typename Scalar>
class Tile {
 public:
  __device__ Tile(int first, int channels)
      : channel_(first + lane_index()), channels_(channels) {}

  // Row of an array [rows, channels]; zero beyond the last channel, or if it is absent.
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

// Rows of an operand and, with tangents, of its tangent; one that is null is zero.
template <typename Scalar, bool kTangents>
class Rows {
 public:
  __device__ Rows(const Scalar* values, const Scalar* tangents)
      : values_(values),
        tangents_(tangents == nullptr ? values : tangents),
        has_tangents_(tangents != nullptr) {}

  // The rows from an element on.
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

// What T multiplies: w x, or with tangents w x_dot + w_dot x; then B multiplies w x.
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

// Derivatives by x and w of w x.h, or with tangents of w x.h_B + (w x_dot + w_dot x).h,
// where h = T g and h_B = B g.
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

// Where shared memory has channel q of this lane of a row of a tile.
template <typename Scalar>
__device__ inline int tile_index(int row, int q) {
  return row * kTileWidth<Scalar> + q * kLanes + lane_index();
}

// Adds the tiles [rows, width] that the warps of a block hold in shared memory, `stride`
// elements apart, and writes the channels from `first` of `sums` [rows, channels].
// Starts and ends with a barrier; the order of summation is always the same.
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
