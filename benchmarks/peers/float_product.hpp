#pragma once

#include <cstdlib>
#include <memory>
#include <new>

#include "worker.hpp"

namespace peer {

/// Floats in memory aligned for every vector width.
class AlignedFloats {
 public:
  explicit AlignedFloats(std::ptrdiff_t size) : size_(static_cast<std::size_t>(size)) {
    const std::size_t bytes = (size_ * sizeof(float) + alignment - 1) / alignment * alignment;
    data_.reset(static_cast<float*>(std::aligned_alloc(alignment, bytes)));
    if (!data_) throw std::bad_alloc();
  }

  float* data() const { return data_.get(); }
  std::span<float> span() const { return {data_.get(), size_}; }

 private:
  static constexpr std::size_t alignment = 4096;
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float[], Free> data_;
  std::size_t size_;
};

/// The buffers of a float32 product; a library adds `run`.
class FloatProduct : public Product {
 public:
  explicit FloatProduct(const Request& request)
      : request_(request), x_(request.tokens * request.in), y_(request.tokens * request.out) {
    if (request.op != "float32") throw Unsupported("op " + request.op);
    fill_normal(x_.span(), 1);
    fill_normal(y_.span(), 2);
    for (int i = 0; i < request.copies; ++i) {
      weights_.emplace_back(request.out * request.in);
      fill_normal(weights_.back().span(), 3, 0.02f);
    }
  }

  std::size_t bytes_per_copy() const override { return weights_.front().span().size_bytes(); }

 protected:
  const Request& request() const { return request_; }
  const float* x() const { return x_.data(); }
  float* y() const { return y_.data(); }
  const float* weights(int copy) const { return weights_[static_cast<std::size_t>(copy)].data(); }

 private:
  Request request_;
  AlignedFloats x_, y_;
  std::vector<AlignedFloats> weights_;
};

}  // namespace peer
