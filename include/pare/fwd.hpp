#pragma once

/// Forward declarations of the main types.

#include <cstddef>

#include "pare/formats/format.hpp"

namespace pare {

template <class T, std::size_t Rank>
class TensorView;
template <class T, std::size_t Rank>
class Tensor;
struct Float16;
struct BFloat16;
struct E8M0;
struct E4M3;
class Quotients;
class StandardFloats;
template <class Signature>
class FunctionRef;
class HugePageMemory;
class ParallelFor;
class OpenMpFor;
class ThreadPool;
class Random;
class Workspace;

template <int Bits>
requires(Bits >= 2 && Bits <= 8) struct Int;
template <int Bits>
requires(Bits >= 2 && Bits <= 8) struct UInt;
struct NF4;
struct FP4;
struct Ternary;
struct FormatDefaults;
template <Format F>
class QuantizedMatrix;
class AnyQuantizedMatrix;
class Mask;

struct Execution;
struct MatmulTuning;
struct MemoryTuning;
template <Format F>
class PackedMatrix;
class AnyPackedMatrix;
class PackedStorage;
class MatmulOutput;
struct OutputOptions;
struct QuantizedActivations;
struct QuantizedActivationsView;
struct ActivationOptions;

class Hessian;
class ActivationMoments;
class ActivationStatistics;
class Histogram;
template <class Method>
class HistogramObserver;
class MinMaxObserver;
class MovingAverageObserver;

struct DampingOptions;
struct QuantizeOptions;
struct RangeOptions;
struct GptqOptions;
struct ObqOptions;
struct AdaRoundOptions;
struct AutoRoundOptions;
struct LearnedRoundingReport;
class LearnedRounding;
class LayerOutputError;
class ObsFactor;
class ObsMask;
struct AwqOptions;
struct AwqScales;
struct FakeQuantizeOptions;

class ObsMask;

class AlpsProblem;
class AngularDistance;
class BlockInfluence;
class ExpertSaliency;
class FisherDiagonal;
class HeadImportance;
class MovementScores;
class DependencyGraph;
struct ChannelGroup;
struct ChannelSelection;
struct GroupScoreOptions;
struct StructureEdit;
class ObcPath;
struct PruneResult;
class WoodFisher;

struct LossOptions;
struct SampleOptions;
struct ResponseOptions;
template <class T>
class Regression;
template <class T>
class StandardizedLogits;

class AtomicFile;
class MappedFile;
class PackedEntry;
class PackedFile;
class PackedFileWriter;
class SafetensorsCollection;
class SafetensorsReader;
class SafetensorsWriter;
class ShardedSafetensorsWriter;
class Xxh64;

struct AwqConfig;
struct GptqConfig;

}  // namespace pare
