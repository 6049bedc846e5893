#pragma once

/// Forward declarations of the main types.

#include <cstddef>

#include "pare/formats/format.hpp"

namespace pare {

template <class T, std::size_t Rank>
class TensorView;
template <class T, std::size_t Rank>
class Tensor;
struct Execution;
class ParallelFor;
class Workspace;

template <int Bits>
requires(Bits >= 2 && Bits <= 8) struct Int;
template <int Bits>
requires(Bits >= 2 && Bits <= 8) struct UInt;
struct NF4;
struct FP4;
struct Ternary;
template <Format F>
class QuantizedMatrix;
class AnyQuantizedMatrix;

template <Format F>
class PackedMatrix;
class AnyPackedMatrix;
struct QuantizedActivations;

class Hessian;
class ActivationStatistics;

class PackedFile;
class SafetensorsReader;
class SafetensorsWriter;

}  // namespace pare
