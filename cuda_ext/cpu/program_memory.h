// Memory and parallel loops of programs.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#include "memory.h"
#include "schedule.h"

namespace equipot {

// Nodes per piece of work of steps without edges, and edges per piece of those with edges.
constexpr int64_t kNodesPerPiece = 32;
constexpr int64_t kEdgesPerPiece = 32;
// Most bytes that an instruction keeps for many directions.
constexpr int64_t kMostKept = int64_t{1} << 28;

// Memory that grows on demand and is kept; its contents are lost when it grows.
template <class T>
class Memory {
 public:
  T* at_least(int64_t size) {
    if (size > size_) {
      size_ = size + size / 4;
      data_.reset();
      const std::size_t bytes = (size_ * sizeof(T) + 63) / 64 * 64;
      void* memory = std::aligned_alloc(64, bytes);
      if (memory == nullptr) {
        size_ = 0;
        throw std::bad_alloc();
      }
      use_huge_pages(memory, static_cast<int64_t>(bytes));
      data_.reset(static_cast<T*>(memory));
    }
    return data_.get();
  }
  T* get() const { return data_.get(); }
  void release() {
    data_.reset();
    size_ = 0;
  }
  int64_t bytes() const { return size_ * static_cast<int64_t>(sizeof(T)); }

 private:
  std::unique_ptr<T[], Free> data_;
  int64_t size_ = 0;
};

// Calls work(piece, thread) for all pieces, scheduled dynamically.
template <class Work>
void share(int64_t pieces, const Work& work) {
  const int64_t threads =
      std::clamp<int64_t>(pieces, 1, torch::stable::get_num_threads());
  if (threads == 1) {
    for (int64_t piece = 0; piece < pieces; ++piece) work(piece, int64_t{0});
    return;
  }
  std::atomic<int64_t> next{0};
  torch::stable::parallel_for(0, threads, 1, [&](int64_t thread, int64_t) {
    for (int64_t piece; (piece = next++) < pieces;) work(piece, thread);
  });
}

// Calls work(first, last) for ranges of nodes or edges.
template <class Work>
void share_ranges(int64_t count, int64_t size, const Work& work) {
  share((count + size - 1) / size, [&](int64_t piece, int64_t) {
    work(piece * size, std::min(count, (piece + 1) * size));
  });
}

}  // namespace equipot
