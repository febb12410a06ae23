// Host: starts the kernels of the convolution on a GPU.
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

// Starts kernels on a stream of the present device.
class DeviceLauncher {
 public:
  explicit DeviceLauncher(cudaStream_t stream) : stream_(stream) {}

  // Enough for the device to balance nodes of many and of few edges.
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
        "asking for shared memory");
    kernel<<<static_cast<unsigned>(shape.blocks), shape.warps * kLanes, bytes, stream_>>>(
        arguments...);
    check(cudaGetLastError(), "starting a kernel");
  }

 private:
  static int64_t attribute(cudaDeviceAttr name) {
    int device = 0, value = 0;
    check(cudaGetDevice(&device), "asking for the device");
    check(cudaDeviceGetAttribute(&value, name, device), "asking for a device attribute");
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
