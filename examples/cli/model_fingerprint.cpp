#include "cli/model_fingerprint.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "cli/content_hash.hpp"
#include "cli/input_paths.hpp"
#include "cli/progress.hpp"
#include "engine/block_tensors.hpp"
#include "pare/io/mapped_file.hpp"

namespace cli {

namespace fs = std::filesystem;

namespace {

/// What says how a model computes and how its layers are stored.
constexpr std::array<std::string_view, 3> settings_names{"config.json", "quantize_config.json",
                                                         "quant_config.json"};

/// False when an element's exponent bits, `mask`, are all set.
template <class Word>
bool is_finite(std::span<const std::byte> bytes, Word mask) {
  bool finite = true;
  for (std::size_t i = 0; i + sizeof(Word) <= bytes.size(); i += sizeof(Word)) {
    Word word;
    std::memcpy(&word, bytes.data() + i, sizeof(Word));
    finite = finite && (word & mask) != mask;
  }
  return finite;
}

/// False for stored floating-point numbers with NaN or infinity among them.
bool is_finite(pare::DType dtype, std::span<const std::byte> bytes) {
  switch (dtype) {
    case pare::DType::F16:
      return is_finite<std::uint16_t>(bytes, 0x7c00u);
    case pare::DType::BF16:
      return is_finite<std::uint16_t>(bytes, 0x7f80u);
    case pare::DType::F32:
      return is_finite<std::uint32_t>(bytes, 0x7f800000u);
    case pare::DType::F64:
      return is_finite<std::uint64_t>(bytes, 0x7ff0000000000000u);
    default:
      return true;
  }
}

/// "NaN at [1, 4]": the first value that is not finite, at or after a byte of the tensor.
std::string first_fault(const pare::TensorInfo& tensor, std::size_t begin) {
  const std::size_t size = static_cast<std::size_t>(pare::bits(tensor.dtype)) / 8;
  while (is_finite(tensor.dtype, tensor.bytes.subspan(begin, size))) begin += size;
  float value = 0.0f;
  pare::detail::convert_to_float({tensor.dtype, {}, tensor.bytes.subspan(begin, size)}, &value);
  auto place = static_cast<pare::Index>(begin / size);
  std::vector<pare::Index> at(tensor.shape.size());
  for (std::size_t d = at.size(); d-- > 0; place /= tensor.shape[d])
    at[d] = place % tensor.shape[d];
  return (std::isnan(value) ? "NaN at " : "infinity at ") + pare::to_string(at);
}

std::span<const char> chars(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A line on standard error now and then: reading a large model takes minutes.
class ReadingProgress {
 public:
  ReadingProgress(std::string model, double total_bytes)
      : model_(std::move(model)), total_bytes_(total_bytes) {}
  void add(std::size_t bytes) {
    done_bytes_ += static_cast<double>(bytes);
    if (watch_.seconds() < next_) return;
    next_ += interval;
    std::fprintf(stderr, "reading %s: %.1f of %.1f GB\n", model_.c_str(), done_bytes_ / 1e9,
                 total_bytes_ / 1e9);
  }

 private:
  static constexpr double interval = 10.0;  // seconds
  std::string model_;
  double total_bytes_, done_bytes_ = 0.0, next_ = interval;
  Stopwatch watch_;
};

std::string weights_fingerprint(const engine::ModelFiles& model,
                                const MustBeFinite& must_be_finite) {
  auto& tensors = model.tensors;
  // In the order in which they lie in their files, which is how disks like to be read.
  std::vector<std::pair<const std::byte*, std::string>> places;
  double total_bytes = 0.0;
  for (const std::string& name : tensors.names()) {
    const auto bytes = tensors.info(name).bytes;
    places.emplace_back(bytes.data(), name);
    total_bytes += static_cast<double>(bytes.size());
  }
  std::sort(places.begin(), places.end());

  constexpr std::size_t piece = std::size_t{16} << 20;
  ReadingProgress progress(model.directory.string(), total_bytes);
  std::map<std::string, std::string> hashes;  // sorted: files may be cut otherwise
  for (const auto& [place, name] : places) {
    const pare::TensorInfo& info = tensors.info(name);
    const bool check = must_be_finite(name);
    ContentHash hash;
    hash.add(std::string(to_string(info.dtype)) + pare::to_string(info.shape));
    for (std::size_t begin = 0; begin < info.bytes.size(); begin += piece) {
      const auto part = info.bytes.subspan(begin, std::min(piece, info.bytes.size() - begin));
      if (check && !is_finite(info.dtype, part))
        throw pare::NumericError(model.directory.string() + ": " + name + " holds " +
                                 first_fault(info, begin));
      hash.add(chars(part));
      progress.add(part.size());
      model.release_pages();
    }
    hashes.emplace(name, hash.hex());
  }
  ContentHash all;
  for (const auto& [name, hash] : hashes) {
    all.add(name);
    all.add(hash);
  }
  return all.hex();
}

}  // namespace

nlohmann::json model_fingerprint(const engine::ModelFiles& model,
                                 const MustBeFinite& must_be_finite) {
  nlohmann::json fingerprint{{"weights", weights_fingerprint(model, must_be_finite)}};
  const auto add = [&](std::string_view name) {
    const fs::path path = text_file_source(model.directory, name);
    std::error_code error;
    if (!fs::exists(path, error)) return;
    ContentHash hash;
    hash.add(chars(pare::MappedFile(path).bytes()));
    fingerprint[std::string(name)] = hash.hex();
  };
  std::for_each(settings_names.begin(), settings_names.end(), add);
  std::for_each(text_file_names.begin(), text_file_names.end(), add);
  return fingerprint;
}

bool is_outer_tensor(const engine::ModelConfig& config, const std::string& name) {
  // Of encoders all is read that is no buffer of integers.
  if (config.encoder) return !engine::is_block_tensor(config, name);
  const engine::TensorNames& names = config.names;
  if (!names.positions.empty() && name == names.root + names.positions) return true;
  const std::size_t dot = std::min(name.rfind('.'), name.size());
  const std::string tensor = name.substr(0, dot), part = name.substr(dot);
  if (part != ".weight" && part != ".bias") return false;
  return tensor == names.output || tensor == names.root + names.embedding ||
         tensor == names.root + names.final_norm;
}

}  // namespace cli
