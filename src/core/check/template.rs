//! Answer files as templates: each variable that there is none of, and which line of a template made a line of the text.

use std::collections::BTreeSet;

use minijinja::Environment;

use super::Fault;
use crate::core::{answers::Variables, toml_text::position};

/// What minijinja itself defines, and what tpl adds.
const GLOBALS: [&str; 5] = ["range", "dict", "namespace", "debug", "fail"];
/// Around the number of a template's line while it is rendered: characters that Unicode leaves to nobody.
const MARKS: [char; 2] = ['\u{f0000}', '\u{f0001}'];

/// Each place where a template names a variable that there is none of. Nothing for one that is no template.
pub fn undefined(template: &str, variables: &Variables<'_>) -> Vec<Fault> {
    let mut environment = Environment::new();
    if environment.add_template("answers", template).is_err() {
        return Vec::new();
    }
    let Ok(parsed) = environment.get_template("answers") else { return Vec::new() };
    let known = serde_json::to_value(variables).unwrap_or_default();
    let used: BTreeSet<String> = parsed.undeclared_variables(true).into_iter().filter(|path| !is_known(&known, path)).collect();
    if used.is_empty() {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (offset, name) in names(template) {
        // `a.b` may stand in `a.b.c`, of which only the first two words can be known here.
        let Some(wanted) = used.iter().find(|wanted| begins_with(name, wanted)) else { continue };
        if may_be_missing(&template[offset + name.len()..]) {
            continue;
        }
        let (line, column) = position(template, offset);
        faults.push(Fault::at(line, column, undefined_message(wanted)));
    }
    faults.sort();
    faults.dedup();
    faults
}

/// What is said of a variable that there is none of.
pub fn undefined_message(name: &str) -> String {
    format!("undefined variable {name}; docs/pipelines.md lists those that an answer file may use")
}

fn is_known(known: &serde_json::Value, path: &str) -> bool {
    let mut words = path.split('.');
    let first = words.next().unwrap_or_default();
    if GLOBALS.contains(&first) {
        return true;
    }
    let Some(value) = known.get(first) else { return false };
    match (value, words.next()) {
        // Methods of texts and lists, and what is none for this pipeline, are rendering's matter.
        (serde_json::Value::Object(parts), Some(word)) => parts.contains_key(word),
        _ => true,
    }
}

fn begins_with(name: &str, wanted: &str) -> bool {
    name.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether what follows a name asks if it is there.
fn may_be_missing(rest: &str) -> bool {
    let rest = rest.trim_start();
    let word = |text: &str| text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default().to_owned();
    if let Some(filter) = rest.strip_prefix('|') {
        return matches!(word(filter.trim_start()).as_str(), "default" | "d");
    }
    let Some(test) = rest.strip_prefix("is ") else { return false };
    let test = test.trim_start();
    let test = test.strip_prefix("not ").unwrap_or(test).trim_start();
    matches!(word(test).as_str(), "defined" | "undefined")
}

/// The tags of a template: where each begins and ends, and whether it is a comment.
fn tags(template: &str) -> Vec<(usize, usize, bool)> {
    let mut tags = Vec::new();
    let mut at = 0;
    while let Some(found) = template[at..].find('{') {
        let begin = at + found;
        let end_mark = match template.as_bytes().get(begin + 1) {
            Some(b'{') => "}}",
            Some(b'%') => "%}",
            Some(b'#') => "#}",
            _ => {
                at = begin + 1;
                continue;
            }
        };
        let comment = end_mark == "#}";
        let end = end_of_tag(&template[begin + 2..], end_mark, comment).map_or(template.len(), |end| begin + 2 + end);
        tags.push((begin, end, comment));
        at = end;
    }
    tags
}

/// Where a tag ends, behind its mark; texts in it may hold the mark.
fn end_of_tag(tag: &str, mark: &str, comment: bool) -> Option<usize> {
    let (mut quote, mut escaped) = (None, false);
    for (index, c) in tag.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if tag[index..].starts_with(mark) => return Some(index + mark.len()),
            None if !comment && (c == '"' || c == '\'') => quote = Some(c),
            None => {}
        }
    }
    None
}

/// The names in the tags of a template, `a.b` as one, and where they stand.
fn names(template: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (begin, end, comment) in tags(template) {
        if !comment {
            names_in(template, begin, end, &mut found);
        }
    }
    found
}

fn names_in<'t>(template: &'t str, begin: usize, end: usize, found: &mut Vec<(usize, &'t str)>) {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    let (mut at, mut quote, mut escaped, mut before) = (begin, None, false, ' ');
    while let Some(c) = template[at..end].chars().next() {
        let mut length = c.len_utf8();
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if in_name(c) => {
                let rest = &template[at..end];
                length = rest.find(|c: char| !in_name(c) && c != '.').unwrap_or(rest.len());
                let name = rest[..length].trim_end_matches('.');
                // Behind a dot or a bar it is an attribute or a filter.
                if !c.is_ascii_digit() && !matches!(before, '.' | '|') {
                    found.push((at, name));
                }
            }
            None => {}
        }
        if !c.is_whitespace() {
            before = c;
        }
        at += length;
    }
}

/// The template with the number of each line in front of what stands on it, where that changes nothing of what is rendered.
pub fn marked(template: &str) -> String {
    let tags = tags(template);
    let mut text = String::with_capacity(template.len() * 2);
    let mut offset = 0;
    for (index, line) in template.split_inclusive('\n').enumerate() {
        let indent = line.len() - line.trim_start().len();
        let at = offset + indent;
        let rest = &line[indent..];
        let inside = tags.iter().any(|(begin, end, _)| (begin + 1..*end).contains(&at));
        // Tags with a dash eat the blanks in front of them, which a mark would end.
        let eats = ["{%-", "{{-", "{#-"].iter().any(|tag| rest.starts_with(tag));
        text.push_str(&line[..indent]);
        if !rest.is_empty() && !inside && !eats {
            text.extend([MARKS[0].to_string(), (index + 1).to_string(), MARKS[1].to_string()]);
        }
        text.push_str(rest);
        offset += line.len();
    }
    text
}

/// Which line of the template made each line of a text that was rendered from a [`marked`] one, and the text without marks.
pub fn origins(rendered: &str) -> (String, Vec<usize>) {
    let (mut text, mut lines, mut last) = (String::with_capacity(rendered.len()), Vec::new(), 1);
    for line in rendered.split_inclusive('\n') {
        let (mut first, mut made) = (None, None);
        for (index, part) in line.split(MARKS[0]).enumerate() {
            let (number, rest) = match part.split_once(MARKS[1]) {
                Some((number, rest)) if index > 0 => (number.parse().ok(), rest),
                _ => (None, part),
            };
            if let Some(number) = number {
                first = first.or(Some(number));
                last = number;
            }
            if made.is_none() && !rest.trim().is_empty() {
                made = Some(last);
            }
            text.push_str(rest);
        }
        lines.push(made.or(first).unwrap_or(last));
    }
    (text, lines)
}

#[cfg(test)]
mod tests;
