// The convolution kernels in the simulator, for ctypes.
#include <cstdint>
#include <exception>
#include <string>

#include "dispatch.cuh"
#include "simulator.h"

namespace {

using equipot::Direction;
using equipot::PathList;
using equipot::Problem;
using equipot::Shape;

struct Settings {
  int32_t seed;
  int32_t max_blocks;
  int32_t max_warps;
  int32_t unrolled;  // whether to use the unrolled kernels, or those driven by tables
  const char* ignored_barrier;  // as the simulator names it, or empty
};

class Simulator {
 public:
  explicit Simulator(const Settings& settings) : settings_(settings) {}

  int64_t max_blocks() const { return settings_.max_blocks; }
  int max_warps() const { return settings_.max_warps; }
  int64_t max_shared_bytes() const { return cudasim::kMaxSharedBytes; }

  template <typename... Parameters>
  void operator()(
      void (*kernel)(Parameters...), const Shape& shape,
      const Parameters&... arguments) const {
    cudasim::run(
        static_cast<unsigned>(shape.blocks),
        static_cast<unsigned>(shape.warps * equipot::kLanes), shape.shared_bytes,
        settings_.seed, [&] { kernel(arguments...); });
  }

 private:
  Settings settings_;
};

template <bool kTangents, typename Scalar>
void simulate(
    Direction direction, const Problem<Scalar>& problem, const PathList& paths,
    const Settings& settings) {
  const Simulator launch(settings);
  if (!settings.unrolled) {
    equipot::launch_by_table<kTangents>(direction, problem, paths, launch);
  } else if (!equipot::launch_unrolled<kTangents>(
                 direction, problem, paths, launch, equipot::UnrolledProducts{})) {
    throw std::runtime_error("no unrolled kernel computes this product");
  }
}

// Nothing if all went well, or else what did not.
template <typename Scalar>
const char* run(
    bool receive, bool tangents, const Problem<Scalar>& problem, const PathList& paths,
    const Settings& settings) {
  static std::string message;
  cudasim::ignored_barrier = settings.ignored_barrier;
  const auto direction = receive ? Direction::kReceive : Direction::kSend;
  try {
    if (tangents) {
      simulate<true>(direction, problem, paths, settings);
    } else {
      simulate<false>(direction, problem, paths, settings);
    }
  } catch (const std::exception& error) {
    message = error.what();
    return message.c_str();
  }
  return nullptr;
}

}  // namespace

// Names of the barriers that threads have met so far, separated by spaces.
extern "C" const char* barriers() {
  static std::string names;
  names.clear();
  for (const std::string& name : cudasim::barriers) names += name + " ";
  return names.c_str();
}

extern "C" const char* simulate_float32(
    bool receive, bool tangents, const Problem<float>* problem, const PathList* paths,
    const Settings* settings) {
  return run(receive, tangents, *problem, *paths, *settings);
}

extern "C" const char* simulate_float64(
    bool receive, bool tangents, const Problem<double>* problem, const PathList* paths,
    const Settings* settings) {
  return run(receive, tangents, *problem, *paths, *settings);
}
