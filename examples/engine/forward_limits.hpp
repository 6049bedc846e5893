#pragma once

#include <string>

namespace engine {

/// Collects the first reason why a forward pass would be wrong.
class ForwardLimits {
 public:
  explicit ForwardLimits(std::string& reason) : reason_(reason) {}

  void add(const std::string& key, const std::string& what) {
    if (reason_.empty())
      reason_ =
          "the field \"" + key + "\" asks for " + what + ", which this engine does not compute";
  }

 private:
  std::string& reason_;
};

}  // namespace engine
