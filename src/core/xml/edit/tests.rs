#![expect(clippy::unit_arg, reason = "a row of a table stays on its line")]

use super::*;
use crate::core::xml::{child, parse};

type Change = for<'a, 'i> fn(&mut Edits<'i>, Node<'a, 'i>, Node<'a, 'i>) -> Result<()>;

/// Edits the root and its `<b>`.
fn edited(xml: &str, change: Change) -> Result<String> {
    let document = parse(xml)?;
    let root = document.root_element();
    let mut edits = Edits::of(root);
    change(&mut edits, root, child(root, "b").context("no <b>")?)?;
    edits.apply()
}

#[test]
fn edits_touch_nothing_else() {
    let table: [(&str, Change, &str); 27] = [
        ("<a><b c='1'/></a>", |e, _, b| e.set_attribute(b, "c", "2"), "<a><b c='2'/></a>"),
        ("<a><b c = \"1\" /></a>", |e, _, b| e.set_attribute(b, "c", "'\"&<>"), "<a><b c = \"&apos;&quot;&amp;&lt;&gt;\" /></a>"),
        ("<a><b/></a>", |e, _, b| e.set_attribute(b, "c", "2"), "<a><b c='2'/></a>"),
        ("<a><b\n d='/>' /></a>", |e, _, b| e.set_attribute(b, "c", "2"), "<a><b\n d='/>' c='2' /></a>"),
        ("<a><b x:c='1' xmlns:x='y'/></a>", |e, _, b| e.set_attribute(b, "c", "2"), "<a><b x:c='1' c='2' xmlns:x='y'/></a>"),
        ("<a><b  c='1' d='2'/></a>", |e, _, b| Ok(e.remove_attribute(b, "c")), "<a><b d='2'/></a>"),
        ("<a><b c='1'/></a>", |e, _, b| Ok(e.remove_attribute(b, "d")), "<a><b c='1'/></a>"),
        ("<a><b>1</b></a>", |e, _, b| e.set_text(b, "<2>"), "<a><b>&lt;2&gt;</b></a>"),
        ("<a><b d='>'><!-- </b> -->1<c/></b ></a>", |e, _, b| e.set_text(b, "2"), "<a><b d='>'>2</b ></a>"),
        ("<a><b><![CDATA[</b>]]></b></a>", |e, _, b| e.set_text(b, "2"), "<a><b>2</b></a>"),
        ("<a><b d='/' /></a>", |e, _, b| e.set_text(b, "2"), "<a><b d='/'>2</b></a>"),
        ("<a><b/></a>", |e, _, b| e.set_text(b, ""), "<a><b/></a>"),
        ("<a><b/>1</a>", |e, _, b| Ok(e.replace(b, "<c/>")), "<a><c/>1</a>"),
        ("<a>\n  <b/>\n  <c/>\n</a>", |e, _, b| Ok(e.remove(b)), "<a>\n  <c/>\n</a>"),
        ("<a>\r\n\t<b>\r\n\t</b> \r\n</a>", |e, _, b| Ok(e.remove(b)), "<a>\r\n</a>"),
        ("<a>\n  <b/></a>", |e, _, b| Ok(e.remove(b)), "<a>\n  </a>"),
        ("<a>\n  <b/><c/>\n</a>", |e, _, b| Ok(e.remove(b)), "<a>\n  <c/>\n</a>"),
        ("<a>1 <b/> 2</a>", |e, _, b| Ok(e.remove(b)), "<a>1  2</a>"),
        ("<a>\n  <b/>\n</a>", |e, _, b| Ok(e.insert_after(b, "<c>\n</c>")), "<a>\n  <b/>\n  <c>\n</c>\n</a>"),
        ("<a><b/></a>", |e, _, b| Ok(e.insert_after(b, "<c/>")), "<a><b/><c/></a>"),
        ("<a>\n  <b/>\n</a>", |e, a, _| Ok(e.append(a, "<c>\n</c>")), "<a>\n  <b/>\n  <c>\n</c>\n</a>"),
        ("<a>\n  <b/>\n</a>", |e, _, b| Ok(e.append(b, "<c/>")), "<a>\n  <b>\n    <c/>\n  </b>\n</a>"),
        ("<a>\n  <b>\n  </b>\n</a>", |e, _, b| Ok(e.append(b, "<c/>")), "<a>\n  <b>\n    <c/>\n  </b>\n</a>"),
        ("<a>1<b/></a>", |e, _, b| Ok(e.append(b, "<c/>")), "<a>1<b><c/></b></a>"),
        ("<a>\n  <b/>\n</a>", |e, a, _| Ok(e.prepend(a, "<c/>")), "<a>\n  <c/>\n  <b/>\n</a>"),
        ("<a><b/></a>", |e, a, _| Ok(e.prepend(a, "<c/>")), "<a><c/><b/></a>"),
        (
            "<?xml version='1.0'?>\n<!--\u{e4}--><a>&#xe4;<b/></a>\n",
            |_, _, _| Ok(()),
            "<?xml version='1.0'?>\n<!--\u{e4}--><a>&#xe4;<b/></a>\n",
        ),
    ];
    for (xml, change, expected) in table {
        assert_eq!(edited(xml, change).unwrap(), expected, "{xml}");
    }
}

#[test]
fn several_edits_of_one_element() {
    let all: Change = |edits, root, b| {
        edits.set_text(b, "2")?;
        edits.remove_attribute(b, "d");
        edits.set_attribute(b, "e", "3")?;
        edits.set_attribute(b, "c", "4")?;
        edits.insert_after(b, "<f/>");
        edits.insert_after(b, "<g/>");
        edits.remove_attribute(root, "x");
        Ok(())
    };
    let edited = edited("<a x='1'>\n <b c='1' d='2' />\n</a>", all).unwrap();
    assert_eq!(edited, "<a>\n <b c='4' e='3'>2</b>\n <f/>\n <g/>\n</a>");
}

#[test]
fn what_cannot_be_done_is_an_error() {
    let table: [(Change, &str); 5] = [
        (|e, a, b| Ok((e.remove(b), e.set_text(a, "1")?).1), "editing XML: two edits overlap in line 2"),
        (|e, _, b| Ok((e.remove(b), e.remove(b)).0), "editing XML: two edits overlap in line 2"),
        (
            |e, _, b| e.set_attribute(b, "c", "a\0"),
            "setting attribute c: writing \"a\\0\" as XML: it holds '\\0', which XML cannot",
        ),
        (
            |e, _, b| e.set_text(b, "\u{1b}[2J"),
            "setting the text of <b>: writing \"\\u{1b}[2J\" as XML: it holds '\\u{1b}', which XML cannot",
        ),
        (
            |e, _, b| Ok(e.replace(b, "<c>")),
            "editing XML: the result is not well-formed: parsing XML: expected 'c' tag, not 'a' at 3:1",
        ),
    ];
    for (change, expected) in table {
        assert_eq!(format!("{:#}", edited("<a>\n <b/>\n</a>", change).unwrap_err()), expected);
    }
}

#[test]
fn what_is_escaped_reads_the_same() {
    let text = "a\tb\r\nc'\"&<>]]>\u{85}\u{1F600} ";
    let xml = format!("<a b='{0}'>{0}</a>", escape(text).unwrap());
    let document = parse(&xml).unwrap();
    assert_eq!(document.root_element().attribute("b"), Some(text));
    assert_eq!(document.root_element().text(), Some(text));
    assert!(escape("\u{fffe}").is_err());
}
