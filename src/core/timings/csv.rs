//! Comma-separated values as in RFC 4180, without the carriage returns: a field with a comma, a quote or a line break in it stands
//! in quotes, and a quote in it is doubled.

/// A line of a file.
pub(super) fn line(fields: &[String]) -> String {
    let quoted = |field: &String| {
        if field.contains([',', '"', '\n', '\r']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.clone() }
    };
    fields.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n"
}

/// A record, with the line on which it begins, from 1; or what is wrong with it.
pub(super) type Record = (usize, Result<Vec<String>, &'static str>);

/// The records of a text; empty lines are none.
pub(super) fn records(text: &str) -> Vec<Record> {
    let (mut records, mut rest, mut line) = (Vec::new(), text, 1);
    while !rest.is_empty() {
        let begin = line;
        let (record, tail) = record(rest);
        line += rest[..rest.len() - tail.len()].matches('\n').count();
        rest = tail;
        if record.as_ref().map_or(true, |fields| fields.iter().any(|field| !field.is_empty())) {
            records.push((begin, record));
        }
    }
    records
}

/// The first record of a text, and the text behind it.
fn record(mut text: &str) -> (Result<Vec<String>, &'static str>, &str) {
    let mut fields = Vec::new();
    loop {
        let (field, rest) = match text.strip_prefix('"').map(unquoted) {
            Some(Some(found)) => found,
            Some(None) => return (Err("a quote is not closed"), ""),
            None => {
                let (field, rest) = text.split_at(text.find([',', '\n']).unwrap_or(text.len()));
                (field.to_owned(), rest)
            }
        };
        fields.push(field);
        if let Some(next) = rest.strip_prefix(',') {
            text = next;
        } else if rest.is_empty() || rest.starts_with('\n') {
            return (Ok(fields), rest.get(1..).unwrap_or(""));
        } else {
            let next = rest.find('\n').map_or("", |end| &rest[end + 1..]);
            return (Err("there is text behind a closing quote"), next);
        }
    }
}

/// What stands before the closing quote, and the text behind it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Some((field, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let rows = [["a", "", "b c"], ["a,b", "say \"no\"", "two\nlines"], ["\"", ",", "\n"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        let text: String = rows.iter().map(|row| line(row)).collect();
        assert_eq!(text, "a,,b c\n\"a,b\",\"say \"\"no\"\"\",\"two\nlines\"\n\"\"\"\",\",\",\"\n\"\n");
        let [first, second, third] = rows;
        assert_eq!(records(&text), [(1, Ok(first)), (2, Ok(second)), (4, Ok(third))]);
    }

    #[test]
    fn records_and_their_faults() {
        let row = |fields: &[&str]| Ok(fields.iter().map(|field| (*field).to_owned()).collect());
        let table: [(&str, Vec<Record>); 7] = [
            ("", vec![]),
            ("\n\n", vec![]),
            ("a", vec![(1, row(&["a"]))]),
            ("a,\n\nb", vec![(1, row(&["a", ""])), (3, row(&["b"]))]),
            ("\"a\"b\nc", vec![(1, Err("there is text behind a closing quote")), (2, row(&["c"]))]),
            ("a\n\"b\nc", vec![(1, row(&["a"])), (2, Err("a quote is not closed"))]),
            ("a\"b\"", vec![(1, row(&["a\"b\""]))]),
        ];
        for (text, expected) in table {
            assert_eq!(records(text), expected, "{text:?}");
        }
    }
}
