#pragma once

#include <vector>

/// What a unit computed with the library: a deterministic input through gptq, pack and matmul.
struct Outcome {
  std::vector<float> dequantized;
  std::vector<float> product;
  std::vector<float> integer_product;
};

Outcome first_unit();
Outcome second_unit();
