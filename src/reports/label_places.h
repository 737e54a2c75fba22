// Finds room for the labels of points.
#pragma once

#include <optional>
#include <vector>

#include "reports/canvas.h"

namespace kvlab {

struct Box {
  double left = 0, top = 0, right = 0, bottom = 0;
  bool overlaps(const Box& other) const {
    return left < other.right && other.left < right && top < other.bottom && other.top < bottom;
  }
  bool inside(const Box& other) const {
    return left >= other.left && right <= other.right && top >= other.top && bottom <= other.bottom;
  }
};

struct PlacedLabel {
  Box box;
  bool close = true;  // else a line should join it to its point
};

// Gives labels places one after the other, none on top of another or of an obstacle.
class LabelPlaces {
 public:
  LabelPlaces(const Box& area, std::vector<Box> obstacles) : area_(area), taken_(std::move(obstacles)) {}

  // Beside, above or below `point`, as near as there is room; null where there is none nearby.
  std::optional<PlacedLabel> place(Point point, double width, double height);

 private:
  bool is_free(const Box& box) const;

  Box area_;
  std::vector<Box> taken_;
};

}  // namespace kvlab
