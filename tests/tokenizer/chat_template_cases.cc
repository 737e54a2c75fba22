#include "tokenizer/chat_template_cases.h"

#include <stdexcept>

namespace kvlab::testing {

const std::vector<ChatCase>& chat_cases() {
  static const std::vector<ChatCase> cases{
      {"SmolLM2",
       "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ "
       "'<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
       "Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
       "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% "
       "endif %}",
       "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
       "Face<|im_end|>\n<|im_start|>user\n Hi \n<|im_end|>\n<|im_start|>assistant\n",
       "<|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\n Hi "
       "<|im_end|>\n<|im_start|>assistant\n<think>\nWell.\n</think>\n\n Yes. "
       "\n<|im_end|>\n<|im_start|>user\n\tBye<|im_end|>\n<|im_start|>assistant\n",
       true},
      {"Qwen 1.5",
       "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ "
       "'<|im_start|>system\nYou are a helpful assistant<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + "
       "message['role'] + '\n' + message['content']}}{% if (loop.last and add_generation_prompt) or not "
       "loop.last %}{{ '<|im_end|>' + '\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ "
       "'<|im_start|>assistant\n' }}{% endif %}",
       "<|im_start|>system\nYou are a helpful assistant<|im_end|>\n<|im_start|>user\n Hi "
       "\n<|im_end|>\n<|im_start|>assistant\n",
       "<|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\n Hi "
       "<|im_end|>\n<|im_start|>assistant\n<think>\nWell.\n</think>\n\n Yes. "
       "\n<|im_end|>\n<|im_start|>user\n\tBye<|im_end|>\n<|im_start|>assistant\n",
       true},
      {"Qwen 2",
       "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ "
       "'<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + "
       "message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if "
       "add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
       "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n Hi "
       "\n<|im_end|>\n<|im_start|>assistant\n",
       "<|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\n Hi "
       "<|im_end|>\n<|im_start|>assistant\n<think>\nWell.\n</think>\n\n Yes. "
       "\n<|im_end|>\n<|im_start|>user\n\tBye<|im_end|>\n<|im_start|>assistant\n",
       true},
      {"Qwen 2.5",
       "{%- if tools %}\n    {{- '<|im_start|>system\\n' }}\n    {%- if true %}\n        {{- tools | tojson "
       "}}\n    {%- endif %}\n{%- else %}\n    {%- if messages[0]['role'] == 'system' %}\n        {{- "
       "'<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}\n    {%- else %}\n        {{- "
       "'<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful "
       "assistant.<|im_end|>\\n' }}\n    {%- endif %}\n{%- endif %}\n{%- for message in messages %}\n    {%- "
       "if message.role == \"user\" or (message.role == \"system\" and not loop.first) or message.role == "
       "\"assistant\" %}\n        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' "
       "+ '\\n' }}\n    {%- endif %}\n{%- endfor %}\n{%- if add_generation_prompt %}\n    {{- "
       "'<|im_start|>assistant\\n' }}\n{%- endif %}\n",
       "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful "
       "assistant.<|im_end|>\n<|im_start|>user\n Hi \n<|im_end|>\n<|im_start|>assistant\n",
       "<|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\n Hi "
       "<|im_end|>\n<|im_start|>assistant\n<think>\nWell.\n</think>\n\n Yes. "
       "\n<|im_end|>\n<|im_start|>user\n\tBye<|im_end|>\n<|im_start|>assistant\n",
       true},
      {"ChatML with BOS",
       "{{ bos_token }}{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
       "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ "
       "'<|im_start|>assistant\n' }}{% endif %}",
       "<B><|im_start|>user\n Hi \n<|im_end|>\n<|im_start|>assistant\n",
       "<B><|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\n Hi "
       "<|im_end|>\n<|im_start|>assistant\n<think>\nWell.\n</think>\n\n Yes. "
       "\n<|im_end|>\n<|im_start|>user\n\tBye<|im_end|>\n<|im_start|>assistant\n",
       true},
      {"ChatML, a branch for each role",
       "{% for message in messages %}{% if message['role'] == 'user' %}{{'<|im_start|>user\n' + "
       "message['content'] + '<|im_end|>\n'}}{% elif message['role'] == 'system' %}{{'<|im_start|>system\n' "
       "+ message['content'] + '<|im_end|>\n'}}{% elif message['role'] == 'assistant' "
       "%}{{'<|im_start|>assistant\n' + message['content'] + '<|im_end|>\n'}}{% endif %}{% endfor %}{{ "
       "'<|im_start|>assistant\n' }}",
       "<|im_start|>user\n Hi \n<|im_end|>\n<|im_start|>assistant\n",
       "<|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\n Hi "
       "<|im_end|>\n<|im_start|>assistant\n<think>\nWell.\n</think>\n\n Yes. "
       "\n<|im_end|>\n<|im_start|>user\n\tBye<|im_end|>\n<|im_start|>assistant\n",
       true},
      {"ChatML, system set first",
       "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message "
       "= messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = 'You "
       "are a helpful assistant.' %}{% endif %}{% for message in loop_messages %}{% if loop.index0 == 0 "
       "%}{{'<|im_start|>system\n' + system_message + '<|im_end|>\n'}}{% endif %}{{'<|im_start|>' + "
       "message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if "
       "add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
       "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n Hi "
       "\n<|im_end|>\n<|im_start|>assistant\n",
       "<|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\n Hi "
       "<|im_end|>\n<|im_start|>assistant\n<think>\nWell.\n</think>\n\n Yes. "
       "\n<|im_end|>\n<|im_start|>user\n\tBye<|im_end|>\n<|im_start|>assistant\n",
       true},
      {"Qwen 3",
       "{%- if messages[0].role == 'system' %}\n    {{- '<|im_start|>system\\n' + messages[0].content + "
       "'<|im_end|>\\n' }}\n{%- endif %}\n{%- set ns = namespace(last_query_index=messages|length - 1) "
       "%}\n{%- for message in messages %}\n    {%- if (message.role == \"user\") or (message.role == "
       "\"system\" and not loop.first) %}\n        {{- '<|im_start|>' + message.role + '\\n' + "
       "message.content + '<|im_end|>' + '\\n' }}\n    {%- elif message.role == \"assistant\" %}\n        "
       "{%- set content = message.content %}\n        {%- if '</think>' in message.content %}\n            "
       "{%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}\n        {%- endif %}\n     "
       "   {%- if loop.index0 > ns.last_query_index %}\n            {{- '<think>' }}\n        {%- else %}\n  "
       "          {{- '<|im_start|>' + message.role + '\\n' + content }}\n        {%- endif %}\n        {{- "
       "'<|im_end|>\\n' }}\n    {%- endif %}\n{%- endfor %}\n{%- if add_generation_prompt %}\n    {{- "
       "'<|im_start|>assistant\\n' }}\n    {%- if enable_thinking is defined and enable_thinking is false "
       "%}\n        {{- '<think>\\n\\n</think>\\n\\n' }}\n    {%- endif %}\n{%- endif %}",
       "<|im_start|>user\n Hi \n<|im_end|>\n<|im_start|>assistant\n",
       "<|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\n "
       "Yes. \n<|im_end|>\n<|im_start|>user\n\tBye<|im_end|>\n<|im_start|>assistant\n",
       true},
      {"Llama 2",
       "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message "
       "= messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false "
       "%}{% endif %}{% for message in loop_messages %}{% if loop.index0 == 0 and system_message != false "
       "%}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% "
       "else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ "
       "bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% else %}{{ ' '  + content.strip() + ' ' + "
       "eos_token }}{% endif %}{% endfor %}",
       "<B>[INST] Hi [/INST]",
       "<B>[INST] <<SYS>>\n Be brief. \n<</SYS>>\n\n Hi [/INST] <think>\nWell.\n</think>\n\n Yes. "
       "<E><B>[INST] Bye [/INST]",
       true},
      {"Llama 3",
       "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + "
       "'<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set "
       "content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{{ "
       "'<|start_header_id|>assistant<|end_header_id|>\n\n' }}",
       "<B><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_"
       "id|>\n\n",
       "<B><|start_header_id|>system<|end_header_id|>\n\nBe "
       "brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<"
       "|end_header_id|>\n\n<think>\nWell.\n</think>\n\n "
       "Yes.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|><|start_header_id|>assistant<|"
       "end_header_id|>\n\n",
       true},
      {"Llama 3.1",
       "{{- bos_token }}\n{%- if not date_string is defined %}\n    {%- set date_string = \"26 Jul 2024\" "
       "%}\n{%- endif %}\n{%- if messages[0]['role'] == 'system' %}\n    {%- set system_message = "
       "messages[0]['content']|trim %}\n    {%- set messages = messages[1:] %}\n{%- else %}\n    {%- set "
       "system_message = \"\" %}\n{%- endif %}\n{#- System message + builtin tools #}\n{{- "
       "\"<|start_header_id|>system<|end_header_id|>\\n\\n\" }}\n{%- if tools %}\n    {{- \"Environment: "
       "ipython\\n\" }}\n{%- endif %}\n{{- \"Cutting Knowledge Date: December 2023\\n\" }}\n{{- \"Today "
       "Date: \" + date_string + \"\\n\\n\" }}\n{%- if tools %}\n    {{- tools | tojson }}\n{%- endif "
       "%}\n{{- system_message }}\n{{- \"<|eot_id|>\" }}\n{%- for message in messages %}\n    {{- "
       "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + "
       "'<|eot_id|>' }}\n{%- endfor %}\n{%- if add_generation_prompt %}\n    {{- "
       "'<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n{%- endif %}\n",
       "<B><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\nToday Date: "
       "26 Jul "
       "2024\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>"
       "assistant<|end_header_id|>\n\n",
       "<B><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\nToday Date: "
       "26 Jul 2024\n\nBe "
       "brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<"
       "|end_header_id|>\n\n<think>\nWell.\n</think>\n\n "
       "Yes.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|><|start_header_id|>assistant<|"
       "end_header_id|>\n\n",
       true},
      {"Mistral v0.1",
       "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + "
       "message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + "
       "eos_token + ' ' }}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% "
       "endif %}{% endfor %}",
       "<B>[INST]  Hi \n [/INST]",
       "<B>[INST]  Hi  [/INST]<think>\nWell.\n</think>\n\n Yes. \n<E> [INST] \tBye [/INST]", false},
      {"Mistral v0.2",
       "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + "
       "message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + "
       "eos_token}}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif "
       "%}{% endfor %}",
       "<B>[INST]  Hi \n [/INST]",
       "<B>[INST]  Hi  [/INST]<think>\nWell.\n</think>\n\n Yes. \n<E>[INST] \tBye [/INST]", false},
      {"Mistral v1",
       "{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content'] %}{%- set "
       "loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}{%- endif %}{{- "
       "bos_token }}{%- for message in loop_messages %}{%- if message['role'] == 'user' %}{%- if loop.first "
       "and system_message is defined %}{{- ' [INST] ' + system_message + '\\n\\n' + message['content'] + ' "
       "[/INST]' }}{%- else %}{{- ' [INST] ' + message['content'] + ' [/INST]' }}{%- endif %}{%- else %}{{- "
       "' ' + message['content'] + eos_token}}{%- endif %}{%- endfor %}",
       "<B> [INST]  Hi \n [/INST]",
       "<B> [INST]  Be brief. \n\n Hi  [/INST] <think>\nWell.\n</think>\n\n Yes. \n<E> [INST] \tBye [/INST]",
       true},
      {"Mistral v3",
       "{%- if messages[0][\"role\"] == \"system\" %}{%- set system_message = messages[0][\"content\"] %}{%- "
       "set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}{%- endif %}{{- "
       "bos_token }}{%- for message in loop_messages %}{%- if message[\"role\"] == \"user\" %}{%- if "
       "loop.last and system_message is defined %}{{- \"[INST] \" + system_message + \"\\n\\n\" + "
       "message[\"content\"] + \"[/INST]\" }}{%- else %}{{- \"[INST] \" + message[\"content\"] + \"[/INST]\" "
       "}}{%- endif %}{%- else %}{{- \" \" + message[\"content\"]|trim + eos_token}}{%- endif %}{%- endfor "
       "%}",
       "<B>[INST]  Hi \n[/INST]",
       "<B>[INST]  Hi [/INST] <think>\nWell.\n</think>\n\n Yes.<E>[INST]  Be brief. \n\n\tBye[/INST]", true},
      {"Mistral v3-tekken",
       "{%- if messages[0][\"role\"] == \"system\" %}{%- set system_message = messages[0][\"content\"] %}{%- "
       "set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}{%- endif %}{{- "
       "bos_token }}{%- for message in loop_messages %}{%- if message[\"role\"] == \"user\" %}{%- if "
       "loop.last and system_message is defined %}{{- \"[INST]\" + system_message + \"\\n\\n\" + "
       "message[\"content\"] + \"[/INST]\" }}{%- else %}{{- \"[INST]\" + message[\"content\"] + \"[/INST]\" "
       "}}{%- endif %}{%- else %}{{- message[\"content\"] + eos_token}}{%- endif %}{%- endfor %}",
       "<B>[INST] Hi \n[/INST]",
       "<B>[INST] Hi [/INST]<think>\nWell.\n</think>\n\n Yes. \n<E>[INST] Be brief. \n\n\tBye[/INST]", true},
      {"Mistral v7",
       "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + "
       "message['content'] + '[/INST]' }}{% elif message['role'] == 'system' %}{{ '[SYSTEM_PROMPT] ' + "
       "message['content'] + '[/SYSTEM_PROMPT]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + "
       "message['content'] + eos_token }}{% endif %}{% endfor %}",
       "<B>[INST]  Hi \n[/INST]",
       "<B>[SYSTEM_PROMPT]  Be brief. [/SYSTEM_PROMPT][INST]  Hi [/INST] <think>\nWell.\n</think>\n\n Yes. "
       "\n<E>[INST] \tBye[/INST]",
       true},
      {"Mistral v7-tekken",
       "{%- set today = strftime_now(\"%Y-%m-%d\") %}\n{%- set default_system_message = \"You're kind. Today "
       "is \" + today + \".\\nYou are \\\"brief\\\".\" %}\n{{- bos_token }}\n{%- set system_prompt = "
       "default_system_message %}\n{%- set loop_messages = messages %}\n{%- if messages[0]['role'] == "
       "'system' %}\n    {%- set system_prompt = messages[0]['content'] %}\n    {%- set loop_messages = "
       "messages[1:] %}\n{%- endif %}\n{{- '[SYSTEM_PROMPT]' + system_prompt + '[/SYSTEM_PROMPT]' }}\n{%- "
       "for message in loop_messages %}\n    {%- if message['role'] == 'user' %}\n        {{- '[INST]' }}\n  "
       "      {%- if message['content'] is string %}\n            {{- message['content'] }}\n        {%- "
       "else %}\n            {{- '[IMG]' }}\n        {%- endif %}\n        {{- '[/INST]' }}\n    {%- elif "
       "message['content'] is string %}\n        {{- message['content'] + eos_token }}\n    {%- endif "
       "%}\n{%- endfor %}\n",
       "<B>[SYSTEM_PROMPT]You're kind. Today is 7 March.\nYou are \"brief\".[/SYSTEM_PROMPT][INST] Hi "
       "\n[/INST]",
       "<B>[SYSTEM_PROMPT] Be brief. [/SYSTEM_PROMPT][INST] Hi [/INST]<think>\nWell.\n</think>\n\n Yes. "
       "\n<E>[INST]\tBye[/INST]",
       true},
      {"Zephyr",
       "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + "
       "message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + "
       "message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  "
       "+ message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ "
       "'<|assistant|>' }}\n{% endif %}\n{% endfor %}",
       "<|user|>\n Hi \n<E>\n<|assistant|>\n",
       "<|system|>\n Be brief. <E>\n<|user|>\n Hi <E>\n<|assistant|>\n<think>\nWell.\n</think>\n\n Yes. "
       "\n<E>\n<|user|>\n\tBye<E>\n<|assistant|>\n",
       true},
      {"Phi 3",
       "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') %}{{'<|user|>' + '\n' "
       "+ message['content'] + '<|end|>' + '\n' + '<|assistant|>' + '\n'}}{% elif (message['role'] == "
       "'assistant') %}{{message['content'] + '<|end|>' + '\n'}}{% endif %}{% endfor %}",
       "<B><|user|>\n Hi \n<|end|>\n<|assistant|>\n",
       "<B><|user|>\n Hi <|end|>\n<|assistant|>\n<think>\nWell.\n</think>\n\n Yes. "
       "\n<|end|>\n<|user|>\n\tBye<|end|>\n<|assistant|>\n",
       false},
      {"Phi 3 small",
       "{{ bos_token }}{% for message in messages %}{{'<|' + message['role'] + '|>' + '\n' + "
       "message['content'] + '<|end|>\n' }}{% endfor %}{{ '<|assistant|>\n' }}",
       "<B><|user|>\n Hi \n<|end|>\n<|assistant|>\n",
       "<B><|system|>\n Be brief. <|end|>\n<|user|>\n Hi "
       "<|end|>\n<|assistant|>\n<think>\nWell.\n</think>\n\n Yes. "
       "\n<|end|>\n<|user|>\n\tBye<|end|>\n<|assistant|>\n",
       true},
      {"Phi 3.5",
       "{% for message in messages %}{% if message['role'] == 'system' and message['content'] "
       "%}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'user' "
       "%}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'assistant' "
       "%}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}{{ "
       "'<|assistant|>\n' }}",
       "<|user|>\n Hi \n<|end|>\n<|assistant|>\n",
       "<|system|>\n Be brief. <|end|>\n<|user|>\n Hi <|end|>\n<|assistant|>\n<think>\nWell.\n</think>\n\n "
       "Yes. \n<|end|>\n<|user|>\n\tBye<|end|>\n<|assistant|>\n",
       true},
      {"Gemma 2",
       "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not "
       "supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'assistant') %}{% "
       "set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + "
       "role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor "
       "%}{{'<start_of_turn>model\n'}}",
       "<B><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n",
       "<B><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n<think>\nWell.\n</think>\n\n "
       "Yes.<end_of_turn>\n<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n",
       false},
      {"Gemma 3",
       "{{ bos_token }}\n{%- if messages[0]['role'] == 'system' -%}\n    {%- set first_user_prefix = "
       "messages[0]['content'] + '\\n\\n' -%}\n    {%- set loop_messages = messages[1:] -%}\n{%- else -%}\n  "
       "  {%- set first_user_prefix = \"\" -%}\n    {%- set loop_messages = messages -%}\n{%- endif -%}\n{%- "
       "for message in loop_messages -%}\n    {%- if (message['role'] == 'assistant') -%}\n        {%- set "
       "role = \"model\" -%}\n    {%- else -%}\n        {%- set role = message['role'] -%}\n    {%- endif "
       "-%}\n    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else \"\") }}\n    "
       "{%- if message['content'] is string -%}\n        {{ message['content'] | trim }}\n    {%- elif "
       "message['content'] is iterable -%}\n        {{ '<start_of_image>' }}\n    {%- endif -%}\n    {{ "
       "'<end_of_turn>\\n' }}\n{%- endfor -%}\n{%- if add_generation_prompt -%}\n    "
       "{{'<start_of_turn>model\\n'}}\n{%- endif -%}\n",
       "<B><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n",
       "<B><start_of_turn>user\n Be brief. "
       "\n\nHi<end_of_turn>\n<start_of_turn>model\n<think>\nWell.\n</think>\n\n "
       "Yes.<end_of_turn>\n<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n",
       true}};
  return cases;
}

const ChatCase& chat_case(const std::string& name) {
  for (const ChatCase& c : chat_cases()) {
    if (c.name == name) return c;
  }
  throw std::logic_error("no chat case " + name);
}

}  // namespace kvlab::testing
