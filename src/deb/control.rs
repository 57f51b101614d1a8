//! Paragraphs of fields (deb822(5)): the form of package indexes, control files, Release files and `.sources` files.
//!
//! ```text
//! Package: hello
//! Depends: libc6 (>= 2.36),
//!  other
//! ```
//!
//! An index has tens of thousands of paragraphs of which a build needs a hundred: nothing is copied while paragraphs
//! are looked through.

/// A paragraph: its text, and the line in which it begins.
#[derive(Debug, Clone, Copy, Default)]
pub struct Paragraph<'a> {
    /// The lines, without the empty line that ends them.
    pub text: &'a str,
    /// Counted from 1.
    pub line: usize,
}

/// A text that is not made of paragraphs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: expected `Field: value`, found `{found}`")]
pub struct ParseControlError {
    /// Counted from 1.
    pub line: usize,
    /// What stands there, shortened.
    pub found: String,
}

/// The paragraphs of `text`; lines of spaces separate them.
pub fn paragraphs(text: &str) -> impl Iterator<Item = Paragraph<'_>> {
    let (mut rest, mut line) = (text, 1);
    std::iter::from_fn(move || {
        let start = loop {
            let (first, after) = first_line(rest)?;
            if !is_blank(first) {
                break rest;
            }
            (rest, line) = (after, line + 1);
        };
        let (begin, mut length) = (line, 0);
        while let Some((first, after)) = first_line(rest) {
            (rest, line) = (after, line + 1);
            if is_blank(first) {
                break;
            }
            length = start.len() - after.len();
        }
        Some(Paragraph { text: start[..length].trim_end_matches(['\n', '\r']), line: begin })
    })
}

/// The first line without its end, and what follows; `None` at the end of the text.
fn first_line(text: &str) -> Option<(&str, &str)> {
    if text.is_empty() {
        return None;
    }
    Some(match memchr::memchr(b'\n', text.as_bytes()) {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, ""),
    })
}

fn is_blank(line: &str) -> bool {
    line.bytes().all(|c| matches!(c, b' ' | b'\t' | b'\r'))
}

impl<'a> Paragraph<'a> {
    /// Names and values in their order. A value keeps the ends and the first signs of its further lines, but no
    /// comments that stand before it.
    ///
    /// # Errors
    /// An item is an error where a line is neither a field nor the continuation of one.
    pub fn fields(&self) -> impl Iterator<Item = Result<(&'a str, &'a str), ParseControlError>> + use<'a> {
        let (mut rest, mut line) = (self.text, self.line);
        std::iter::from_fn(move || {
            let (first, mut after) = loop {
                let (first, after) = first_line(rest)?;
                if !first.starts_with('#') {
                    break (first, after);
                }
                (rest, line) = (after, line + 1);
            };
            let (start, begin) = (rest, line);
            let mut end = first.len();
            line += 1;
            // A comment may stand between the lines of a value; one behind its last line does not belong to it.
            while let Some((next, behind)) = first_line(after) {
                if next.starts_with([' ', '\t']) {
                    end = start.len() - after.len() + next.len();
                } else if !next.starts_with('#') {
                    break;
                }
                (after, line) = (behind, line + 1);
            }
            rest = after;
            let field = start[..end].split_once(':').filter(|(name, _)| is_field(name));
            let found = || first.chars().take(60).collect();
            Some(match field {
                Some((name, value)) => Ok((name, value.trim())),
                None => Err(ParseControlError { line: begin, found: found() }),
            })
        })
    }

    /// The value of the first field of that name, in whatever case it is written.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let mut fields = self.fields().filter_map(Result::ok);
        fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// deb822(5): printable ASCII but for space and colon, not beginning with `#` or `-`.
fn is_field(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['#', '-']) && name.bytes().all(|c| c.is_ascii_graphic())
}

/// The lines of a value with several, without comments and without the sign that marks them as further lines; ` .` is
/// an empty line.
pub fn lines(value: &str) -> impl Iterator<Item = &str> {
    let lines = value.lines().filter(|line| !line.starts_with('#')).map(str::trim);
    lines.map(|line| if line == "." { "" } else { line })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn separates_paragraphs() {
        let text = "\n \nA: 1\nB: 2\n\n\t\r\n# comment\nC: 3\r\n  four\r\n";
        let found: Vec<_> = paragraphs(text).map(|p| (p.line, p.text)).collect();
        assert_eq!(found, [(3, "A: 1\nB: 2"), (7, "# comment\nC: 3\r\n  four")]);
        assert_eq!(paragraphs("").count(), 0);
    }

    #[test]
    fn reads_fields() {
        let text = "# a comment\nA: 1\nB:\n x\n# another\n .\n y\n# a third\nC :\nD:4";
        let paragraph = paragraphs(text).next().expect("one");
        let fields: Vec<_> = paragraph.fields().collect();
        assert_eq!(fields[0], Ok(("A", "1")));
        assert_eq!(fields[1], Ok(("B", "x\n# another\n .\n y")));
        assert_eq!(fields[2], Err(ParseControlError { line: 9, found: "C :".into() }));
        assert_eq!(fields[3], Ok(("D", "4")));
        assert_eq!(lines(paragraph.get("b").expect("B")).collect::<Vec<_>>(), ["x", "", "y"]);
        assert_eq!(paragraph.get("E"), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "([A-Za-z#]{0,3}:?[ -~é]{0,9}\r?\n|\n){0,9}") {
            for paragraph in paragraphs(&text) {
                let _ = (paragraph.fields().count(), lines(paragraph.text).count());
            }
        }
    }
}
