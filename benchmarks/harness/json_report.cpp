#include "harness/json_report.hpp"

#include <fstream>
#include <nlohmann/json.hpp>

#include "harness/machine.hpp"
#include "harness/peer_process.hpp"
#include "pare/core/error.hpp"

namespace bench {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const Result& r) {
  Json row = {{"name", r.row.name()},
              {"operation", r.row.operation},
              {"variant", r.row.variant},
              {"out", r.row.out},
              {"in", r.row.in},
              {"tokens", r.row.tokens},
              {"threads", r.row.threads},
              {"memory", r.row.memory == Memory::cold ? "cold" : "warm"},
              {"kernel", r.kernel},
              {"seconds", r.seconds},
              {"operations", r.row.operations},
              {"bytes", r.bytes},
              {"peak_name", to_string(r.row.peak)},
              {"peak", r.peak},
              {"bandwidth", r.bandwidth},
              {"share_of_peak", r.share_of_peak},
              {"share_of_bandwidth", r.share_of_bandwidth},
              {"doubtful", r.doubtful},
              {"error", r.error},
              {"rivals", Json::array()},
              {"goals", Json::array()}};
  for (const RivalResult& x : r.rivals)
    row["rivals"].push_back({{"name", x.name},
                             {"version", x.version},
                             {"ratio", x.ratio},
                             {"seconds", x.seconds},
                             {"recorded", x.recorded},
                             {"reason", x.reason}});
  for (const GoalResult& g : r.goals)
    row["goals"].push_back(
        {{"name", g.name}, {"goal", g.goal}, {"reached", g.reached}, {"met", g.met}});
  return row;
}

Json existing(const std::string& path) {
  std::ifstream file(path);
  if (!file) return Json::object();
  Json report = Json::parse(file, nullptr, false);
  if (!report.is_object()) throw pare::FormatError(path + ": not a benchmark report");
  return report;
}

}  // namespace

void write_json(const std::string& path, const std::vector<Result>& results) {
  Json report = existing(path);
  const Machine machine = this_machine();
  report["machine"] = {{"cpu", machine.cpu},
                       {"cores", machine.cores},
                       {"l3_bytes", machine.l3_bytes},
                       {"compiler", machine.compiler},
                       {"date", machine.date}};
  for (const auto& [name, version] : peer_versions()) report["peers"][name] = version;

  Json& rows = report["rows"];
  if (!rows.is_array()) rows = Json::array();
  for (const Result& result : results) {
    const Json row = to_json(result);
    const auto same = std::find_if(rows.begin(), rows.end(),
                                   [&](const Json& r) { return r["name"] == row["name"]; });
    if (same != rows.end())
      *same = row;
    else
      rows.push_back(row);
  }
  std::ofstream file(path);
  file << report.dump(1) << '\n';
  if (!file.flush()) throw pare::IoError(path + ": cannot write");
}

}  // namespace bench
