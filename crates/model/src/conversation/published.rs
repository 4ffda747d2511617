//! The published forms as Jinja templates: those that are rendered through it, and what
//! checkpoints written here say to transformers.

use super::Template;
use crate::{Error, Tokenizer};

/// What each part of a message becomes: images as `<image>` and a line break, then the text.
const PARTS: &str = "\
{% for part in message['content'] if part['type'] == 'image' %}<image>\n{% endfor %}\
{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}";

/// Makes each message's content one text, for what follows.
pub(super) const FLATTENED: &str = "\
{%- set flat = namespace(messages=[]) -%}{%- for message in messages -%}{%- set text -%}\
{%- if message['content'] is string -%}{{ message['content'] }}{%- else -%}\
{%- for part in message['content'] if part['type'] == 'image' -%}{{ '<image>\\n' }}{%- endfor -%}\
{%- for part in message['content'] if part['type'] == 'text' -%}{{ part['text'] }}{%- endfor -%}\
{%- endif -%}{%- endset -%}\
{%- set flat.messages = flat.messages + [{'role': message['role'], 'content': text}] -%}\
{%- endfor -%}{%- set messages = flat.messages -%}\n";

/// The form for transformers' `apply_chat_template`.
pub(super) fn source(template: Template) -> String {
    match template {
        Template::V1 | Template::Tiny => {
            let system = template.opening().trim_end_matches("USER: ");
            format!(
                "{{{{ bos_token }}}}{system}{{% for message in messages %}}\
                 {{% if message['role'] == 'user' %}}USER: {PARTS}\
                 {{% else %}} ASSISTANT: {PARTS}{{{{ eos_token }}}}{{% endif %}}{{% endfor %}}\
                 {{% if add_generation_prompt %}} ASSISTANT:{{% endif %}}"
            )
        }
        Template::Plain => "{{ bos_token }}{% for message in messages %}\
             {% for part in message['content'] %}\
             {% if part['type'] == 'image' %}<image>\
             {% elif message['role'] == 'assistant' %}{{ part['text'] + '\\n' }}\
             {% endif %}{% endfor %}{% endfor %}"
            .to_owned(),
        Template::ChatMl => format!(
            "{{% for message in messages %}}{{{{ '<|im_start|>' + message['role'] + '\\n' }}}}\
             {PARTS}{{{{ '<|im_end|>\\n' }}}}{{% endfor %}}\
             {{% if add_generation_prompt %}}{{{{ '<|im_start|>assistant\\n' }}}}{{% endif %}}"
        ),
        // The system's words stand inside the first question; each round has its own first token.
        Template::Llama2 => format!(
            "{{% set stage = namespace(system='') %}}{{% for message in messages %}}\
             {{% if message['role'] == 'system' %}}{{% set stage.system %}}{PARTS}{{% endset %}}\
             {{% elif message['role'] == 'user' %}}{{{{ bos_token + '[INST] ' }}}}\
             {{% if stage.system %}}\
             {{{{ '<<SYS>>\\n' + stage.system + '\\n<</SYS>>\\n\\n' }}}}\
             {{% set stage.system = '' %}}{{% endif %}}\
             {PARTS}{{{{ ' [/INST]' }}}}\
             {{% else %}}{{{{ ' ' }}}}{PARTS}{{{{ ' ' + eos_token }}}}{{% endif %}}{{% endfor %}}"
        ),
        Template::Llama3 => format!(
            "{{{{ bos_token }}}}{{% for message in messages %}}\
             {{{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}}}\
             {PARTS}{{{{ '<|eot_id|>' }}}}{{% endfor %}}{{% if add_generation_prompt %}}\
             {{{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}}}{{% endif %}}"
        ),
    }
}

/// Refuses a tokenizer without the tokens that a form's turns begin and end with: spelled out as
/// text they would never end a reply.
pub(super) fn check(template: Template, tokenizer: &Tokenizer) -> Result<(), Error> {
    let needed: &[&str] = match template {
        Template::ChatMl => &["<|im_start|>", "<|im_end|>"],
        Template::Llama3 => &["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        Template::V1 | Template::Tiny | Template::Plain | Template::Llama2 => &[],
    };
    match needed.iter().find(|token| !tokenizer.is_special(token)) {
        None => Ok(()),
        Some(token) => Err(Error::Tokenizer(format!(
            "has no special token {token}, which the conversation template needs: choose v1, \
             llama2, or a tokenizer that has it"
        ))),
    }
}
