// Host code: launches the convolution kernels on a GPU.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "convolution.h"
#include "dispatch.cuh"

namespace equipot {

inline void check(cudaError_t error, const char* doing) {
  if (error != cudaSuccess) {
    throw std::runtime_error(
        std::string("equipot: ") + doing + " failed: " + cudaGetErrorString(error));
  }
}

// Launches kernels on a stream of the current device.
class DeviceLauncher {
 public:
  explicit DeviceLauncher(cudaStream_t stream) : stream_(stream) {}

  // Several blocks per multiprocessor, to balance the load of nodes with different
  // numbers of edges.
  int64_t max_blocks() const {
    constexpr int64_t kBlocksPerMultiprocessor = 16;
    return kBlocksPerMultiprocessor * attribute(cudaDevAttrMultiProcessorCount);
  }
  int max_warps() const { return kMaxWarps; }
  int64_t max_shared_bytes() const {
    return attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  }

  template <typename... Parameters>
  void operator()(
      void (*kernel)(Parameters...), const Shape& shape,
      const Parameters&... arguments) const {
    const auto bytes = static_cast<int>(shape.shared_bytes);
    check(
        cudaFuncSetAttribute(
            kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
        "requesting shared memory");
    kernel<<<static_cast<unsigned>(shape.blocks), shape.warps * kLanes, bytes, stream_>>>(
        arguments...);
    check(cudaGetLastError(), "launching a kernel");
  }

 private:
  static int64_t attribute(cudaDeviceAttr name) {
    int device = 0, value = 0;
    check(cudaGetDevice(&device), "querying the current device");
    check(cudaDeviceGetAttribute(&value, name, device), "querying a device attribute");
    return value;
  }

  cudaStream_t stream_;
};

template <typename Scalar, bool kTangents>
void convolve(
    Direction direction, const Problem<Scalar>& problem, const PathList& paths,
    void* stream) {
  const DeviceLauncher launch(static_cast<cudaStream_t>(stream));
  launch_convolution<kTangents>(direction, problem, paths, launch);
}

}  // namespace equipot
