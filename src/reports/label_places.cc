#include "reports/label_places.h"

#include <algorithm>
#include <array>

namespace kvlab {

bool LabelPlaces::is_free(const Box& box) const {
  return box.inside(area_) &&
         std::none_of(taken_.begin(), taken_.end(), [&](const Box& other) { return box.overlaps(other); });
}

std::optional<PlacedLabel> LabelPlaces::place(Point point, double width, double height) {
  constexpr std::array kDistances = {8.0, 22.0, 38.0};
  // The side of the point on which the label's middle lies.
  constexpr std::array<Point, 8> kSides = {Point{1, 0},   Point{-1, 0}, Point{1, -1}, Point{1, 1},
                                           Point{-1, -1}, Point{-1, 1}, Point{0, -1}, Point{0, 1}};
  for (const double distance : kDistances) {
    for (const Point side : kSides) {
      const double x = point.x + side.x * (distance + width / 2);
      const double y = point.y + side.y * (distance + height / 2);
      const Box box{x - width / 2, y - height / 2, x + width / 2, y + height / 2};
      if (!is_free(box)) continue;
      taken_.push_back(box);
      return PlacedLabel{box, distance == kDistances[0]};
    }
  }
  return std::nullopt;
}

}  // namespace kvlab
