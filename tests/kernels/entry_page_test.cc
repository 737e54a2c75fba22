// Entries written to pages and read from them, against the layout's own formula, on every instruction set.
#include "kernels/entry_page.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/every_level.h"
#include "kernels/test_pages.h"

namespace kvlab {
namespace {

float element(const void* base, size_t index, DType type) {
  return type == DType::kF32 ? static_cast<const float*>(base)[index]
                             : to_float(static_cast<const BF16*>(base)[index]);
}

template <typename Body>
void for_each_shape(Body&& body) {
  for_each_level([&] {
    for (DType type : {DType::kF32, DType::kBF16}) {
      for (int head_dim : {2, 4, 6, 8, 20, 32, 48, 64, 80, 96, 128, 256}) {
        SCOPED_TRACE(testing::Message() << dtype_name(type) << " head_dim " << head_dim);
        body(head_dim, type);
      }
    }
  });
}

// A page full of leftovers, and room for one page's floats.
struct Fixture {
  Fixture(int head_dim, DType type) : pages(head_dim, type) {
    const std::vector<float> x(head_dim, kLeftover);
    pages.append(x.data(), x.data());
  }
  PageData page() { return pages.data(0); }
  TestPages pages;
};

TEST(EntryPage, WritesEveryRunOfSlots) {
  for_each_shape([](int head_dim, DType type) {
    for (int first : {0, 1, 2, 5, 15}) {
      for (int rows : {0, 1, 2, 3, 4, 7, 11, 16}) {
        if (first + rows > kPageSlots) continue;
        Fixture fixture(head_dim, type);
        const int64_t stride = head_dim + 5;
        const std::vector<float> k = random_floats(kPageSlots * stride, 1),
                                 v = random_floats(kPageSlots * stride, 2);
        write_entries(k.data(), v.data(), stride, rows, first, head_dim, type, fixture.page());
        for (int slot = 0; slot < kPageSlots; ++slot) {
          const bool written = slot >= first && slot < first + rows;
          const int64_t row = (slot - first) * stride;
          const float other = rounded_to(kLeftover, type);
          for (int i = 0; i < head_dim; ++i) {
            ASSERT_EQ(element(fixture.page().k, key_element(type, slot, i), type),
                      written ? rounded_to(k[row + i], type) : other)
                << first << " " << rows << " slot " << slot << " element " << i;
            ASSERT_EQ(element(fixture.page().v, value_element(type, slot, i, head_dim), type),
                      written ? rounded_to(v[row + i], type) : other)
                << first << " " << rows << " slot " << slot << " element " << i;
          }
        }
      }
    }
  });
}

TEST(EntryPage, RoundsLikeToBf16) {
  for_each_level([] {
    constexpr int kHeadDim = 64;
    // Ties to even both ways, the largest numbers, what overflows, infinities, NaN, denormals.
    std::vector<float> odd = {1.00390625f, 1.01171875f, 3.3895314e38f, 3.4e38f, INFINITY,   -INFINITY,
                              NAN,         -NAN,        1e-40f,        -0.0f,   1.0039063f, -1.00390625f};
    odd.resize(kPageSlots * kHeadDim, -NAN);
    TestPages pages(kHeadDim, DType::kBF16);
    pages.append(odd.data(), odd.data());
    write_entries(odd.data(), odd.data(), kHeadDim, kPageSlots, 0, kHeadDim, DType::kBF16, pages.data(0));
    for (int slot = 0; slot < kPageSlots; ++slot) {
      for (int i = 0; i < kHeadDim; ++i) {
        const uint16_t expected = to_bf16(odd[slot * kHeadDim + i]).bits;
        const auto* k = static_cast<const BF16*>(pages.data(0).k);
        const auto* v = static_cast<const BF16*>(pages.data(0).v);
        ASSERT_EQ(k[key_element(DType::kBF16, slot, i)].bits, expected) << slot << " " << i;
        ASSERT_EQ(v[value_element(DType::kBF16, slot, i, kHeadDim)].bits, expected) << slot << " " << i;
      }
    }
  });
}

TEST(EntryPage, ReadsWhatIsThere) {
  for_each_shape([](int head_dim, DType type) {
    TestPages pages(head_dim, type);
    pages.append_random(kPageSlots, 9);
    const ConstPageData page = pages.all()[0];
    const int64_t stride = head_dim + 3;
    std::vector<float> k(kPageSlots * stride, NAN), v(k), one_k(head_dim), one_v(head_dim);
    read_page(page, head_dim, type, stride, k.data(), nullptr);
    read_page(page, head_dim, type, stride, nullptr, v.data());
    for (int slot = 0; slot < kPageSlots; ++slot) {
      read_entry(page, slot, head_dim, type, one_k.data(), nullptr);
      read_entry(page, slot, head_dim, type, nullptr, one_v.data());
      for (int i = 0; i < head_dim; ++i) {
        ASSERT_EQ(k[slot * stride + i], pages.key(slot)[i]);
        ASSERT_EQ(v[slot * stride + i], pages.value(slot)[i]);
        ASSERT_EQ(one_k[i], pages.key(slot)[i]);
        ASSERT_EQ(one_v[i], pages.value(slot)[i]);
      }
      for (int64_t i = head_dim; i < stride; ++i) ASSERT_TRUE(std::isnan(k[slot * stride + i]));
    }
  });
}

TEST(EntryPage, CopiesOneEntry) {
  for_each_shape([](int head_dim, DType type) {
    TestPages from(head_dim, type), to(head_dim, type);
    from.append_random(kPageSlots, 9);
    to.append_random(kPageSlots, 900);
    for (const auto& [source, target] : {std::pair{0, 0}, {3, 8}, {15, 1}, {6, 15}}) {
      TestPages page(head_dim, type);
      page.append_random(kPageSlots, 900);
      copy_entry(from.all()[0], source, page.data(0), target, head_dim, type);
      std::vector<float> k(head_dim), v(head_dim);
      for (int slot = 0; slot < kPageSlots; ++slot) {
        read_entry(page.all()[0], slot, head_dim, type, k.data(), v.data());
        const TestPages& expected = slot == target ? from : to;
        const int at = slot == target ? source : slot;
        ASSERT_EQ(k, std::vector<float>(expected.key(at), expected.key(at) + head_dim)) << slot;
        ASSERT_EQ(v, std::vector<float>(expected.value(at), expected.value(at) + head_dim)) << slot;
      }
    }
  });
}

}  // namespace
}  // namespace kvlab
