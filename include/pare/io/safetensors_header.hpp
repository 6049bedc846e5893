#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_set>
#include <utility>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/io/stored_tensor.hpp"

namespace pare {

/// What the head of a safetensors file says. Layout of a file, all little-endian:
///
///     u64 N | N bytes of JSON, padded with spaces | data
///     {"__metadata__": {string: string}, name: {"dtype", "shape", "data_offsets": [begin, end)}}
///
/// Source    huggingface/safetensors, README.md. Departs: a duplicate name or an unknown field of a
///           tensor is an error, which other readers let pass.
struct SafetensorsHeader {
  struct Entry : TensorSpec {
    std::uint64_t begin = 0;  ///< from data_offset
    std::uint64_t end = 0;
  };

  std::size_t data_offset = 0;
  std::vector<Entry> tensors;  ///< in the order of their data
  std::map<std::string, std::string> metadata;

  /// As other readers limit it.
  static constexpr std::uint64_t largest_json_bytes = 100'000'000;

  /// Reads and validates the head of a file that is given whole. The tensors then tile the data.
  /// Throws FormatError naming the offset or the tensor.
  [[nodiscard]] static SafetensorsHeader parse(std::span<const std::byte> file);
};

namespace detail {

/// Accepts exactly the header's schema while the JSON is read: no tree is built, integers stay
/// 64-bit, duplicates and nesting cannot slip through.
class SafetensorsHeaderReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit SafetensorsHeaderReader(SafetensorsHeader& header) : header_(header) {}

  bool start_object(std::size_t) override {
    if (place_ == Place::outside)
      place_ = Place::header;
    else if (place_ == Place::header)
      place_ = name_ == "__metadata__" ? Place::metadata : Place::tensor;
    else
      fail("an object is out of place");
    return true;
  }

  bool key(string_t& key) override {
    if (place_ == Place::header) {
      name_ = key;
      if (!names_.insert(key).second) throw FormatError("duplicate name " + in_quotes(key));
      entry_ = {};
      entry_.name = key;
      seen_ = 0;
    } else if (place_ == Place::metadata) {
      field_ = key;
      if (header_.metadata.contains(key)) fail("duplicate key " + in_quotes(key));
    } else {
      field_ = key;
      const unsigned bit = key == "dtype"          ? 1u
                           : key == "shape"        ? 2u
                           : key == "data_offsets" ? 4u
                                                   : 0u;
      if (bit == 0) fail("unknown field " + in_quotes(key));
      if (seen_ & bit) fail("duplicate field " + in_quotes(key));
      seen_ |= bit;
    }
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::metadata) {
      header_.metadata.emplace(field_, value);
    } else if (place_ == Place::tensor && field_ == "dtype") {
      const auto dtype = dtype_named(value);
      if (!dtype) fail("unknown dtype " + in_quotes(value));
      entry_.dtype = *dtype;
    } else {
      fail("a string is out of place");
    }
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::shape) {
      if (value > static_cast<std::uint64_t>(std::numeric_limits<Index>::max()))
        fail("extent " + std::to_string(value) + " is too large");
      entry_.shape.push_back(static_cast<Index>(value));
    } else if (place_ == Place::offsets && offsets_ < 2) {
      (offsets_++ == 0 ? entry_.begin : entry_.end) = value;
    } else {
      fail("the number " + std::to_string(value) + " is out of place");
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ != Place::tensor || field_ == "dtype") fail("an array is out of place");
    place_ = field_ == "shape" ? Place::shape : Place::offsets;
    offsets_ = 0;
    return true;
  }

  bool end_array() override {
    if (place_ == Place::offsets && offsets_ != 2) fail("data_offsets needs two numbers");
    place_ = Place::tensor;
    return true;
  }

  bool end_object() override {
    if (place_ == Place::tensor) {
      for (const auto& [bit, field] :
           {std::pair{1u, "dtype"}, std::pair{2u, "shape"}, std::pair{4u, "data_offsets"}})
        if (!(seen_ & bit)) fail(std::string("the field ") + field + " is missing");
      header_.tensors.push_back(std::move(entry_));
    }
    place_ = place_ == Place::header ? Place::outside : Place::header;
    return true;
  }

  bool null() override {
    if (place_ != Place::header || name_ != "__metadata__") fail("null is out of place");
    return true;
  }
  bool boolean(bool) override { fail("a boolean is out of place"); }
  bool number_integer(number_integer_t) override { fail("a number is negative"); }
  bool number_float(number_float_t, const string_t&) override {
    fail("a number is not an integer of 64 bits");
  }
  bool binary(binary_t&) override { fail("a binary value is out of place"); }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::json::exception& e) override {
    const bool text = std::string_view(e.what()).find("UTF-8") == std::string_view::npos;
    throw FormatError(std::string("the header is not valid ") + (text ? "JSON" : "UTF-8") +
                      " at offset " + std::to_string(position == 0 ? 8 : 7 + position));
  }

 private:
  enum class Place { outside, header, metadata, tensor, shape, offsets };

  [[noreturn]] void fail(const std::string& reason) const {
    if (place_ == Place::outside) throw FormatError("the header is not a JSON object");
    throw FormatError("header entry " + in_quotes(name_) + ": " + reason);
  }

  SafetensorsHeader& header_;
  std::unordered_set<std::string> names_;
  Place place_ = Place::outside;
  std::string name_, field_;
  SafetensorsHeader::Entry entry_;
  unsigned seen_ = 0;
  int offsets_ = 0;
};

/// Sorts the tensors by position and checks that they fill `data_bytes` without gap or overlap.
inline void check_tiling(std::vector<SafetensorsHeader::Entry>& tensors, std::uint64_t data_bytes) {
  std::stable_sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  std::uint64_t position = 0;
  for (const auto& tensor : tensors) {
    const auto fail = [&](const std::string& reason) {
      throw FormatError("tensor " + in_quotes(tensor.name) + " at data offset " +
                        std::to_string(tensor.begin) + " " + reason);
    };
    if (tensor.end < tensor.begin) fail("ends before it begins");
    if (tensor.begin < position) fail("overlaps the one before");
    if (tensor.begin > position)
      fail("leaves a hole of " + std::to_string(tensor.begin - position) + " bytes before it");
    if (tensor.end > data_bytes)
      fail("ends at " + std::to_string(tensor.end) + ", but the file holds " +
           std::to_string(data_bytes) + " bytes of data: it is truncated or damaged");
    const auto bytes = stored_bytes(tensor.dtype, tensor.shape);
    const std::string what =
        std::string(to_string(tensor.dtype)) + " of shape " + to_string(tensor.shape);
    if (!bytes) fail("is " + what + ", whose size is too large or not whole bytes");
    if (*bytes != tensor.end - tensor.begin)
      fail("is " + what + ", which takes " + std::to_string(*bytes) + " bytes, but has " +
           std::to_string(tensor.end - tensor.begin));
    position = tensor.end;
  }
  if (position != data_bytes)
    throw FormatError("the tensors end at data offset " + std::to_string(position) +
                      ", but the file holds " + std::to_string(data_bytes) + " bytes of data");
}

}  // namespace detail

inline SafetensorsHeader SafetensorsHeader::parse(std::span<const std::byte> file) {
  if (file.size() < 8)
    throw FormatError("the file has " + std::to_string(file.size()) +
                      " bytes, too few for the header's length");
  std::uint64_t length = 0;
  for (std::size_t i = 8; i-- > 0;) length = length << 8 | std::to_integer<std::uint64_t>(file[i]);
  const std::string what = "the header's length " + std::to_string(length) + " at offset 0 ";
  if (length == 0) throw FormatError(what + "is no JSON");
  if (length > largest_json_bytes)
    throw FormatError(what + "exceeds " + std::to_string(largest_json_bytes));
  if (length > file.size() - 8)
    throw FormatError(what + "reaches beyond the file of " + std::to_string(file.size()) +
                      " bytes");
  const char* json = reinterpret_cast<const char*>(file.data()) + 8;
  const char* end = json + length;
  if (*json != '{') throw FormatError("the header does not begin with '{' at offset 8");
  // The JSON reader takes NUL for the end of its input.
  if (const char* nul = std::find(json, end, '\0'); nul != end)
    throw FormatError("the header is not valid JSON at offset " + std::to_string(8 + nul - json));

  SafetensorsHeader header;
  header.data_offset = 8 + static_cast<std::size_t>(length);
  detail::SafetensorsHeaderReader reader(header);
  (void)nlohmann::json::sax_parse(json, end, &reader);
  detail::check_tiling(header.tensors, file.size() - header.data_offset);
  return header;
}

}  // namespace pare
