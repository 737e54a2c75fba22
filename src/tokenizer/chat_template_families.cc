// The families of chat templates but Mistral's. Fragments are spelled as chat_template_outline.h says.
#include <array>
#include <initializer_list>

#include "tokenizer/chat_template_layout.h"

namespace kvlab {

namespace {

bool has_all(const ChatOutline& outline, std::initializer_list<const char*> fragments) {
  for (const char* fragment : fragments) {
    if (!outline.has(fragment)) return false;
  }
  return true;
}

bool has_any(const ChatOutline& outline, std::initializer_list<const char*> fragments) {
  for (const char* fragment : fragments) {
    if (outline.has(fragment)) return true;
  }
  return false;
}

std::string leading_bos(const ChatOutline& outline, const ChatTemplate& chat) {
  return outline.has("{{bos_token}}") ? chat.bos : "";
}

// ---- ChatML, and Qwen 3 on top of it

// The ways in which ChatML templates write any message: <|im_start|>ROLE, line feed, text, <|im_end|>,
// line feed.
bool writes_chatml(const ChatOutline& outline) {
  if (has_any(outline,
              {"{{'<|im_start|>'+message.role+'\n'+message.content+'<|im_end|>\n'}}",
               "{{'<|im_start|>'+message.role+'\n'}}{%if message.content is string%}{{message.content+"
               "'<|im_end|>\n'}}{%else%}",
               "{{'<|im_start|>'+message.role+'\n'+message.content}}{%if(loop.last and "
               "add_generation_prompt)or not loop.last%}{{'<|im_end|>\n'}}{%endif%}"}))
    return true;
  return has_all(outline, {"=='system'%}{{'<|im_start|>system\n'+message.content+'<|im_end|>\n'}}",
                           "=='user'%}{{'<|im_start|>user\n'+message.content+'<|im_end|>\n'}}",
                           "=='assistant'%}{{'<|im_start|>assistant\n'+message.content+'<|im_end|>\n'}}"});
}

// Where a plain system text stands: SmolLM and Qwen 1.5 and 2, Qwen 2.5 VL, Qwen 2.5.
constexpr std::array kBeforeDefaultSystem{
    "{%if loop.first and messages[0].role!='system'%}{{'<|im_start|>system\n",
    "{%if loop.first and message.role!='system'%}{{'<|im_start|>system\n",
    "{%if messages[0].role=='system'%}{{'<|im_start|>system\n'+messages[0].content+'<|im_end|>\n'}}{%else%}"
    "{{'<|im_start|>system\n"};

std::optional<std::string> chatml_default_system(const ChatOutline& outline) {
  for (const char* before : kBeforeDefaultSystem) {
    if (auto text = outline.string_between(before, "<|im_end|>\n'}}{%endif%}")) return text;
  }
  // As a variable, which a system message replaces.
  if (!has_all(outline,
               {"{%if loop.index0==0%}{{'<|im_start|>system\n'+system_message+'<|im_end|>\n'}}{%endif%}",
                "{%set system_message=messages[0].content%}{%else%}"}))
    return std::nullopt;
  return outline.string_between("{%else%}{%set loop_messages=messages%}{%set system_message='",
                                "'%}{%endif%}");
}

// Whether every system message that the template writes beside its loop is one that kvlab knows.
bool knows_all_systems(const ChatOutline& outline, bool has_default) {
  const int known = outline.count("'<|im_start|>system\n'+messages[0].content+'<|im_end|>\n'") +
                    outline.count("=='system'%}{{'<|im_start|>system\n'+message.content+'<|im_end|>\n'}}") +
                    outline.count("{%if tools%}{{'<|im_start|>system\n'}}") + (has_default ? 1 : 0);
  return known == outline.count("<|im_start|>system");
}

ChatLayout chatml(const ChatOutline& outline, const ChatTemplate& chat) {
  ChatLayout layout;
  layout.family = "ChatML";
  layout.start = leading_bos(outline, chat);
  layout.system = {"<|im_start|>system\n", "<|im_end|>\n"};
  layout.user = {"<|im_start|>user\n", "<|im_end|>\n"};
  layout.answer = {"<|im_start|>assistant\n", "<|im_end|>\n"};
  layout.opening = layout.answer.before;
  layout.turn_end = "<|im_end|>";
  layout.default_system = chatml_default_system(outline);
  return layout;
}

std::optional<ChatLayout> chatml_layout(const ChatOutline& outline, const ChatTemplate& chat, ChatOptions&) {
  if (!writes_chatml(outline) || !outline.has("{{'<|im_start|>assistant\n'}}") ||
      has_any(outline, {"enable_thinking", "think>"}))
    return std::nullopt;
  const ChatLayout layout = chatml(outline, chat);
  if (!knows_all_systems(outline, layout.default_system.has_value())) return std::nullopt;
  return layout;
}

// Past answers lose their thoughts, and an empty one may be written where the next begins.
std::optional<ChatLayout> qwen3_layout(const ChatOutline& outline, const ChatTemplate& chat,
                                       ChatOptions& options) {
  constexpr const char* kSwitch =
      "{%if enable_thinking is defined and enable_thinking is false%}{{'<think>\n\n</think>\n\n'}}{%endif%}";
  const bool named_content =
      outline.has("{%if message.content is string%}{%set content=message.content%}{%else%}");
  const bool user = named_content ? outline.has("{{'<|im_start|>'+message.role+'\n'+content+'<|im_end|>\n'}}")
                                  : writes_chatml(outline);
  if (!user || !has_all(outline, {"content.split('</think>')[-1].lstrip('\n')%}",
                                  "{%if loop.index0>ns.last_query_index%}",
                                  "{%else%}{{'<|im_start|>'+message.role+'\n'+content}}{%endif%}"}))
    return std::nullopt;
  const bool has_switch = outline.has(kSwitch);
  if (!outline.has("{%if add_generation_prompt%}{{'<|im_start|>assistant\n'}}") ||
      outline.count("enable_thinking") != (has_switch ? 2 : 0))
    return std::nullopt;
  ChatLayout layout = chatml(outline, chat);
  if (layout.default_system || !knows_all_systems(outline, false)) return std::nullopt;
  layout.family = "Qwen 3";
  layout.drops_thoughts = true;
  if (has_switch) {
    if (options.thinking == false) layout.opening += "<think>\n\n</think>\n\n";
    options.thinking.reset();
  }
  return layout;
}

// ---- Llama

ChatLayout llama3(const ChatTemplate& chat) {
  ChatLayout layout;
  layout.family = "Llama 3";
  layout.start = chat.bos;
  layout.system = {"<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>", true};
  layout.user = {"<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>", true};
  layout.answer = {"<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>", true};
  layout.opening = layout.answer.before;
  layout.turn_end = "<|eot_id|>";
  return layout;
}

bool writes_llama3(const ChatOutline& outline) {
  return has_all(
      outline,
      {"'<|start_header_id|>'+message.role+'<|end_header_id|>\n\n'+message.content|trim+'<|eot_id|>'",
       "{{'<|start_header_id|>assistant<|end_header_id|>\n\n'}}"});
}

std::optional<ChatLayout> llama3_layout(const ChatOutline& outline, const ChatTemplate& chat, ChatOptions&) {
  if (!writes_llama3(outline) ||
      !outline.has("{%if loop.index0==0%}{%set content=bos_token+content%}{%endif%}{{content}}") ||
      outline.count("<|start_header_id|>") != 2)
    return std::nullopt;
  return llama3(chat);
}

// Llama 3.1 and later: always a system message, and dates in it.
std::optional<ChatLayout> llama31_layout(const ChatOutline& outline, const ChatTemplate& chat,
                                         ChatOptions& options) {
  const auto cut =
      outline.string_between("{{'Cutting Knowledge Date: ", "\nToday Date: '+date_string+'\n\n'}}");
  if (!cut || !writes_llama3(outline) ||
      !has_all(outline, {"{{bos_token}}", "{{'<|start_header_id|>system<|end_header_id|>\n\n'}}{%if",
                         "{{system_message+'<|eot_id|>'}}", "{%set system_message=messages[0].content|trim%}",
                         "{%set system_message=''%}"}))
    return std::nullopt;
  const std::optional<std::string> date =
      options.date ? options.date : outline.string_between("{%set date_string='", "'%}");
  if (!date) return std::nullopt;
  options.date.reset();
  ChatLayout layout = llama3(chat);
  layout.family = "Llama 3.1";
  layout.system.before += "Cutting Knowledge Date: " + *cut + "\nToday Date: " + *date + "\n\n";
  layout.default_system = "";
  return layout;
}

std::optional<ChatLayout> llama2_layout(const ChatOutline& outline, const ChatTemplate& chat, ChatOptions&) {
  const bool strips = has_all(outline, {"{{bos_token+'[INST] '+content.strip()+' [/INST]'}}",
                                        "{{' '+content.strip()+' '+eos_token}}"});
  const bool trims = has_all(
      outline, {"{{bos_token+'[INST] '+content|trim+' [/INST]'}}", "{{' '+content|trim+' '+eos_token}}"});
  if ((!strips && !trims) || outline.has("true==true") ||
      !outline.has("{%set content='<<SYS>>\n'+system_message+'\n<</SYS>>\n\n'+message.content%}"))
    return std::nullopt;
  ChatLayout layout;
  layout.family = "Llama 2";
  layout.system_place = SystemPlace::kFirstUser;
  layout.trims_system_with_user = true;
  layout.system = {"<<SYS>>\n", "\n<</SYS>>\n\n"};
  layout.user = {chat.bos + "[INST] ", " [/INST]", true};
  layout.answer = {" ", " " + chat.eos, true};
  layout.turn_end = chat.eos;
  return layout;
}

// ---- Zephyr (and TinyLlama), Phi 3, Gemma

std::optional<ChatLayout> zephyr_layout(const ChatOutline& outline, const ChatTemplate& chat, ChatOptions&) {
  if (!has_all(outline, {"{{'<|user|>\n'+message.content+eos_token+'\n'}}",
                         "{{'<|assistant|>\n'+message.content+eos_token+'\n'}}", "{{'<|assistant|>\n'}}"}))
    return std::nullopt;
  ChatLayout layout;
  layout.family = "Zephyr";
  layout.start = leading_bos(outline, chat);
  if (!outline.has("{{'<|system|>\n'+message.content+eos_token+'\n'}}"))
    layout.system_place = SystemPlace::kRefused;
  layout.system = {"<|system|>\n", chat.eos + "\n"};
  layout.user = {"<|user|>\n", chat.eos + "\n"};
  layout.answer = {"<|assistant|>\n", chat.eos + "\n"};
  layout.opening = layout.answer.before;
  layout.turn_end = chat.eos;
  return layout;
}

// The first templates of Phi 3 mini and medium leave system messages out in silence: kvlab refuses them
// there.
std::optional<ChatLayout> phi3_layout(const ChatOutline& outline, const ChatTemplate& chat, ChatOptions&) {
  const bool first = has_all(outline, {"{{'<|user|>\n'+message.content+'<|end|>\n<|assistant|>\n'}}",
                                       "{{message.content+'<|end|>\n'}}"});
  const bool by_role = outline.has("{{'<|'+message.role+'|>\n'+message.content+'<|end|>\n'}}");
  const bool each = has_all(outline, {"=='user'%}{{'<|user|>\n'+message.content+'<|end|>\n'}}",
                                      "=='assistant'%}{{'<|assistant|>\n'+message.content+'<|end|>\n'}}"});
  if (!first && !((by_role || each) && outline.has("{{'<|assistant|>\n'}}"))) return std::nullopt;
  ChatLayout layout;
  layout.family = "Phi 3";
  layout.start = leading_bos(outline, chat);
  layout.system = {"<|system|>\n", "<|end|>\n"};
  layout.user = {"<|user|>\n", "<|end|>\n"};
  layout.answer = {"<|assistant|>\n", "<|end|>\n"};
  layout.opening = layout.answer.before;
  layout.turn_end = "<|end|>";
  if (first) {
    layout.system_place = SystemPlace::kRefused;
  } else if (each) {
    layout.empty_system_unseen = outline.has("=='system'and message.content%}{{'<|system|>\n'");
    if (!layout.empty_system_unseen &&
        !outline.has("=='system'%}{{'<|system|>\n'+message.content+'<|end|>\n'}}"))
      layout.system_place = SystemPlace::kRefused;
  }
  return layout;
}

// Gemma 1 and 2 refuse system messages; Gemma 3 sets them before the first message of the user.
std::optional<ChatLayout> gemma_layout(const ChatOutline& outline, const ChatTemplate& chat, ChatOptions&) {
  const bool second = outline.has("{{'<start_of_turn>'+role+'\n'+message.content|trim+'<end_of_turn>\n'}}");
  const bool third = has_all(
      outline,
      {"{{'<start_of_turn>'+role+'\n'+(first_user_prefix if loop.first else'')}}{%if message.content is "
       "string%}{{message.content|trim}}{%elif",
       "{%set first_user_prefix=messages[0].content+'\n\n'%}", "{%set first_user_prefix=''%}",
       "{%endif%}{{'<end_of_turn>\n'}}"});
  if ((!second && !third) || !has_all(outline, {"{%set role='model'%}", "{{'<start_of_turn>model\n'}}"}))
    return std::nullopt;
  ChatLayout layout;
  layout.family = "Gemma";
  layout.start = leading_bos(outline, chat);
  layout.system_place = third ? SystemPlace::kFirstUser : SystemPlace::kRefused;
  layout.system = {"", "\n\n"};
  layout.user = {"<start_of_turn>user\n", "<end_of_turn>\n", true};
  layout.answer = {"<start_of_turn>model\n", "<end_of_turn>\n", true};
  layout.opening = layout.answer.before;
  layout.turn_end = "<end_of_turn>";
  return layout;
}

}  // namespace

const std::vector<ChatFamily>& chat_families() {
  static const std::vector<ChatFamily> families{
      {"ChatML", chatml_layout},     {"Qwen 3", qwen3_layout},   {"Llama 3", llama3_layout},
      {"Llama 3.1", llama31_layout}, {"Llama 2", llama2_layout}, {"Mistral", mistral_layout},
      {"Zephyr", zephyr_layout},     {"Phi 3", phi3_layout},     {"Gemma", gemma_layout}};
  return families;
}

}  // namespace kvlab
