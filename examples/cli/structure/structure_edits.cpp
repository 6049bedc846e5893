#include "cli/structure/structure_edits.hpp"

#include <optional>
#include <string>

#include "cli/names.hpp"
#include "pare/io/json.hpp"

namespace cli {
namespace {

using Json = nlohmann::json;

Index index_field(const Json& object, const char* name) {
  if (!object.contains(name) || !object[name].is_number_integer() ||
      object[name].get<std::int64_t>() < 0)
    throw pare::FormatError("an edit has no number \"" + std::string(name) + "\"");
  return object[name].get<Index>();
}

/// What edits of a whole model are of.
std::optional<std::string_view> root_of(Structure structure) {
  if (structure == Structure::experts || structure == Structure::blocks)
    return name_of(structure_names, structure);
  return std::nullopt;
}

StructureEdits::Edit read_edit(const Json& json, Structure structure) {
  if (!json.is_object()) throw pare::FormatError("an edit is no object");
  StructureEdits::Edit read;
  if (structure != Structure::blocks) read.block = index_field(json, "block");
  if (!json.contains("root") || !json["root"].is_string())
    throw pare::FormatError("an edit has no text \"root\"");
  read.edit.root.tensor = json["root"].get<std::string>();
  read.edit.extent = index_field(json, "extent");
  if (!json.contains("indices") || !json["indices"].is_array())
    throw pare::FormatError("an edit has no list \"indices\"");
  if (const auto root = root_of(structure); root && read.edit.root.tensor != *root)
    throw pare::FormatError("an edit of " + std::string(*root) + " has the root \"" +
                            read.edit.root.tensor + "\"");
  for (const Json& index : json["indices"]) {
    if (!index.is_number_integer() || index.get<std::int64_t>() < 0 ||
        index.get<std::int64_t>() >= read.edit.extent)
      throw pare::FormatError("an edit of " + read.edit.root.tensor + " has the index " +
                              index.dump() + " of " + std::to_string(read.edit.extent));
    if (!read.edit.indices.empty() && index.get<Index>() <= read.edit.indices.back())
      throw pare::FormatError("the indices of " + read.edit.root.tensor +
                              " do not ascend: " + index.dump());
    read.edit.indices.push_back(index.get<Index>());
  }
  return read;
}

}  // namespace

std::vector<pare::StructureEdit> StructureEdits::of_block(Index block) const {
  std::vector<pare::StructureEdit> own;
  for (const Edit& edit : edits)
    if (edit.block == block) own.push_back(edit.edit);
  return own;
}

nlohmann::json edit_json(Index block, const pare::StructureEdit& edit) {
  return {{"block", block},
          {"root", edit.root.tensor},
          {"extent", edit.extent},
          {"indices", edit.indices}};
}

nlohmann::json edits_header(Structure structure) {
  return {{"version", 1}, {"structure", name_of(structure_names, structure)}};
}

nlohmann::json edits_json(const StructureEdits& edits) {
  Json list = Json::array();
  for (const StructureEdits::Edit& edit : edits.edits) {
    list.push_back(edit_json(edit.block, edit.edit));
    if (edits.structure == Structure::blocks) list.back().erase("block");
  }
  Json file = edits_header(edits.structure);
  file["edits"] = std::move(list);
  return file;
}

StructureEdits read_edits(const std::filesystem::path& path) {
  const Json file = pare::read_json(path);
  return pare::with_context(path.string(), [&] {
    if (!file.is_object() || !file.contains("version") || file["version"] != 1)
      throw pare::FormatError(
          "the field \"version\" is not 1: this is no file of edits that is known");
    if (!file.contains("structure") || !file["structure"].is_string())
      throw pare::FormatError("the field \"structure\" is missing");
    StructureEdits edits;
    edits.structure =
        parse_name<Structure>(structure_names, file["structure"].get<std::string>(), "structure");
    if (!file.contains("edits") || !file["edits"].is_array())
      throw pare::FormatError("the field \"edits\" is no list");
    for (const Json& edit : file["edits"]) {
      edits.edits.push_back(read_edit(edit, edits.structure));
      const auto& [block, own] = edits.edits.back();
      for (std::size_t i = 0; i + 1 < edits.edits.size(); ++i)
        if (edits.edits[i].block == block && edits.edits[i].edit.root == own.root)
          throw pare::FormatError("there are two edits of " + own.root.tensor + " in block " +
                                  std::to_string(block));
    }
    return edits;
  });
}

}  // namespace cli
