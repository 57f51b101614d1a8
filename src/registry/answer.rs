//! What the body of a refusal says, in short: the error document of the distribution specification ("Error Codes"), the
//! other JSON of registries and token servers, and the text or HTML of the proxies before them.

use serde_json::Value;

use super::error::ApiError;

/// The longest message that is shown.
const LONGEST: usize = 300;

/// The most errors that are shown.
const MOST: usize = 5;

/// The errors that a body names; none when it says nothing. `kind` is its media type.
pub(super) fn parse_errors(kind: &str, body: &[u8]) -> Vec<ApiError> {
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        return of_json(&value);
    }
    let Ok(text) = std::str::from_utf8(body) else { return Vec::new() };
    let text = text.trim();
    let is_page = kind.to_ascii_lowercase().contains("html") || text.starts_with('<');
    let message = one_line(&if is_page { page(text) } else { text.to_owned() });
    if message.is_empty() { Vec::new() } else { vec![ApiError { code: String::new(), message }] }
}

fn of_json(value: &Value) -> Vec<ApiError> {
    let listed = ["errors", "error"].iter().find_map(|name| value.get(name)?.as_array());
    let errors: Vec<ApiError> = match listed {
        Some(list) => list.iter().filter_map(of_one).take(MOST).collect(),
        None => value.get("error").filter(|error| error.is_object()).and_then(of_one).into_iter().collect(),
    };
    if errors.is_empty() { of_one(value).into_iter().collect() } else { errors }
}

/// One error: an object with a code or a message, or a message.
fn of_one(value: &Value) -> Option<ApiError> {
    let text = |names: &[&str]| {
        let found = names.iter().filter_map(|name| value.get(name)).find_map(|found| match found {
            Value::String(text) => Some(one_line(text)),
            _ => None,
        });
        found.filter(|text| !text.is_empty()).unwrap_or_default()
    };
    if let Some(message) = value.as_str().map(one_line) {
        return (!message.is_empty()).then_some(ApiError { code: String::new(), message });
    }
    let code = text(&["code", "error"]);
    let message = text(&["message", "error_description", "details", "detail", "title", "reason"]);
    // A registry's own words say more than those that belong to the code: "manifest invalid".
    let detail = value.get("message").and(value.get("detail")).map(in_short).unwrap_or_default();
    let message =
        if detail.is_empty() || detail == message { message } else { one_line(&format!("{message} ({detail})")) };
    (!code.is_empty() || !message.is_empty()).then_some(ApiError { code, message })
}

/// A detail, when it is in words: those of an object are the values that are text.
fn in_short(detail: &Value) -> String {
    match detail {
        Value::String(text) => one_line(text),
        Value::Object(fields) => {
            let words = fields.values().filter_map(Value::as_str).filter(|text| text.contains(' '));
            one_line(&words.collect::<Vec<_>>().join("; "))
        }
        _ => String::new(),
    }
}

/// The title of a page, and its text.
fn page(html: &str) -> String {
    let lower = html.to_ascii_lowercase();
    let title = lower.find("<title").and_then(|start| {
        let start = start + lower[start..].find('>')? + 1;
        Some(one_line(&unescaped(&html[start..start + lower[start..].find("</title")?])))
    });
    let title = title.unwrap_or_default();
    let text = one_line(&unescaped(&without_tags(html, &lower)));
    // Small pages repeat the title as their heading.
    let rest = if title.is_empty() { &text } else { text.trim_start_matches(title.as_str()).trim() };
    match (title.is_empty(), rest.is_empty()) {
        (true, _) => rest.to_owned(),
        (false, true) => title,
        (false, false) => format!("{title}: {rest}"),
    }
}

/// The text of a page without its title, scripts and styles; `lower` is the page in lower case.
fn without_tags(html: &str, lower: &str) -> String {
    let mut text = String::new();
    let mut at = 0;
    while let Some(open) = lower[at..].find('<').map(|open| at + open) {
        text.push_str(&html[at..open]);
        text.push(' ');
        let unread = ["title", "script", "style"].iter().find(|name| lower[open + 1..].starts_with(**name));
        let end = match (unread, lower[open..].starts_with("<!--")) {
            (Some(name), _) => lower[open..].find(&format!("</{name}")).map(|end| open + end + 1),
            (None, true) => lower[open..].find("-->").map(|end| open + end),
            (None, false) => Some(open),
        };
        let Some(close) = end.and_then(|end| lower[end..].find('>').map(|close| end + close + 1)) else { return text };
        at = close;
    }
    text.push_str(&html[at..]);
    text
}

fn unescaped(text: &str) -> String {
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&nbsp;", " "), ("&amp;", "&")];
    entities.iter().fold(text.to_owned(), |text, (entity, meant)| text.replace(entity, meant))
}

/// `text` in one line without what a terminal would obey, cut where it is too long.
pub(super) fn one_line(text: &str) -> String {
    let visible: String = text.chars().map(|c| if is_plain(c) { c } else { ' ' }).collect();
    let line = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line,
    }
}

/// Neither a control character nor one that changes the direction or the place of others.
fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: &str, body: &str) -> String {
        let errors = parse_errors(kind, body.as_bytes());
        errors.iter().map(|e| format!("[{}] {}", e.code, e.message)).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn bodies_are_read_as_far_as_they_go() {
        for (body, expected) in [
            (r#"{"errors":[{"code":"DENIED","message":"no\u001b[2J","detail":{}}]}"#, "[DENIED] no [2J"),
            (r#"{"errors":[{"code":"UNKNOWN"}]}"#, "[UNKNOWN] "),
            (r#"{"errors":[{"code":"A","message":"a"},{"code":"B","message":"b"}]}"#, "[A] a | [B] b"),
            (r#"{"errors":[{"status":403,"message":"Artifactory says no"}]}"#, "[] Artifactory says no"),
            (r#"{"errors":["just words"]}"#, "[] just words"),
            (r#"{"error":[{"code":"X","message":"x"}]}"#, "[X] x"),
            (r#"{"error":{"code":"X","message":"x"}}"#, "[X] x"),
            (r#"{"error":"invalid_scope","error_description":"not yours"}"#, "[invalid_scope] not yours"),
            (r#"{"details":"incorrect username or password"}"#, "[] incorrect username or password"),
            (r#"{"title":"Too large","detail":"10 MB at most","status":413}"#, "[] 10 MB at most"),
            (r#"{"message":"plain"}"#, "[] plain"),
            (r#""words""#, "[] words"),
            (
                r#"{"errors":[{"code":"MANIFEST_INVALID","message":"manifest invalid","detail":"mediaType is not known"}]}"#,
                "[MANIFEST_INVALID] manifest invalid (mediaType is not known)",
            ),
            (
                r#"{"errors":[{"code":"QUOTA","message":"denied","detail":{"Reason":"the project is full","n":1,"id":"x"}}]}"#,
                "[QUOTA] denied (the project is full)",
            ),
            (r#"{"errors":[]}"#, ""),
            (r#"{"errors":null}"#, ""),
            ("[]", ""),
            ("3", ""),
            ("", ""),
            ("413 too\nlarge\n", "[] 413 too large"),
            ("a\u{202e}b\u{9b}2J\u{7}c", "[] a b 2J c"),
        ] {
            assert_eq!(told("application/json", body), expected, "{body}");
        }
        assert_eq!(parse_errors("", b"\xff\xfe\x00"), Vec::new());
    }

    #[test]
    fn pages_are_told_by_title_and_text() {
        let nginx = "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body>\r\n<center><h1>413 Request \
            Entity Too Large</h1></center>\r\n<hr><center>nginx/1.24.0</center>\r\n</body>\r\n</html>\r\n";
        for (kind, body, expected) in [
            ("text/html", nginx, "[] 413 Request Entity Too Large: nginx/1.24.0"),
            ("", "<!DOCTYPE html><title>No &amp; no</title><script>alert('x')</script><p>Ask IT", "[] No & no: Ask IT"),
            ("text/html", "<!-- <p>not this --><p>Ask <b>IT</b></p><style>p {}</style>", "[] Ask IT"),
            ("text/html", "<title>only", "[] "),
            ("text/html; charset=utf-8", "denied", "[] denied"),
            ("text/html", "<p", ""),
        ] {
            let found = told(kind, body);
            assert_eq!(found, if expected == "[] " { "" } else { expected }, "{body}");
        }
    }

    #[test]
    fn long_messages_are_cut() {
        let message = &parse_errors("", "word ".repeat(1000).as_bytes())[0].message;
        assert!(message.chars().count() <= LONGEST + 1 && message.ends_with("word…"), "{message}");
        assert_eq!(parse_errors("", format!("{{\"errors\":[{}1]}}", "\"x\",".repeat(50)).as_bytes()).len(), MOST);
    }

    proptest::proptest! {
        #[test]
        fn no_page_panics_and_nothing_in_it_is_obeyed(body in "[<>/!a-cA-CtT \\-&;ıİ\u{1b}\u{9b}titlescrpy]{0,80}") {
            let told = told("text/html", &body);
            proptest::prop_assert!(!told.chars().any(char::is_control));
        }
    }
}
