#include "cli/model_copy.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <system_error>

#include "pare/io/safetensors_writer.hpp"

namespace cli {

namespace fs = std::filesystem;

namespace {

/// False when an element's exponent bits, `mask`, are all set.
template <class Word>
bool is_finite(std::span<const std::byte> bytes, Word mask) {
  for (std::size_t i = 0; i + sizeof(Word) <= bytes.size(); i += sizeof(Word)) {
    Word word;
    std::memcpy(&word, bytes.data() + i, sizeof(Word));
    if ((word & mask) == mask) return false;
  }
  return true;
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

}  // namespace

void copy_tensors(const engine::Checkpoint& checkpoint, const std::vector<std::string>& names,
                  const fs::path& to) {
  auto& source = checkpoint.tensors();
  std::vector<pare::TensorSpec> specs;
  for (const std::string& name : names)
    specs.push_back({name, source.info(name).dtype, source.info(name).shape});
  pare::SafetensorsWriter writer(to, specs);
  constexpr std::size_t piece = std::size_t{16} << 20;
  for (const auto& spec : specs) {
    const auto bytes = source.info(spec.name).bytes;
    for (std::size_t begin = 0; begin < bytes.size(); begin += piece) {
      const auto part = bytes.subspan(begin, std::min(piece, bytes.size() - begin));
      if (!is_finite(spec.dtype, part))
        throw pare::NumericError(checkpoint.directory().string() + ": " + spec.name +
                                 ": the tensor holds NaN or infinity");
      writer.write(spec.name, part);
      checkpoint.release_pages();
    }
  }
  writer.finish();
}

void copy_tokenizer(const engine::Checkpoint& checkpoint, const OutputDirectory& to) {
  for (const std::string_view name : text_file_names) {
    const fs::path source = checkpoint.directory() / name;
    std::error_code error;
    if (!fs::exists(source, error)) continue;
    // Not with the modes of the source: what is read-only there must be replaceable here.
    pare::write_file(to.file_path(std::string(name)), pare::MappedFile(source).bytes());
  }
}

}  // namespace cli
