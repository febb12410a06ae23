// Edge matrices of products that are known at compile time.
#pragma once

#include "channels.cuh"
#include "device.cuh"
#include "problem.h"
#include "product.cuh"

namespace equipot {

// An element of T: index of its first coefficient, and the harmonics that its
// coefficients multiply (kNone if fewer than two).
struct alignas(4) ElementCode {
  static constexpr uint8_t kNone = 255;
  uint16_t coefficient;
  uint8_t columns[2];
};

// Layout of the elements and coefficients of a product in shared memory. Each path
// starts at a multiple of 16 bytes, so that four (float32) or two (float64) values are
// read at a time.
template <class Product>
struct Codes {
  static constexpr int kPadding = 4;

  EQUIPOT_CONSTEXPR static int padded(int count) {
    return (count + kPadding - 1) / kPadding * kPadding;
  }

  EQUIPOT_CONSTEXPR static int first_element(int path) {
    int count = 0;
    for (int p = 0; p < path; ++p) count += padded(Product::path(p).rows());
    return count;
  }

  EQUIPOT_CONSTEXPR static int first_coefficient(int path) {
    int count = 0;
    for (int p = 0; p < path; ++p) count += padded(num_coefficients(Product::path(p)));
    return count;
  }

  static constexpr int kElements = first_element(Product::num_paths());
  static constexpr int kCoefficients = first_coefficient(Product::num_paths());

  ElementCode elements[kElements];
  uint16_t element_of_row[Product::num_rows()];

  EQUIPOT_CONSTEXPR static Codes make() {
    Codes codes{};
    int element = 0, coefficient = 0, row = 0;
    for (int p = 0; p < Product::num_paths(); ++p) {
      const Path path = Product::path(p);
      for (int i = 0; i < num_orders(path.l_in); ++i) {
        for (int k = 0; k < num_orders(path.l_out); ++k) {
          const Harmonics found = coupled_harmonics(path, i, k);
          codes.element_of_row[row++] = static_cast<uint16_t>(element);
          codes.elements[element++] = {
              static_cast<uint16_t>(coefficient),
              {static_cast<uint8_t>(found.count > 0 ? found.columns[0] : ElementCode::kNone),
               static_cast<uint8_t>(found.count > 1 ? found.columns[1] : ElementCode::kNone)}};
          coefficient += found.count;
        }
      }
      for (; element % kPadding != 0; ++element) {
        codes.elements[element] = {0, {ElementCode::kNone, ElementCode::kNone}};
      }
      coefficient = padded(coefficient);
    }
    return codes;
  }
};

// Offsets into the shared memory of a block, in bytes: the table, followed by one part
// per warp, which has space for the sums over edges of either kernel.
template <class Product, typename Scalar, bool kTangents>
struct UnrolledLayout {
  static constexpr int kMatrices = kTangents ? 2 : 1;
  static constexpr int kSummed =
      Product::kInputs > Product::kOutputs ? Product::kInputs : Product::kOutputs;

  static constexpr int64_t kCoefficients =
      shared_bytes<ElementCode>(Codes<Product>::kElements);
  static constexpr int64_t kWarps =
      kCoefficients + shared_bytes<Scalar>(Codes<Product>::kCoefficients);

  static constexpr int64_t kOneMatrix = shared_bytes<Scalar>(Codes<Product>::kElements);
  static constexpr int64_t kOneHarmonics = shared_bytes<Scalar>(Product::kHarmonics);
  static constexpr int64_t kHarmonics = kMatrices * kOneMatrix;
  static constexpr int64_t kSums = kHarmonics + kMatrices * kOneHarmonics;
  static constexpr int64_t kWarp =
      kSums + shared_bytes<Scalar>(kSummed * kTileWidth<Scalar>);

  static constexpr int64_t bytes(int warps) { return kWarps + warps * kWarp; }
};

// The matrices of the current edge of a warp: T has index 0 and B = T(y_dot) index 1.
template <class Product, typename Scalar, bool kTangents>
class EdgeMatrices {
 public:
  using Layout = UnrolledLayout<Product, Scalar, kTangents>;
  // Distance in elements between the parts of consecutive warps.
  static constexpr int64_t kStride = Layout::kWarp / sizeof(Scalar);

  // Must be called by all threads of the block; ends with a barrier.
  __device__ explicit EdgeMatrices(const Problem<Scalar>& problem)
      : sources_{problem.y, problem.y_dot} {
    static constexpr auto kCodes = Codes<Product>::make();
    for (int n = threadIdx.x; n < Codes<Product>::kElements; n += blockDim.x) {
      codes()[n] = kCodes.elements[n];
    }
    // the table omits coefficients that vanish although the selection rules allow them
    for (int n = threadIdx.x; n < Codes<Product>::kCoefficients; n += blockDim.x) {
      coefficients()[n] = 0;
    }
    __syncthreads();
    for (int n = threadIdx.x; n < problem.nonzeros; n += blockDim.x) {
      const int row = problem.rows[n];
      if (row < 0 || row >= Product::num_rows()) {
        fail("a row of the table is outside of the edge matrices");
      } else {
        set(codes()[kCodes.element_of_row[row]], problem.columns[n], problem.values[n]);
      }
    }
    __syncthreads();
  }

  // Computes the matrices of an edge. Must be called by all lanes of the warp.
  __device__ void move_to(int64_t edge) {
    for (int m = 0; m < Layout::kMatrices; ++m) {
      const Scalar* source = sources_[m];
      for (int n = lane_index(); n < Product::kHarmonics; n += kLanes) {
        harmonics(m)[n] = source == nullptr ? 0 : source[edge * Product::kHarmonics + n];
      }
    }
    // wait until harmonics are written and the matrices of the previous edge are read
    __syncwarp();
    for (int n = lane_index(); n < Codes<Product>::kElements; n += kLanes) {
      const ElementCode code = codes()[n];
      for (int m = 0; m < Layout::kMatrices; ++m) {
        Scalar element = 0;
        for (int c = 0; c < 2; ++c) {
          if (code.columns[c] != ElementCode::kNone) {
            element += coefficients()[code.coefficient + c] *
                       harmonics(m)[code.columns[c]];
          }
        }
        matrix(m)[n] = element;
      }
    }
    __syncwarp();
  }

  __device__ Scalar* matrix(int m) const { return own(m * Layout::kOneMatrix); }
  __device__ Scalar* sums() const { return own(Layout::kSums); }
  __device__ Scalar* coefficients() const {
    return shared_at<Scalar>(Layout::kCoefficients);
  }

 private:
  __device__ ElementCode* codes() const { return shared_at<ElementCode>(0); }
  __device__ Scalar* harmonics(int m) const {
    return own(Layout::kHarmonics + m * Layout::kOneHarmonics);
  }
  __device__ Scalar* own(int64_t offset) const {
    return shared_at<Scalar>(Layout::kWarps + warp_index() * Layout::kWarp + offset);
  }

  __device__ void set(ElementCode code, int column, Scalar value) {
    if (column == code.columns[0]) {
      coefficients()[code.coefficient] = value;
    } else if (column == code.columns[1]) {
      coefficients()[code.coefficient + 1] = value;
    } else {
      fail("a coefficient of the table breaks the selection rule of its path");
    }
  }

  const Scalar* sources_[2];
};

// Sequential access to elements in shared memory, with loads of 16 bytes. Intended for
// unrolled loops, in which the positions of the loads are known at compile time.
template <typename Scalar>
class Stream {
 public:
  __device__ explicit Stream(const Scalar* from)
      : packs_(reinterpret_cast<const Pack*>(from)) {}

  // Returns element n; loads the next kPack elements if n is a multiple of kPack.
  // Elements must be read in ascending order, starting at a multiple of kPack.
  __device__ Scalar at(int n) {
    if (n % kPack == 0) pack_ = packs_[n / kPack];
    return pack_.elements[n % kPack];
  }

 private:
  static constexpr int kPack = 16 / sizeof(Scalar);
  struct alignas(16) Pack {
    Scalar elements[kPack];
  };
  const Pack* packs_;
  Pack pack_;
};

}  // namespace equipot
