// The one spelling of templates; the rules of blanks were taken from jinja2 with trim_blocks and
// lstrip_blocks.
#include "tokenizer/chat_template_outline.h"

#include <gtest/gtest.h>

namespace kvlab {
namespace {

std::string outline(const std::string& text) {
  return ChatOutline(text).text();
}

TEST(ChatOutline, CodeHasOneSpelling) {
  EXPECT_EQ(outline("{{ message [ 'role' ] + \"a\" }}"), "{{message.role+'a'}}");
  EXPECT_EQ(outline("{{- message[\"content\"] -}}"), "{{message.content}}");
  EXPECT_EQ(outline("{%+ if not  x is\ndefined %}"), "{%if not x is defined%}");
  EXPECT_EQ(outline("{% if m['content'] is string %}"), "{%if m.content is string%}");
  EXPECT_EQ(outline("{{ messages[0]['role'] }}{% set x = ['a'] %}"), "{{messages[0].role}}{%set x=['a']%}");
  EXPECT_EQ(outline("{{ x['a b'] }}"), "{{x['a b']}}");
  EXPECT_EQ(outline("{{ {'a': {'b': 1}} }}"), "{{{'a':{'b':1}}}}");
}

TEST(ChatOutline, StringsAreResolvedAndJoined) {
  EXPECT_EQ(outline("{{ 'a\\n\\t' + \"it's\" + 'b\\'\\\\' }}"), "{{'a\n\tit\\'sb\\'\\\\'}}");
  EXPECT_EQ(outline("{{ 'a\nb' }}"), "{{'a\nb'}}");
  EXPECT_EQ(outline("{{ '}}' }}{{ '%}' }}"), "{{'}}%}'}}");
  // What a string holds is no code.
  EXPECT_EQ(outline("{{ \"'+'\" }}"), "{{'\\'+\\''}}");
  EXPECT_EQ(outline("{{ '}}{{' + x }}"), "{{'}}{{'+x}}");
}

TEST(ChatOutline, TextOutsideIsWhatJinjaWrites) {
  EXPECT_EQ(outline("a{{ x }}b"), "{{'a'+x+'b'}}");
  EXPECT_EQ(outline("{{ x }}\n{{ y }}\n"), "{{x+'\n'+y}}");
  EXPECT_EQ(outline("{% if x %}\n  {{ y }}\n  {% endif %}\n"), "{%if x%}{{'  '+y+'\n'}}{%endif%}");
  EXPECT_EQ(outline("{% if x %}\n\nb{% endif %}"), "{%if x%}{{'\nb'}}{%endif%}");
  EXPECT_EQ(outline("{%- if x -%} \n a \n {%- endif -%}"), "{%if x%}{{'a'}}{%endif%}");
  EXPECT_EQ(outline("a {#- note -#} b{# note #}\n{# note #}c"), "{{'abc'}}");
  EXPECT_EQ(outline("a  {% x %}{{ y }}  {{- z }}"), "{{'a  '}}{%x%}{{y+z}}");
  EXPECT_EQ(outline("  {%+ x +%}\na"), "{{'  '}}{%x%}{{'\na'}}");
  EXPECT_EQ(outline("a { b {"), "{{'a { b {'}}");
}

TEST(ChatOutline, BrokenTemplatesGiveAnOutline) {
  EXPECT_EQ(outline(""), "");
  EXPECT_EQ(outline("{{"), "{{");
  EXPECT_EQ(outline("{{ 'a\\"), "{{'a\\\\'");
  EXPECT_EQ(outline("{# a"), "");
  EXPECT_EQ(outline("{% } } %}a"), "{%}}%}{{'a'}}");
  EXPECT_EQ(outline("{{ ] ['a'] }}"), "{{].a}}");
  EXPECT_EQ(outline("{% \xFF\xC3 %}\xE2"), "{%\xFF\xC3%}{{'\xE2'}}");
}

TEST(ChatOutline, FindsAndCounts) {
  const ChatOutline found("{{ 'aa' + 'a' }}{% set x = \"it's \\\\ so\" %}{% set y = 'no' + z %}");
  EXPECT_TRUE(found.has("{{'aaa'}}"));
  EXPECT_FALSE(found.has("{{'aa'}}"));
  EXPECT_EQ(found.count("aa"), 1);
  EXPECT_EQ(found.count("{%set "), 2);
  EXPECT_EQ(found.string_between("{%set x='", "'%}"), "it's \\ so");
  EXPECT_EQ(found.string_between("{%set x='it", " so'%}"), "'s \\");
  EXPECT_EQ(found.string_between("{%set y='", "'%}"), std::nullopt);
  EXPECT_EQ(found.string_between("{%set w='", "'%}"), std::nullopt);
}

}  // namespace
}  // namespace kvlab
