#include "cli/sensitivity_plot.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <regex>
#include <utility>
#include <vector>

#include "cli/formatted.hpp"

namespace cli {
namespace {

/// Sizes in the picture: of panels, and of what is around them.
struct Page {
  static constexpr double panel_width = 380, panel_height = 250, gap = 26, left = 74, top = 100,
                          bottom = 78;
};
constexpr std::array line_colors{"#2f6fde", "#d9480f", "#0a7d4b", "#7c3aed", "#d4a106",
                                 "#06a5c4", "#be185d", "#7fa81a", "#64748b", "#111827"};
constexpr const char* ink_color = "#1f2937";
constexpr const char* faint_color = "#6b7280";
constexpr const char* grid_color = "#e5e7eb";

std::string coordinate(double value) { return formatted("%.1f", value); }

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) result += c == '&' ? "&amp;" : c == '<' ? "&lt;" : std::string(1, c);
  return result;
}

std::string label(double x, double y, const std::string& content, int size, const char* color,
                  const char* anchor = "start", const std::string& extra = {}) {
  return "<text x=\"" + coordinate(x) + "\" y=\"" + coordinate(y) + "\" font-size=\"" +
         std::to_string(size) + "\" fill=\"" + color + "\" text-anchor=\"" + anchor + "\"" + extra +
         ">" + escaped(content) + "</text>\n";
}

std::string polyline(const std::vector<std::pair<double, double>>& points, const char* color,
                     double width, const std::string& dashes = {}) {
  std::string path;
  for (const auto& [x, y] : points)
    path += (path.empty() ? "" : " ") + coordinate(x) + "," + coordinate(y);
  return "<polyline points=\"" + path + "\" fill=\"none\" stroke=\"" + color +
         "\" stroke-width=\"" + coordinate(width) + "\"" +
         (dashes.empty() ? "" : " stroke-dasharray=\"" + dashes + "\"") + "/>\n";
}

/// A kind of layer, and its KL in the blocks that have it, for each share.
struct Line {
  std::string kind;
  std::map<Index, std::vector<double>> kl;
};

std::vector<Line> lines_of(const Sensitivity& result) {
  static const std::regex expert("\\.[0-9]+\\.");
  std::vector<Line> lines;
  std::map<std::pair<std::string, Index>, double> layers;  // of a kind in a block
  for (const LayerSensitivity& layer : result.layers) {
    const std::string kind = std::regex_replace(layer.kind, expert, ".*.");
    auto line = std::find_if(lines.begin(), lines.end(),
                             [&](const Line& known) { return known.kind == kind; });
    if (line == lines.end()) line = lines.insert(lines.end(), {kind, {}});
    auto& kl = line->kl.try_emplace(layer.block, result.shares.size(), 0.0).first->second;
    double& count = layers[{kind, layer.block}];
    for (std::size_t i = 0; i < kl.size(); ++i)
      kl[i] += (layer.damage[i].kl - kl[i]) / (count + 1.0);
    count += 1.0;
  }
  return lines;
}

/// Values of 1, 2 and 5 in each decade, or of 1 alone where those are many.
std::vector<double> ticks(double low, double high) {
  std::vector<double> all, decades;
  for (int e = -12; e <= 3; ++e)
    for (const int digit : {1, 2, 5}) {
      const double value = digit * std::pow(10.0, e);
      if (value < low || value > high) continue;
      all.push_back(value);
      if (digit == 1) decades.push_back(value);
    }
  return all.size() <= 7 ? all : decades;
}

std::string tick_text(double value) {
  return value < 1e-4 ? formatted("%.0e", value) : formatted("%g", value);
}

/// The scales that all panels share.
struct Axes {
  double first = 0, last = 0;  // blocks
  double low = 0, high = 0;    // KL, logarithmic

  explicit Axes(const std::vector<Line>& lines) {
    first = std::numeric_limits<double>::infinity();
    last = -first;
    low = first;
    for (const Line& line : lines)
      for (const auto& [block, values] : line.kl) {
        first = std::min(first, static_cast<double>(block));
        last = std::max(last, static_cast<double>(block));
        for (const double kl : values) {
          if (kl > 0.0) low = std::min(low, kl);
          high = std::max(high, kl);
        }
      }
    if (!(high > 0.0)) low = 1e-6, high = 1e-5;
    low = std::max(low, high * 1e-6) / 1.6;
    high *= 1.6;
    const double margin = first == last ? 0.5 : (last - first) * 0.04;
    first -= margin;
    last += margin;
  }
  /// Within a panel. What is no more than nothing stands at the bottom.
  [[nodiscard]] double x(double block) const {
    return (block - first) / (last - first) * Page::panel_width;
  }
  [[nodiscard]] double y(double kl) const {
    return Page::panel_height * (1.0 - std::log(std::max(kl, low) / low) / std::log(high / low));
  }
};

std::string panel(const std::vector<Line>& lines, const Axes& axes, std::size_t share,
                  const std::string& title, bool has_numbers) {
  std::string svg = label(Page::panel_width / 2, -8, title, 14, ink_color, "middle");
  for (const double tick : ticks(axes.low, axes.high)) {
    const double y = axes.y(tick);
    svg += polyline({{0, y}, {Page::panel_width, y}}, grid_color, 1);
    if (has_numbers) svg += label(-8, y + 4, tick_text(tick), 12, faint_color, "end");
  }
  const auto first = static_cast<Index>(std::ceil(axes.first)),
             last = static_cast<Index>(std::floor(axes.last));
  const Index step = std::max<Index>(1, (last - first + 8) / 8);
  for (Index block = first; block <= last; block += step) {
    const double x = axes.x(static_cast<double>(block));
    svg += polyline({{x, 0}, {x, Page::panel_height}}, grid_color, 1);
    svg += label(x, Page::panel_height + 18, std::to_string(block), 12, faint_color, "middle");
  }
  svg += polyline({{0, 0}, {0, Page::panel_height}, {Page::panel_width, Page::panel_height}},
                  faint_color, 1);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const char* const color = line_colors[i % line_colors.size()];
    std::vector<std::pair<double, double>> points;
    for (const auto& [block, kl] : lines[i].kl)
      points.emplace_back(axes.x(static_cast<double>(block)), axes.y(kl[share]));
    svg += polyline(points, color, 2, i < line_colors.size() ? "" : "5 4");
    for (const auto& [x, y] : points)
      svg += "<circle cx=\"" + coordinate(x) + "\" cy=\"" + coordinate(y) + "\" r=\"3\" fill=\"" +
             color + "\"/>\n";
  }
  return svg;
}

}  // namespace

std::string sensitivity_plot(const Sensitivity& result, const std::string& subtitle) {
  const std::vector<Line> lines = lines_of(result);
  const Axes axes(lines);
  const std::size_t panels = result.shares.size(), across = std::min<std::size_t>(2, panels),
                    down = (panels + across - 1) / across;
  const auto place = [](std::size_t n, double size) { return static_cast<double>(n) * size; };
  const double legend = Page::left + place(across, Page::panel_width + Page::gap);
  std::size_t longest = 0;
  for (const Line& line : lines) longest = std::max(longest, line.kind.size());
  const double width = legend + 50 + 7.2 * static_cast<double>(longest),
               height = std::max(Page::top + place(down, Page::panel_height + Page::bottom),
                                 Page::top + 20 * static_cast<double>(lines.size()) + 20);
  std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + coordinate(width) +
                    " " + coordinate(height) + "\" width=\"" + coordinate(width) + "\" height=\"" +
                    coordinate(height) + "\" font-family=\"Helvetica, Arial, sans-serif\">\n" +
                    "<rect width=\"" + coordinate(width) + "\" height=\"" + coordinate(height) +
                    "\" fill=\"#ffffff\"/>\n";
  svg += label(Page::left, 32, "Each layer pruned alone by " + result.method, 18, ink_color,
               "start", " font-weight=\"bold\"");
  svg += label(Page::left, 54, subtitle, 12, faint_color);
  for (std::size_t i = 0; i < panels; ++i) {
    const double x = Page::left + place(i % across, Page::panel_width + Page::gap),
                 y = Page::top + place(i / across, Page::panel_height + Page::bottom);
    svg += "<g transform=\"translate(" + coordinate(x) + " " + coordinate(y) + ")\">\n" +
           panel(lines, axes, i, result.shares[i], i % across == 0) +
           label(Page::panel_width / 2, Page::panel_height + 38, "block", 13, ink_color, "middle");
    if (i % across == 0)
      svg += label(
          0, 0, "KL, nats per " + result.unit, 13, ink_color, "middle",
          " transform=\"translate(-58 " + coordinate(Page::panel_height / 2) + ") rotate(-90)\"");
    svg += "</g>\n";
  }
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const double y = Page::top + 10 + 20 * static_cast<double>(i);
    svg += polyline({{legend, y}, {legend + 24, y}}, line_colors[i % line_colors.size()], 3,
                    i < line_colors.size() ? "" : "5 4");
    svg += label(legend + 32, y + 4, lines[i].kind, 13, ink_color);
  }
  return svg + "</svg>\n";
}

}  // namespace cli
