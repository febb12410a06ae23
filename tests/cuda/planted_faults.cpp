// Kernels with faults that the simulator must find, and one without.
#include <cstdint>
#include <exception>
#include <map>
#include <string>

#include "simulator.h"

namespace {

double* shared() { return reinterpret_cast<double*>(equipot::shared_memory()); }

// Threads hand a value to their neighbour, over and over.
void pass_on(double* out, bool before_reading, bool before_writing) {
  const unsigned self = threadIdx.x, neighbour = (self + 1) % blockDim.x;
  double value = self;
  for (int round = 0; round < 3; ++round) {
    shared()[self] = value;
    if (before_reading) __syncthreads();
    value = shared()[neighbour] + round;
    if (before_writing) __syncthreads();
  }
  out[self] = value;
}

__global__ void correct(double* out) { pass_on(out, true, true); }
__global__ void reads_too_early(double* out) { pass_on(out, false, true); }
__global__ void writes_too_early(double* out) { pass_on(out, true, false); }

__global__ void reads_unwritten(double* out) {
  if (threadIdx.x != 7) shared()[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = shared()[threadIdx.x ^ 1];
}

__global__ void diverges(double* out) {
  if (threadIdx.x < 40) {
    __syncthreads();
  }
  out[threadIdx.x] = 1;
}

__global__ void meets_elsewhere(double* out) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  out[threadIdx.x] = 1;
}

__global__ void shuffles_half_a_warp(double* out) {
  double value = threadIdx.x;
  if (threadIdx.x % 32 < 16) value += __shfl_xor_sync(0xffffffffu, value, 8);
  out[threadIdx.x] = value;
}

__global__ void forgets_a_lane(double* out) {
  if (threadIdx.x == 3) return;
  __syncwarp();
  out[threadIdx.x] = 1;
}

__global__ void writes_beyond(double* out) {
  shared()[threadIdx.x + 1] = 1;
  out[threadIdx.x] = 1;
}

const std::map<std::string, void (*)(double*)> kKernels = {
    {"correct", correct},
    {"reads_too_early", reads_too_early},
    {"writes_too_early", writes_too_early},
    {"reads_unwritten", reads_unwritten},
    {"diverges", diverges},
    {"meets_elsewhere", meets_elsewhere},
    {"shuffles_half_a_warp", shuffles_half_a_warp},
    {"forgets_a_lane", forgets_a_lane},
    {"writes_beyond", writes_beyond},
};

}  // namespace

// One block of 64 threads, which has as many doubles of shared memory.
extern "C" const char* simulate(const char* name, double* out, int32_t seed) {
  static std::string message;
  try {
    cudasim::run(1, 64, 64 * sizeof(double), seed, [&] { kKernels.at(name)(out); });
  } catch (const std::exception& error) {
    message = error.what();
    return message.c_str();
  }
  return nullptr;
}
