#include "client/pagectl/terminal/svg.hpp"

#include <array>
#include <cstdio>

#include "base/text.hpp"
#include "client/pagectl/terminal/progress.hpp"

namespace pageserver::pagectl {
namespace {

/// A tenth of a pixel is as fine as anybody sees.
std::string number(double value) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.1f", value);
  std::string whole = text.data();
  if (whole.ends_with(".0")) whole.resize(whole.size() - 2);
  return whole == "-0" ? "0" : whole;
}

std::string attribute(const char* name, std::string_view value) {
  return " " + std::string(name) + "=\"" + std::string(value) + "\"";
}

}  // namespace

std::string svg_escaped(std::string_view text) { return base::markup(shown(text)); }

void Svg::text(double x, double y, std::string_view text, std::string_view attributes) {
  body_ += "<text" + attribute("x", number(x)) + attribute("y", number(y)) + (attributes.empty() ? "" : " ") +
           std::string(attributes) + ">" + svg_escaped(text) + "</text>\n";
}

void Svg::rect(double x, double y, double width, double height, std::string_view fill, double opacity,
               std::string_view title) {
  std::array<char, 16> shade;
  std::snprintf(shade.data(), shade.size(), "%.2f", opacity);
  body_ += "<rect" + attribute("x", number(x)) + attribute("y", number(y)) + attribute("width", number(width)) +
           attribute("height", number(height)) + attribute("fill", fill);
  if (opacity < 1) body_ += attribute("fill-opacity", shade.data());
  body_ += title.empty() ? "/>\n" : "><title>" + svg_escaped(title) + "</title></rect>\n";
}

void Svg::line(double x1, double y1, double x2, double y2, std::string_view colour) {
  body_ += "<line" + attribute("x1", number(x1)) + attribute("y1", number(y1)) + attribute("x2", number(x2)) +
           attribute("y2", number(y2)) + attribute("stroke", colour) + "/>\n";
}

void Svg::path(const std::vector<std::pair<double, double>>& points, std::string_view colour) {
  std::string steps;
  for (const auto& [x, y] : points) steps += (steps.empty() ? "M" : " L") + number(x) + " " + number(y);
  body_ += "<path" + attribute("d", steps) + attribute("stroke", colour) + " fill=\"none\" stroke-width=\"1.5\"/>\n";
}

std::string Svg::document(double width, double height, std::string_view title) const {
  return "<svg xmlns=\"http://www.w3.org/2000/svg\"" + attribute("width", number(width)) +
         attribute("height", number(height)) + " viewBox=\"0 0 " + number(width) + " " + number(height) +
         "\" font-family=\"sans-serif\" font-size=\"11\" role=\"img\">\n<title>" + svg_escaped(title) +
         "</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n" + body_ + "</svg>\n";
}

}  // namespace pageserver::pagectl
