// Elements of a picture as text.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pageserver::pagectl {

/// Fit for the content of an element and for an attribute in double quotes; what no document may hold is made visible.
std::string svg_escaped(std::string_view text);

/// A document being written, in pixels.
class Svg {
public:
  void text(double x, double y, std::string_view text, std::string_view attributes = {});
  void rect(double x, double y, double width, double height, std::string_view fill, double opacity = 1,
            std::string_view title = {});
  void line(double x1, double y1, double x2, double y2, std::string_view colour);
  void path(const std::vector<std::pair<double, double>>& points, std::string_view colour);
  /// The whole document.
  std::string document(double width, double height, std::string_view title) const;

private:
  std::string body_;
};

}  // namespace pageserver::pagectl
