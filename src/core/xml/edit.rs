//! Edits XML and keeps everything else byte for byte: roxmltree finds the place, the text is spliced there.
//!
//! Edits are collected, and made all at once by [`Edits::apply`]. Each one names a node of the document as it was parsed.

use std::ops::Range;

use anyhow::{Context as _, Result, bail, ensure};
use roxmltree::Node;

use super::attribute_node;

/// Escapes a value for an attribute in either kind of quotes, and for text.
///
/// # Errors
/// A character that XML 1.0 cannot hold, not even escaped: most control characters.
pub fn escape(text: &str) -> Result<String> {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\'' => escaped.push_str("&apos;"),
            '"' => escaped.push_str("&quot;"),
            // A parser turns these into spaces in an attribute, and CR into LF everywhere, if they stand there as such.
            '\t' | '\n' | '\r' => escaped.push_str(&format!("&#{};", c as u32)),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {
                bail!("writing {:?} as XML: it holds {:?}, which XML cannot", text.chars().take(80).collect::<String>(), c)
            }
            _ => escaped.push(c),
        }
    }
    Ok(escaped)
}

#[derive(Debug)]
struct Splice {
    range: Range<usize>,
    text: String,
}

/// A list of edits to one document.
#[derive(Debug)]
pub struct Edits<'i> {
    xml: &'i str,
    splices: Vec<Splice>,
}

impl<'i> Edits<'i> {
    /// No edits yet, to the document that `node` belongs to.
    pub fn of(node: Node<'_, 'i>) -> Self {
        Self { xml: node.document().input_text(), splices: Vec::new() }
    }

    /// Sets an attribute (of no namespace), where it stands or behind the others.
    ///
    /// # Errors
    /// As for [`escape`].
    pub fn set_attribute(&mut self, node: Node<'_, 'i>, name: &str, value: &str) -> Result<()> {
        let value = escape(value).with_context(|| format!("setting attribute {name}"))?;
        match attribute_node(node, name) {
            Some(attribute) => self.splice(attribute.range_value(), value),
            None => {
                let end = node.attributes().next_back().map_or_else(|| self.name_end(node), |last| last.range().end);
                self.splice(end..end, format!(" {name}='{value}'"));
            }
        }
        Ok(())
    }

    /// Removes an attribute, if it is there, with the space before it.
    pub fn remove_attribute(&mut self, node: Node<'_, 'i>, name: &str) {
        if let Some(attribute) = attribute_node(node, name) {
            let range = attribute.range();
            let start = self.xml[..range.start].trim_end_matches(is_space).len();
            self.splice(start..range.end, String::new());
        }
    }

    /// Replaces all that an element holds by text.
    ///
    /// # Errors
    /// As for [`escape`].
    pub fn set_text(&mut self, node: Node<'_, 'i>, text: &str) -> Result<()> {
        let text = escape(text).with_context(|| format!("setting the text of <{}>", node.tag_name().name()))?;
        self.set_content(node, text);
        Ok(())
    }

    /// Replaces an element by XML that is already well-formed.
    pub fn replace(&mut self, node: Node<'_, 'i>, xml: impl Into<String>) {
        self.splice(node.range(), xml.into());
    }

    /// Removes an element, and its line with it if nothing else stands there.
    pub fn remove(&mut self, node: Node<'_, 'i>) {
        let range = node.range();
        let (before, after) = (&self.xml[..range.start], &self.xml[range.end..]);
        let indent = before.trim_end_matches(is_blank);
        let rest = after.trim_start_matches(is_blank);
        let newline = ["\r\n", "\n"].into_iter().find(|newline| rest.starts_with(newline));
        let whole_line = indent.is_empty() || indent.ends_with('\n');
        match newline {
            Some(newline) if whole_line => {
                self.splice(indent.len()..self.xml.len() - rest.len() + newline.len(), String::new());
            }
            _ => self.splice(range, String::new()),
        }
    }

    /// Inserts well-formed XML behind an element, on a line of its own if the element has one. Only the first line is
    /// indented: XML of other makers may hold text in which spaces count.
    pub fn insert_after(&mut self, node: Node<'_, 'i>, xml: &str) {
        let end = node.range().end;
        let text = self.indentation(node).map_or_else(|| xml.to_owned(), |indent| format!("\n{indent}{xml}"));
        self.splice(end..end, text);
    }

    /// Inserts well-formed XML as the last child of an element, indented as for [`Edits::insert_after`].
    pub fn append(&mut self, parent: Node<'_, 'i>, xml: &str) {
        let indent = self.indentation(parent).map(str::to_owned);
        let block = match &indent {
            Some(indent) => format!("\n{indent}  {xml}\n{indent}"),
            None => xml.to_owned(),
        };
        let (tag_end, empty) = self.start_tag(parent);
        let end_tag = self.end_tag(parent);
        if empty || self.xml[tag_end..end_tag].chars().all(is_space) {
            self.set_content(parent, block);
            return;
        }
        match indent {
            // The spaces before the end tag stay in front of it.
            Some(indent) => {
                let content = self.xml[..end_tag].trim_end_matches(is_space).len();
                self.splice(content..content, format!("\n{indent}  {xml}"));
            }
            None => self.splice(end_tag..end_tag, block),
        }
    }

    /// Inserts well-formed XML as the first child of an element.
    pub fn prepend(&mut self, parent: Node<'_, 'i>, xml: &str) {
        let (tag_end, empty) = self.start_tag(parent);
        if empty {
            self.append(parent, xml);
            return;
        }
        let indent = parent.first_element_child().and_then(|first| self.indentation(first));
        let text = indent.map_or_else(|| xml.to_owned(), |indent| format!("\n{indent}{xml}"));
        self.splice(tag_end..tag_end, text);
    }

    /// The document with all edits made.
    ///
    /// # Errors
    /// Two edits touch the same bytes, or the result is not well-formed.
    pub fn apply(mut self) -> Result<String> {
        // Stable: insertions at one place keep their order, and come before a change that begins there.
        self.splices.sort_by_key(|splice| (splice.range.start, splice.range.end != splice.range.start));
        let mut result = String::with_capacity(self.xml.len() + self.splices.iter().map(|s| s.text.len()).sum::<usize>());
        let mut done = 0;
        for splice in &self.splices {
            let line = || self.xml[..splice.range.start].matches('\n').count() + 1;
            ensure!(splice.range.start >= done, "editing XML: two edits overlap in line {}", line());
            result.push_str(&self.xml[done..splice.range.start]);
            result.push_str(&splice.text);
            done = splice.range.end;
        }
        result.push_str(&self.xml[done..]);
        super::parse(&result).context("editing XML: the result is not well-formed")?;
        Ok(result)
    }

    fn splice(&mut self, range: Range<usize>, text: String) {
        self.splices.push(Splice { range, text });
    }

    fn set_content(&mut self, node: Node<'_, 'i>, content: String) {
        let (tag_end, empty) = self.start_tag(node);
        if !empty {
            self.splice(tag_end..self.end_tag(node), content);
        } else if !content.is_empty() {
            let name = self.xml[node.range().start + 1..self.name_end(node)].to_owned();
            // Over the space in `<a />` too, but not over an attribute, which may be edited as well.
            let slash = self.xml[..tag_end - 2].trim_end_matches(is_space).len();
            self.splice(slash..tag_end, format!(">{content}</{name}>"));
        }
    }

    /// Where the element's name ends, with its prefix.
    fn name_end(&self, node: Node<'_, 'i>) -> usize {
        let start = node.range().start + 1;
        let name = self.xml[start..].find(|c: char| is_space(c) || matches!(c, '/' | '>'));
        name.map_or(node.range().end, |length| start + length)
    }

    /// Where the start tag ends, and whether the element ends with it.
    fn start_tag(&self, node: Node<'_, 'i>) -> (usize, bool) {
        let range = node.range();
        let mut quote = None;
        for (offset, byte) in self.xml.as_bytes()[range.clone()].iter().enumerate() {
            match (quote, byte) {
                (None, b'\'' | b'"') => quote = Some(*byte),
                (None, b'>') => {
                    let end = range.start + offset + 1;
                    return (end, self.xml.as_bytes()[end - 2] == b'/');
                }
                (Some(open), _) if open == *byte => quote = None,
                _ => {}
            }
        }
        (range.end, true)
    }

    /// Where the end tag begins: an element ends with it, and `<` cannot stand in it again.
    fn end_tag(&self, node: Node<'_, 'i>) -> usize {
        let range = node.range();
        self.xml[range.clone()].rfind("</").map_or(range.end, |offset| range.start + offset)
    }

    /// What stands before an element on its line, if that is nothing but blanks.
    pub fn indentation(&self, node: Node<'_, 'i>) -> Option<&'i str> {
        let before = &self.xml[..node.range().start];
        let start = before.trim_end_matches(is_blank).len();
        (start == 0 || before[..start].ends_with('\n')).then(|| &before[start..])
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

#[cfg(test)]
mod tests;
