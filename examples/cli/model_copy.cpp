#include "cli/model_copy.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <system_error>

#include "pare/io/safetensors_writer.hpp"

namespace cli {

namespace fs = std::filesystem;

namespace {

/// BF16 numbers as F16. Throws NumericError for one that becomes infinite.
std::vector<std::byte> to_f16(std::span<const std::byte> bytes) {
  std::vector<std::byte> result(bytes.size());
  for (std::size_t i = 0; i + 2 <= bytes.size(); i += 2) {
    pare::BFloat16 value;
    std::memcpy(&value, bytes.data() + i, sizeof value);
    const pare::Float16 stored(static_cast<float>(value));
    const bool is_infinite = (stored.bits & 0x7fffu) == 0x7c00u;
    if (is_infinite && (value.bits & 0x7fffu) != 0x7f80u)
      throw pare::NumericError(
          "the tensor holds a number beyond F16, which awq files need; use --save-as pare");
    std::memcpy(result.data() + i, &stored, sizeof stored);
  }
  return result;
}

}  // namespace

void copy_tensors(const engine::ModelFiles& model, const std::vector<CopiedTensor>& tensors,
                  const fs::path& to, CopiedType type) {
  auto& source = model.tensors;
  const auto is_converted = [&](const pare::TensorInfo& info) {
    return type == CopiedType::f16_for_bf16 && info.dtype == pare::DType::BF16;
  };
  std::vector<pare::TensorSpec> specs;
  for (const CopiedTensor& tensor : tensors) {
    const pare::TensorInfo& info = source.info(tensor.source);
    specs.push_back({tensor.name, is_converted(info) ? pare::DType::F16 : info.dtype, info.shape});
    if (!tensor.rows) continue;
    for (const pare::Index row : *tensor.rows)
      if (info.shape.empty() || row >= info.shape.front())
        throw pare::ShapeError(tensor.source + " has no row " + std::to_string(row));
    specs.back().shape.front() = std::ssize(*tensor.rows);
  }
  pare::SafetensorsWriter writer(to, specs);
  constexpr std::size_t piece = std::size_t{16} << 20;
  for (const CopiedTensor& tensor : tensors) {
    const pare::TensorInfo& info = source.info(tensor.source);
    const auto write = [&](std::span<const std::byte> bytes) {
      for (std::size_t begin = 0; begin < bytes.size(); begin += piece) {
        const auto part = bytes.subspan(begin, std::min(piece, bytes.size() - begin));
        if (is_converted(info))
          writer.write(tensor.name,
                       pare::with_context(model.directory.string() + ": " + tensor.source,
                                          [&] { return to_f16(part); }));
        else
          writer.write(tensor.name, part);
        model.release_pages();
      }
    };
    if (!tensor.rows) {
      write(info.bytes);
      continue;
    }
    const std::size_t row_bytes = info.bytes.size() / static_cast<std::size_t>(info.shape.front());
    for (const pare::Index row : *tensor.rows)
      write(info.bytes.subspan(static_cast<std::size_t>(row) * row_bytes, row_bytes));
  }
  writer.finish();
}

void copy_tensors(const engine::ModelFiles& model, const std::vector<std::string>& names,
                  const fs::path& to, CopiedType type) {
  std::vector<CopiedTensor> tensors;
  for (const std::string& name : names) tensors.push_back({name, name});
  copy_tensors(model, tensors, to, type);
}

std::uint64_t estimated_bytes(
    const engine::ModelFiles& model,
    const std::function<std::optional<double>(const std::string& tensor)>& bits) {
  double total = 0.0;
  for (const std::string& name : model.tensors.names()) {
    const pare::TensorInfo& info = model.tensors.info(name);
    const double stored = static_cast<double>(info.bytes.size());
    const std::optional<double> now = bits(name);
    total += now ? stored * *now / static_cast<double>(pare::bits(info.dtype)) : stored;
  }
  return static_cast<std::uint64_t>(total);
}

void require_text_files(const engine::ModelFiles& model) {
  for (const std::string_view name : text_file_names) {
    const fs::path source = text_file_source(model.directory, name);
    std::error_code error;
    if (fs::is_symlink(source, error) && !fs::exists(source, error))
      throw pare::IoError(source.string() + ": the link leads nowhere");
  }
}

void copy_tokenizer(const engine::ModelFiles& model, const OutputDirectory& to) {
  for (const std::string_view name : text_file_names) {
    const fs::path source = text_file_source(model.directory, name);
    std::error_code error;
    if (!fs::exists(source, error)) continue;
    // Not with the modes of the source: what is read-only there must be replaceable here.
    pare::write_file(to.file_path(std::string(name)), pare::MappedFile(source).bytes());
  }
}

}  // namespace cli
