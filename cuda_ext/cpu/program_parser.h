// Reading and validation of the code of programs.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "../checks.h"
#include "program_step.h"

namespace equipot {

// Reads the code of a program.
class Reader {
 public:
  Reader(const Tensor& code, const std::vector<Tensor>& constants)
      : at_(data<int64_t>(code)), end_(at_ + code.size(0)), constants_(constants) {}

  bool done() const { return at_ == end_; }

  int64_t number(int64_t low, int64_t high, const char* name) {
    EQUIPOT_CHECK(at_ != end_, "the code of a program ends before ", name);
    EQUIPOT_CHECK(low <= *at_ && *at_ <= high, name, " must be in ", low, " to ", high,
                  ", got ", *at_);
    return *at_++;
  }

  const Tensor& constant(const char* name) {
    return constants_[number(0, static_cast<int64_t>(constants_.size()) - 1, name)];
  }

 private:
  const int64_t *at_, *end_;
  const std::vector<Tensor>& constants_;
};

constexpr int64_t kLargest = int64_t{1} << 40;

// Part of a buffer: rows of `size` scalars.
struct Place {
  int64_t buffer, offset, size;
};

template <class S>
class Parser : public Reader {
 public:
  Parser(const Tensor& code, const std::vector<Tensor>& constants)
      : Reader(code, constants) {}

  std::vector<Buffer> buffers;
  int64_t harmonics = 1, elements = 1;

  int64_t buffer(const char* name) {
    return number(0, static_cast<int64_t>(buffers.size()) - 1, name);
  }

  int64_t aligned(int64_t low, int64_t high, const char* name) {
    const int64_t value = number(low, high, name);
    EQUIPOT_CHECK(value % (kRowBytes / static_cast<int64_t>(sizeof(S))) == 0, name,
                  " must be a multiple of ", kRowBytes / sizeof(S), ", got ", value);
    return value;
  }

  Place place(const char* name) {
    Place p{};
    p.buffer = buffer(name);
    p.offset = aligned(0, buffers[p.buffer].width, name);
    p.size = aligned(0, buffers[p.buffer].width - p.offset, name);
    return p;
  }

  // A constant of this program's precision.
  template <class T = S>
  const T* scalars(std::initializer_list<int64_t> shape, const char* name) {
    const Tensor& tensor = constant(name);
    const ScalarType type = sizeof(T) == 4 ? ScalarType::Float : ScalarType::Double;
    check_tensor(tensor, name, type, kCpu);
    check_shape(tensor, name, shape, "stated by the code of the program");
    return data<T>(tensor);
  }
};

}  // namespace equipot
