//! The syntax of Python, as far as it is read: statements, assignments, calls, names.

/// A statement on one line, without comments.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The number of blanks before it.
    pub(super) indent: usize,
    pub(super) text: String,
}

/// The text of `'…'` or `"…"`.
pub(super) fn literal(value: &str) -> Option<&str> {
    let value = value.trim();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    value.strip_prefix(quote)?.strip_suffix(quote).filter(|text| !text.contains([quote, '\\']))
}

/// `name` and `value` of `name = value` or `name: type = value`.
pub(super) fn assignment(text: &str) -> Option<(&str, &str)> {
    let at = text.find('=')?;
    let (left, right) = (text[..at].trim_end(), &text[at + 1..]);
    if right.starts_with('=') || left.ends_with(['!', '<', '>', '+', '-', '*', '/', '|', '&', ':', '%', '^', '@']) {
        return None;
    }
    let name = left.split(':').next().unwrap_or(left).trim();
    let names = name.split(',').map(str::trim);
    names.clone().all(is_name).then_some((name, right.trim()))
}

/// What is called in `NAME.NAME(…`.
pub(super) fn callee(text: &str) -> Option<&str> {
    let (called, _) = text.split_once('(')?;
    is_dotted(called.trim()).then_some(called.trim())
}

/// The arguments of the first call in `text`: names and values.
pub(super) fn arguments(text: &str) -> Vec<(Option<String>, String)> {
    let Some((_, rest)) = text.split_once('(') else { return Vec::new() };
    let (mut depth, mut quote, mut parts, mut part) = (0_usize, None, Vec::new(), String::new());
    for c in rest.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') if depth == 0 => break,
            (None, ')' | ']' | '}') => depth -= 1,
            (None, ',') if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part);
    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    parts
        .map(|part| match assignment(part) {
            Some((name, value)) => (Some(name.to_owned()), value.to_owned()),
            None => (None, part.to_owned()),
        })
        .collect()
}

pub(super) fn is_dotted(text: &str) -> bool {
    text.split('.').all(is_name)
}

/// Whether `text` is an identifier.
pub(super) fn is_name(text: &str) -> bool {
    let first = text.chars().next();
    first.is_some_and(|c| c == '_' || c.is_alphabetic()) && text.chars().all(|c| c == '_' || c.is_alphanumeric())
}

/// The statements of a text: without comments, those over several lines on one, texts in three quotes empty.
pub(super) fn lines(text: &str) -> Vec<Line> {
    let mut found = Vec::new();
    let (mut indent, mut line, mut depth, mut at_start) = (0, String::new(), 0_usize, true);
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut end = |line: &mut String, indent: usize| {
        let text = line.trim().to_owned();
        line.clear();
        // Several statements on one line are rare, and the last of them never an app.
        if !text.is_empty() {
            found.push(Line { indent, text });
        }
    };
    while let Some(c) = rest.chars().next() {
        if at_start && (c == ' ' || c == '\t') {
            indent += if c == '\t' { 8 } else { 1 };
            rest = &rest[1..];
            continue;
        }
        at_start = false;
        match c {
            '#' => rest = rest.find('\n').map_or("", |at| &rest[at..]),
            '"' | '\'' => {
                let (text, after) = quoted(rest, c);
                line.push_str(&text);
                rest = after;
            }
            '\\' if rest[1..].trim_start_matches('\r').starts_with('\n') => {
                line.push(' ');
                rest = rest.split_once('\n').map_or("", |(_, after)| after);
            }
            '\n' if depth == 0 => {
                end(&mut line, indent);
                (indent, at_start) = (0, true);
                rest = &rest[1..];
            }
            '\n' | '\r' => {
                line.push(' ');
                rest = &rest[1..];
            }
            c => {
                match c {
                    '(' | '[' | '{' => depth += 1,
                    ')' | ']' | '}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                line.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    end(&mut line, indent);
    found
}

/// The text at the beginning of `rest`, and what comes behind it.
fn quoted(rest: &str, quote: char) -> (String, &str) {
    let three: String = std::iter::repeat_n(quote, 3).collect();
    let long = rest.starts_with(&three);
    let open = if long { 3 } else { 1 };
    let mut chars = rest[open..].char_indices();
    while let Some((at, c)) = chars.next() {
        let here = open + at;
        match c {
            '\\' => drop(chars.next()),
            '\n' if !long => return (rest[..here].to_owned(), &rest[here..]),
            c if c == quote && !long => return (rest[..=here].to_owned(), &rest[here + 1..]),
            c if c == quote && rest[here..].starts_with(&three) => {
                return (format!("{quote}{quote}"), &rest[here + 3..]);
            }
            _ => {}
        }
    }
    (format!("{quote}{quote}"), "")
}
